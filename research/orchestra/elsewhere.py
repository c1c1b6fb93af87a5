"""How good a model of the orchestra is on what it has not heard: the test out of its domain.

    python research/orchestra/elsewhere.py build/sources RUN [RUN ...] [--csv FILE]

RUN: run folders that `audiocls train` made of a manifest of `orchestra.py`, or of one orchestra
alone; several, one a seed, give mean ± deviation. Asked are its own held-out recordings; the notes
of every soundfont, but for those of which it has heard the samples, from whatever soundfont, and
their melodies; recordings by other players (`gcompris.py`); the Philharmonia's held-out recordings,
degraded (`degrade.py`); and whether sounds of kinds that did not train are told from the
instruments. Prints a table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score, roc_auc_score

import audiocls
from audiocls.classifier.answers import UNKNOWN, certainty, renormalise_known
from audiocls.compare.ranking import Spread
from audiocls.files import read_csv, write_csv
from audiocls.scores.metrics import expected_calibration_error
from degrade import CONDITIONS, degrade, draws
from orchestra import background, rendered

# Of each class, at most so many held-out recordings are degraded.
MOST = 12
KEPT = 0.95  # of the known recordings, at the threshold where unknown ones are counted
Answers = tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.str_], NDArray[np.float64]]


def answers(model: audiocls.Classifier, rows: Sequence[tuple[str, str]]) -> Answers:
    """Labels and probabilities of recordings, then of their clips. rows: path, label."""
    labels, whole, clip_labels, clips = [], [], [], []
    for (path, label), heard in zip(rows, model.recordings([p for p, _ in rows]), strict=True):
        if isinstance(heard, Exception):
            print(f"{path}: {heard}")
            continue
        labels.append(label)
        whole.append(heard.answer)
        clip_labels += [label] * len(heard.probabilities)
        clips.append(heard.probabilities)
    return np.array(labels), np.array(whole), np.array(clip_labels), np.concatenate(clips)


class Row(NamedTuple):
    """The result of one question, in per cent.

    Balanced accuracy is the mean recall of the classes that occur.
    """

    recording: float | None  # balanced accuracy: which instrument is it?
    clip: float | None = None  # the same of half-second clips
    unknown: float | None = None  # by recording, where `unknown` may be the answer, and is wrong
    ece: float | None = None  # expected calibration error of the first
    clip_ece: float | None = None  # of the second


COLUMNS = (
    "by recording", "by half-second clip", "by recording, or `unknown`", "ECE", "ECE, clips"
)  # fmt: skip


def balanced(labels: NDArray[np.str_], said: NDArray[np.str_]) -> float:
    """Mean recall of the classes that occur, in per cent."""
    present = sorted(set(labels))
    return 100 * float(recall_score(labels, said, labels=present, average="macro", zero_division=0))


def judged(model: audiocls.Classifier, given: Answers) -> Row:
    """The scores of answers to recordings of instruments."""
    classes = np.array(model.classes_)
    known = classes[classes != UNKNOWN]
    labels, whole, clip_labels, clips = given
    number = {name: i for i, name in enumerate(known)}

    def closed(labels: NDArray[np.str_], p: NDArray[np.float64]) -> tuple[float, float]:
        p = renormalise_known(p, model.classes_)
        error = expected_calibration_error(p, [number[label] for label in labels])
        return balanced(labels, known[p.argmax(axis=1)]), 100 * error

    by_recording, ece = closed(labels, whole)
    by_clip, clip_ece = closed(clip_labels, clips)
    open_set = balanced(labels, classes[whole.argmax(axis=1)])
    return Row(by_recording, by_clip, open_set, ece, clip_ece)


def recordings(run: Path) -> list[dict[str, str]]:
    """A run's recordings: path, label, group and part."""
    header, *rows = read_csv(run / "split.csv")
    return [dict(zip(header, row, strict=True)) for row in rows]


def predict_held_out(run: Path) -> list[tuple[str, str]]:
    """Path and label of the instruments' recordings in a run's test part."""
    rows = [(row["path"], row["label"]) for row in recordings(run) if row["part"] == "test"]
    if rows and not Path(rows[0][0]).exists():
        raise SystemExit(
            f"{run}: no {rows[0][0]} here; call this from the folder that was extracted"
        )
    return [(path, label) for path, label in rows if label != UNKNOWN]


def never_heard(run: Path, sources: Path) -> list[dict[str, str]]:
    """The notes of which nothing trained, chose or tested the model: no relative of theirs."""
    own = {row["path"] for row in recordings(run)}
    notes = list(rendered(sources, "all"))
    heard = {(note["label"], note["source"]) for note in notes if note["path"] in own}
    return [
        note
        for note in notes
        if heard.isdisjoint((note["label"], source) for source in note["family"].split("+"))
    ]


def other_players(sources: Path) -> list[tuple[str, str]]:
    """Path and label of recordings by other players, those of no class of ours `unknown`."""
    found = sorted((sources / "gcompris").glob("*/*.ogg"))
    if not found:
        raise SystemExit(f"{sources}: no gcompris here; call render_sources.py {sources} again")
    return [(str(path), path.parent.name) for path in found]


def n_classes(rows: Iterable[tuple[str, str]]) -> int:
    """How many labels there are. rows: path, label."""
    return len({label for _, label in rows})


def degraded(rows: Iterable[tuple[str, str]], condition: str, out: Path) -> list[tuple[str, str]]:
    """Copies of the first recordings of each class."""
    made: list[tuple[str, str]] = []
    count: dict[str, int] = {}
    for path, label in rows:
        count[label] = count.get(label, 0) + 1
        if count[label] <= MOST:
            name = f"{label}/{Path(path).name}"
            target = (out / condition / name).with_suffix(".flac")
            degrade(Path(path), target, condition, draws(condition, name))
            made.append((str(target), label))
    return made


def scores(run: Path, sources: Path, spoilt: bool = True) -> dict[str, Row]:
    """What is asked → what came of it. spoilt: degraded recordings as well."""
    if not (notes := never_heard(run, sources)):
        raise SystemExit(f"{run}: it has heard every source; leave one out: orchestra.py --without")
    played = other_players(sources)
    model = audiocls.Classifier.load(run)
    found: dict[str, Row] = {}

    def judge(name: str, rows: Sequence[tuple[str, str]]) -> Answers:
        given = answers(model, rows)
        found[name] = judged(model, given)
        print(
            f"{run}: {name}: " + " ".join(f"{v:.1f}" for v in found[name] if v is not None),
            flush=True,
        )
        return given

    own = predict_held_out(run)
    judge("pitches held out, all sources that trained", own)
    orchestra = [row for row in own if not Path(row[0]).is_relative_to(sources.resolve())]
    home = certainty(judge("pitches held out, Philharmonia", orchestra)[1], model.classes_)
    far = []
    for source in sorted({note["source"] for note in notes}):
        rows = [(n["path"], n["label"]) for n in notes if n["source"] == source]
        what = f"`{source}`, never heard, {n_classes(rows)} classes"
        far.append(certainty(judge(what, rows)[1], model.classes_))
    known = {"held-out pitches": home, "sources never heard": np.concatenate(far)}
    names = [name for name in found if "never heard" in name]
    found["mean of these sources"] = Row(
        *map(statistics.mean, zip(*(found[n] for n in names), strict=True))
    )
    unheard = {(note["label"], note["source"]) for note in notes}
    tunes = [
        (row["path"], row["label"])
        for row in rendered(sources / "melodies", "all")
        if (row["label"], row["source"]) in unheard
    ]
    what = f"melodies of these sources, {n_classes(tunes)} classes"
    melodies = certainty(judge(what, tunes)[1], model.classes_)
    instruments = [row for row in played if row[1] != UNKNOWN]
    what = f"recordings by other players, {n_classes(instruments)} classes"
    players = certainty(judge(what, instruments)[1], model.classes_)
    with tempfile.TemporaryDirectory() as folder:
        for condition in CONDITIONS if spoilt else ():
            rows = degraded(orchestra, condition, Path(folder))
            judge(f"Philharmonia, {condition}", rows)
    unknown = [(r["path"], UNKNOWN) for r in background(sources, "test")]
    strange = certainty(answers(model, unknown)[1], model.classes_)
    for where, sure in known.items():
        is_known = np.arange(len(sure) + len(strange)) < len(sure)
        area = float(roc_auc_score(is_known, np.concatenate([sure, strange])))
        refused = float(np.mean(strange < np.quantile(sure, 1 - KEPT)))
        found[f"unknown sounds told from {where}: AUROC"] = Row(100 * area)
        found[f"of them refused, where {KEPT:.0%} of {where} are kept"] = Row(100 * refused)
    if (limit := model.threshold) is not None:
        others = answers(model, [row for row in played if row[1] == UNKNOWN])[1]
        for what, share in (
            ("held-out pitches that are answered", np.mean(home >= limit)),
            (
                "notes of sources never heard that are",
                np.mean(known["sources never heard"] >= limit),
            ),
            ("their melodies that are", np.mean(melodies >= limit)),
            ("recordings by other players that are", np.mean(players >= limit)),
            ("unknown sounds that are refused", np.mean(strange < limit)),
            (
                "other players' instruments of no class that are",
                np.mean(certainty(others, model.classes_) < limit),
            ),
        ):
            found[f"at the model's own threshold: {what}"] = Row(100 * float(share))
    return found


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--csv", type=Path, help="also writes the means of the runs")
    parser.add_argument("--not-degraded", action="store_true", help="quicker")
    given = parser.parse_args()
    found = [scores(run, given.sources, not given.not_degraded) for run in given.runs]
    print(f"\n| asked | {' | '.join(COLUMNS)} |\n|---|{'---:|' * len(COLUMNS)}")
    table = []
    for name in found[0]:
        cells, means = [], []
        for values in zip(*(f[name] for f in found), strict=True):
            numbers = [value for value in values if value is not None]
            cells.append(f"{Spread.of(numbers):.1f}" if numbers else "")
            means.append(f"{statistics.mean(numbers):.1f}" if numbers else "")
        table.append([name, *means])
        print(f"| {name} | {' | '.join(cells)} |")
    if given.csv:
        write_csv(given.csv, ["asked", *COLUMNS], table)


if __name__ == "__main__":
    main()
