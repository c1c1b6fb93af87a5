"""How good the model in the box is on players that it has never heard: each source left out.

    python research/orchestra/leave_out.py PHILHARMONIA SOURCES PLAYERS STORE MODEL OUT \
        [--fold 1] [--seed 0] [--steps 4500] [--source-temperature 0.5]

MODEL has heard no player, STORE holds the samples of everything that trains. Once a fold MODEL is
trained further (`adapt.py`) without the sources of the fold; then it is asked about every recording
of these and of the sources that only test, the orchestra's held-out pitches, and unknown sounds of
kinds that never train: OUT/answers-fold-K-seed-S.npz. What MODEL itself says of everything is
answers-start.npz beside OUT. Goes on where it was stopped. `table.py` makes tables of the answers.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import audiocls
from adapt import SHARE, STATE, adapt, blend, open_samples, recipe_of
from audiocls.classifier.model import Model
from audiocls.inference.predict import Classifier as Predictor
from orchestra import Row, background, training_rows
from players import players, sources

# Every source is asked by a model that has not heard it. Sources of one class lie in different
# folds where there are several, so that a fold's model has heard other players of the class; flute
# and banjo have one source each that may train.
FOLDS = (
    ("iowa",),
    ("good-sounds", "bigcat-cello", "spanish-guitar", "kyster-nylon", "ixox-flute", "war-tuba"),
    ("bear-sax", "otto-rubner", "shinyguitar", "martin-hd28", "ganjo", "emilyguitar"),
)
HOME, STRANGE = "philharmonia", "unknown kinds"


@dataclass(frozen=True)
class Questions:
    """Recordings as features of their clips, for models that all take the same."""

    path: NDArray[np.str_]  # [n_recordings]
    label: NDArray[np.str_]  # [n_recordings]
    source: NDArray[np.str_]  # [n_recordings]
    recording: NDArray[np.int64]  # [n_clips], ascending
    counts: NDArray[np.bool_]  # [n_clips], whether it counts in the recording's answer
    features: NDArray[np.float32]  # [n_clips, frames, features]

    def of(self, names: Sequence[str]) -> Questions:
        """Those of some sources."""
        rows = np.isin(self.source, names)
        clips = rows[self.recording]
        number = np.cumsum(rows) - 1
        return Questions(
            self.path[rows], self.label[rows], self.source[rows],
            number[self.recording[clips]], self.counts[clips], self.features[clips],
        )  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a model said of recordings, clip by clip."""

    classes: NDArray[np.str_]  # [n_classes]
    path: NDArray[np.str_]
    label: NDArray[np.str_]
    source: NDArray[np.str_]
    recording: NDArray[np.int64]
    counts: NDArray[np.bool_]
    logits: NDArray[np.float64]  # [n_clips, n_classes], at temperature 1


def read_arrays(kind: type, file: Path) -> object:
    """`Questions` or `Answers` of a file."""
    with np.load(file, allow_pickle=False) as arrays:
        return kind(**arrays)


def write_arrays(value: Questions | Answers, file: Path) -> None:
    """Whole, or not at all."""
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **vars(value))
    partial.rename(file)


def listen(model: str, rows: Sequence[Row]) -> Questions:
    """The features that a model is asked with; a recording that cannot be read is an error."""
    predictor = audiocls.Classifier.load(model)
    seen: list[NDArray[np.float32]] = []

    def keep(features: NDArray[np.float32]) -> NDArray[np.float64]:
        seen.append(np.array(features))
        return np.zeros((len(features), len(predictor.classes_)))

    asked = Predictor(predictor.path, predictor.description, keep)  # type: ignore[arg-type]
    counts, recording = [], []
    for i, heard in enumerate(asked.recordings([row["path"] for row in rows], threads=1)):
        if isinstance(heard, Exception):
            raise heard
        n = len(heard.probabilities)
        counts.append(np.ones(n, bool) if heard.counts is None else heard.counts)
        recording += [i] * n
    path, label, source = (np.array([r[k] for r in rows]) for k in ("path", "label", "family"))
    arrays = np.array(recording), np.concatenate(counts), np.concatenate(seen)
    return Questions(path, label, source, *arrays)


@torch.no_grad()
def ask(classifier: Model, questions: Questions) -> Answers:
    """What a model says."""
    classifier.eval()
    parts = torch.split(torch.from_numpy(questions.features), 256)
    logits = torch.cat([classifier(x) for x in parts]).double().numpy()
    fields = {k: v for k, v in vars(questions).items() if k != "features"}
    return Answers(np.array(classifier.classes_), logits=logits, **fields)


def all_rows(philharmonia: Path, rendered: Path, played: Path) -> list[Row]:
    """Everything that is asked: all players, the orchestra's held-out pitches, unknown sounds."""
    rows = list(players(played, "all"))
    home = training_rows(philharmonia, rendered)
    rows += [r for r in home if r["split"] == "test" and r["family"] == HOME]
    return rows + [r | {"family": STRANGE} for r in background(rendered, "test")]


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("philharmonia", "sources", "players", "store"):
        parser.add_argument(name, type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--fold", type=int, action="append", choices=range(1, len(FOLDS) + 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--source-temperature", type=float, default=0.5)
    parser.add_argument("--share", type=float, default=SHARE, help="of this training [0.5]")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out.parent / "questions.npz"
    if not file.exists():
        rows = all_rows(given.philharmonia, given.sources, given.players)
        write_arrays(listen(given.model, rows), file)
    questions = read_arrays(Questions, file)
    assert isinstance(questions, Questions)
    start = Model.load(given.model)
    if not (begun := given.out.parent / "answers-start.npz").exists():
        write_arrays(ask(start, questions), begun)
    recipe = recipe_of(given.lr, given.source_temperature)
    test_only = [name for name, row in sources().items() if row["use"] == "test"]
    with contextlib.suppress(KeyboardInterrupt):
        for number in given.fold or range(1, len(FOLDS) + 1):
            file = given.out / f"answers-fold-{number}-seed-{given.seed}.npz"
            if file.exists():
                continue
            without = FOLDS[number - 1]
            folder = file.with_suffix("")
            made = adapt(
                open_samples(given.store), start, recipe, given.steps, without, given.seed,
                folder / STATE,
            )  # fmt: skip
            made = blend(start, made, given.share)
            made.save(folder)
            write_arrays(ask(made, questions.of([*without, *test_only, HOME, STRANGE])), file)


if __name__ == "__main__":
    main()
