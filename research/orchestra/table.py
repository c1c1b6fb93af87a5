"""What models said of sources that they had not heard, as one table.

    python research/orchestra/table.py NAME=OUT [NAME=OUT …] --csv research/results/leave_out.csv

OUT: folders of `leave_out.py`. The CSV has a row a way of training, seed and source: balanced
accuracy by recording and by clip, calibration errors, and what its recordings are taken for. Printed
is the table for the documents, mean ± deviation over the seeds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from audiocls.classifier.answers import closed_set
from audiocls.classifier.description import UNKNOWN
from audiocls.scores.metrics import expected_calibration_error, mean_by_recording
from leave_out import Answers

COLUMNS = (
    "model", "seed", "source", "classes", "recordings", "clips", "by_recording", "by_clip", "ece",
    "ece_clips", "taken_for",
)  # fmt: skip
MEAN = "mean of the sources left out"


def balanced(labels: NDArray[np.str_], said: NDArray[np.str_]) -> float:
    """Mean recall of the classes that occur, in per cent."""
    present = sorted(set(labels))
    return 100 * float(recall_score(labels, said, labels=present, average="macro", zero_division=0))


def scores(given: Answers, rows: NDArray[np.bool_]) -> dict[str, object]:
    """Of some recordings: which of the known instruments is it?"""
    classes = given.classes[given.classes != UNKNOWN]
    whole = mean_by_recording(given.clips, given.recording, given.counts)[0][rows]
    kept = rows[given.recording]
    found: dict[str, object] = {"recordings": int(rows.sum()), "clips": int(kept.sum())}
    for name, ece, p, label in (
        ("by_recording", "ece", whole, given.label[rows]),
        ("by_clip", "ece_clips", given.clips[kept], given.label[given.recording[kept]]),
    ):
        p = closed_set(p, list(given.classes))
        said = classes[p.argmax(axis=1)]
        found[name] = balanced(label, said)
        number = np.searchsorted(classes, label)
        found[ece] = 100 * expected_calibration_error(p, number)
        if name == "by_recording":
            found["classes"] = len(set(label))
            wrong = Counter(f"{a} > {b}" for a, b in zip(label, said, strict=True) if a != b)
            found["taken_for"] = "; ".join(f"{k} {n}" for k, n in wrong.most_common(6))
    return found


def rows_of(model: str, seed: int, given: Answers) -> list[dict[str, object]]:
    """A row a source that holds one of the instruments."""
    found = []
    for source in sorted(set(given.source)):
        rows = (given.source == source) & (given.label != UNKNOWN)
        if rows.any() and source != "unknown-test":
            found.append({"model": model, "seed": seed, "source": source, **scores(given, rows)})
    return found


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:]:
        a = Answers.read(Path(name))
        rs = rows_of(name, 0, a)
        for r in rs:
            print(r)
        k = [
            r
            for r in rs
            if r["source"] not in ("kay-banjo", "ethan-winer", "gtown", "philharmonia")
        ]
        print(
            "MEAN train sources",
            len(k),
            [
                round(np.mean([r[c] for r in k]), 1)
                for c in ("by_recording", "by_clip", "ece", "ece_clips")
            ],
        )
        k = [r for r in rs if r["source"] not in ("philharmonia",)]
        print(
            "MEAN all",
            len(k),
            [
                round(np.mean([r[c] for r in k]), 1)
                for c in ("by_recording", "by_clip", "ece", "ece_clips")
            ],
        )
