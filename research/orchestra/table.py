"""What models said of players that they had not heard, as tables.

    python research/orchestra/table.py RESULTS NAME=FILE[,FILE …] [NAME=FILE …]

FILE: answers of `leave_out.py`; several of one NAME are folds. RESULTS/leave_out.csv gets a row a
name and source: balanced accuracy by recording and by clip in per cent, calibration errors,
what its recordings are taken for; RESULTS/unknown.csv what a threshold refuses; RESULTS/slices.csv
where it fails. All is calibrated across sources: of each by what was fitted on the others. The
table for the documents is printed.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from audiocls.classifier.answers import UNKNOWN, certainty, renormalise_known
from audiocls.scores.metrics import expected_calibration_error, mean_by_recording
from calibrate import crossed, joined, players_of, threshold_of
from leave_out import HOME, STRANGE, Answers, read_arrays
from players import sources

Row = dict[str, object]
MEAN = "mean of the sources"
ALIKE = "all players, every class alike"
HOME_NAME = "at home: held-out pitches"
TAKEN = 5  # confusions that are named


def balanced(labels: NDArray[np.str_], said: NDArray[np.str_]) -> float:
    """Mean recall of the classes that occur, in per cent."""
    present = sorted(set(labels.tolist()))
    return 100 * float(recall_score(labels, said, labels=present, average="macro", zero_division=0))


def judged(answers: Answers, p: NDArray[np.float64], rows: NDArray[np.bool_]) -> Row:
    """Of some recordings of known instruments: which of them is it? p: [n_clips, n_classes]."""
    classes = answers.classes.tolist()
    known = np.array([name for name in classes if name != UNKNOWN])
    whole = mean_by_recording(p, answers.recording, answers.counts)[0][rows]
    clips = rows[answers.recording]
    found: Row = {"recordings": int(rows.sum()), "clips": int(clips.sum())}
    for name, ece, of, label in (
        ("by_recording", "ece", whole, answers.label[rows]),
        ("by_clip", "ece_clips", p[clips], answers.label[answers.recording[clips]]),
    ):
        closed = renormalise_known(of, classes)
        said = known[closed.argmax(axis=1)]
        found[name] = balanced(label, said)
        found[ece] = 100 * expected_calibration_error(closed, np.searchsorted(known, label))
        if ece == "ece":
            found["classes"] = len(set(label.tolist()))
            wrong = Counter(f"{a} → {b}" for a, b in zip(label, said, strict=True) if a != b)
            found["taken_for"] = "; ".join(f"{what} {n}" for what, n in wrong.most_common(TAKEN))
    return found


def by_source(name: str, answers: Answers, p: NDArray[np.float64]) -> list[Row]:
    """A row for each source with an instrument, the mean of the players' sources, and all."""
    use = {source: row["use"] for source, row in sources().items()} | {HOME: "home"}
    rows: list[Row] = []
    for source in sorted(use):
        chosen = (answers.source == source) & (answers.label != UNKNOWN)
        if chosen.any():
            about = {"model": name, "source": source, "use": use[source]}
            rows.append(about | judged(answers, p, chosen))
    played = [row for row in rows if row["use"] != "home"]
    scores = ("by_recording", "by_clip", "ece", "ece_clips")
    mean = {k: float(np.mean([float(str(row[k])) for row in played])) for k in scores}
    rows.append({"model": name, "source": MEAN, "use": "", "classes": len(played)} | mean)
    everyone = np.isin(answers.source, players_of(answers)) & (answers.label != UNKNOWN)
    return [*rows, {"model": name, "source": ALIKE, "use": ""} | judged(answers, p, everyone)]


def refused(name: str, answers: Answers, p: NDArray[np.float64]) -> list[Row]:
    """What is answered at the threshold that 90 % of the players' recordings reach."""
    limit = threshold_of(answers, p)
    whole = mean_by_recording(p, answers.recording, answers.counts)[0]
    sure = certainty(whole, answers.classes.tolist())
    played = np.isin(answers.source, players_of(answers))
    strange = answers.label == UNKNOWN
    parts = {
        "players never heard, known instruments: answered": (played & ~strange, True),
        "home, held-out pitches: answered": (answers.source == HOME, True),
        "players never heard, other instruments and voices: refused": (played & strange, False),
        "kinds that never train: refused": (answers.source == STRANGE, False),
    }
    kinds = np.array([Path(path).parent.name for path in answers.path])
    for kind in sorted(set(kinds[answers.source == STRANGE].tolist())):
        parts[f"{kind}: refused"] = ((answers.source == STRANGE) & (kinds == kind), False)
    return [
        {"model": name, "threshold": limit, "what": what, "recordings": int(rows.sum()),
         "share": 100 * float(np.mean((sure[rows] >= limit) == answered))}
        for what, (rows, answered) in parts.items()
        if rows.any()
    ]  # fmt: skip


def sliced(name: str, answers: Answers, p: NDArray[np.float64], clip_s: float) -> list[Row]:
    """By class, and by how many clips a recording has."""
    played = np.isin(answers.source, players_of(answers)) & (answers.label != UNKNOWN)
    n = np.bincount(answers.recording, minlength=len(answers.path))
    parts = {label: played & (answers.label == label) for label in set(answers.label[played])}
    parts = dict(sorted(parts.items()))
    for low, high in ((1, 1), (2, 2), (3, 4), (5, 99)):
        what = f"{low * clip_s:g} s and more" if high == 99 else f"{low * clip_s:g} s"
        parts[f"recordings of {what}" if high != 1 else "recordings of one clip"] = (
            played & (n >= low) & (n <= high)
        )
    return [
        {"model": name, "slice": what} | judged(answers, p, rows)
        for what, rows in parts.items()
        if rows.any()
    ]


def write(path: Path, rows: Iterable[Row]) -> None:
    """A CSV of rows that may have different columns."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()})


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("answers", nargs="+", metavar="NAME=FILE,FILE")
    given = parser.parse_args()
    found: dict[str, list[Row]] = {}
    for text in given.answers:
        name, _, files = text.partition("=")
        folds = [read_arrays(Answers, Path(file)) for file in files.split(",")]
        answers = joined([fold for fold in folds if isinstance(fold, Answers)])
        p = crossed(answers)
        for file, rows in (
            ("leave_out", by_source(name, answers, p)),
            ("unknown", refused(name, answers, p)),
            ("slices", sliced(name, answers, p, 0.5)),
        ):
            found.setdefault(file, []).extend(rows)
    for file, rows in found.items():
        write(given.results / f"{file}.csv", rows)
    print(markdown(given.results))


def markdown(results: Path) -> str:
    """The table of the documents, of RESULTS/leave_out.csv."""
    with (results / "leave_out.csv").open(newline="", encoding="utf-8") as file:
        rows = {(row["model"], row["source"]): row for row in csv.DictReader(file)}
    models = list(dict.fromkeys(model for model, _ in rows))
    heads = "".join(f" {name}: by recording | by clip | ECE |" for name in models)
    lines = [f"| source | recordings |{heads}", "|---|---:|" + "---:|---:|---:|" * len(models)]
    for source in dict.fromkeys(source for _, source in rows):
        found = [rows.get((model, source), {}) for model in models]
        n = next(row["recordings"] for row in found if row)
        scores = [row.get(k, "") for row in found for k in ("by_recording", "by_clip", "ece")]
        cells = [f"{float(score):.1f}" if score else "" for score in scores]
        name = f"`{source}`" if source in sources() else HOME_NAME if source == HOME else source
        lines.append(f"| {name} | {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
