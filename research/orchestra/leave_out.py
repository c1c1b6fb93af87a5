"""How good the model in the box is on players that it has never heard: sources left out in folds.

    python research/orchestra/leave_out.py PHILHARMONIA SOURCES PLAYERS OUT [--init MODEL] \
        [--fold 1] [--seed 0] [--epochs 10] [--set FIELD=VALUE …]
    python research/orchestra/leave_out.py PHILHARMONIA SOURCES PLAYERS OUT --ask MODEL

Trains one model a fold on everything that may train but the sources of the fold, and asks it about
these and about the sources that only test; goes on where it was stopped. OUT/fold-K-seed-S holds
the run and what it answered, answers.npz. With --ask nothing trains: MODEL is asked about all
sources, as a baseline that has heard none of them. `table.py` makes the table of the answers.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import audiocls
from audiocls.training import Recipe, train
from orchestra import Row, background, training_rows, write_manifest
from players import players, sources

# Every source is asked by a model that has not heard it. Sources of one class lie in different
# folds where there are several, so that a fold's model has heard other players of the class; flute
# and banjo have one source each that may train.
FOLDS = (
    ("iowa",),
    ("good-sounds", "bigcat-cello", "spanish-guitar", "kyster-nylon", "ixox-flute", "war-tuba"),
    ("bear-sax", "otto-rubner", "shinyguitar", "martin-hd28", "ganjo", "emilyguitar"),
)
ANSWERS = "answers.npz"


@dataclass(frozen=True)
class Answers:
    """What a model said of recordings, clip by clip."""

    classes: NDArray[np.str_]  # [n_classes]
    path: NDArray[np.str_]  # [n_recordings]
    label: NDArray[np.str_]  # [n_recordings]
    source: NDArray[np.str_]  # [n_recordings]
    recording: NDArray[np.int64]  # [n_clips], ascending
    counts: NDArray[np.bool_]  # [n_clips], whether it counts in the recording's answer
    clips: NDArray[np.float64]  # probabilities [n_clips, n_classes]

    @classmethod
    def read(cls, file: Path) -> Answers:
        """What `write` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**arrays)

    def write(self, file: Path) -> None:
        """Whole, or not at all."""
        partial = file.with_suffix(".partial.npz")
        np.savez_compressed(partial, **vars(self))
        partial.rename(file)


def ask(path: Path | str, rows: Sequence[Row]) -> Answers:
    """What a model says of the recordings of a manifest; one that cannot be read is an error."""
    model = audiocls.Classifier.load(path)
    clips, counts, recording = [], [], []
    for i, heard in enumerate(model.recordings([row["path"] for row in rows])):
        if isinstance(heard, Exception):
            raise heard
        clips.append(heard.probabilities)
        n = len(heard.probabilities)
        counts.append(np.ones(n, bool) if heard.counts is None else heard.counts)
        recording += [i] * n
    columns = {name: np.array([row[name] for row in rows]) for name in ("path", "label", "family")}
    return Answers(
        np.array(model.classes_), columns["path"], columns["label"], columns["family"],
        np.array(recording), np.concatenate(counts), np.concatenate(clips),
    )  # fmt: skip


def questions(given: argparse.Namespace, without: Sequence[str]) -> list[Row]:
    """What a model that has not heard `without` is asked: these sources, those that only test, the
    orchestra's held-out pitches, and unknown sounds of kinds that do not train."""
    known = sources()
    rows = [
        row
        for row in players(given.players, "all")
        if row["family"] in without or known[row["family"]]["use"] == "test"
    ]
    home = training_rows(given.philharmonia, given.sources, seed=given.seed)
    rows += [r for r in home if r["split"] == "test" and r["family"] == "philharmonia"]
    rows += [r | {"family": "unknown-test"} for r in background(given.sources, "test")]
    return rows


def train_fold(given: argparse.Namespace, number: int, recipe: Recipe) -> None:
    """Trains without the sources of a fold, and asks about them."""
    without = FOLDS[number - 1]
    out = given.out / f"fold-{number}-seed-{given.seed}"
    if (out / ANSWERS).exists():
        return
    data = given.out / f"data-{number}-seed-{given.seed}"
    data.mkdir(parents=True, exist_ok=True)
    rows = training_rows(given.philharmonia, given.sources, given.players, without, given.seed)
    write_manifest(data / "manifest.csv", rows)
    samples = audiocls.FeatureSpec.preset("samples", sample_rate=16000)
    audiocls.extract(data / "manifest.csv", samples, data / "store", name="samples")
    more = {"init": given.init} if given.init else {}
    train(
        data / "store", given.model, out / "run", recipe=recipe, feature="mel-16k", seed=given.seed,
        resume=True, progress=tell, **more,
    )  # fmt: skip
    ask(out / "run", questions(given, without)).write(out / ANSWERS)


def tell(done: int, of: int, row: dict[str, float] | None) -> None:
    """A line an epoch."""
    if row is not None:
        print(f"{done}/{of}", *(f"{k} {v:.4g}" for k, v in row.items()), flush=True)


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("philharmonia", "sources", "players", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--init", help="begin with the weights of this model")
    parser.add_argument("--fold", type=int, action="append", choices=range(1, len(FOLDS) + 1))
    parser.add_argument("--model", default="compact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--ask", metavar="MODEL")
    given = parser.parse_args()
    if given.ask:
        given.out.mkdir(parents=True, exist_ok=True)
        everything = [name for fold in FOLDS for name in fold]
        ask(given.ask, questions(given, everything)).write(given.out / ANSWERS)
        return
    fields = dict(text.split("=", 1) for text in given.set)
    recipe = Recipe.preset(
        "orchestra", source="family", epochs=given.epochs,
        **{name: ast.literal_eval(value) for name, value in fields.items()},
    )  # fmt: skip
    for number in given.fold or range(1, len(FOLDS) + 1):
        train_fold(given, number, recipe)


if __name__ == "__main__":
    main()
