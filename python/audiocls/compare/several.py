"""The tables of the page for models of several labels, class by class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from audiocls.compare.ranking import Cell, Ranking
from audiocls.scores.metrics import N_BINS, calibration_bins
from audiocls.training.fitting.predictions import MultilabelRow, PredictionRow

_KEYS = ("average_precision", "auroc", "f1", "precision", "recall", "threshold")


def tabulate_labels(ranking: Ranking) -> list[dict[str, Any]]:
    """Rows of the table of the classes, by recording.

    A row has name, n and groups over all cells, and the mean of each measure over the cells that
    define
    it, else None.
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for cell in ranking.cells:
        for said in cell.recordings or ():
            for name in said.labels:
                groups[name].add(said.group)
    rows = []
    for name in ranking.cells[0].result.classes:
        parts = [c.result.test_recording["per_class"][name] for c in ranking.cells]
        row: dict[str, Any] = {"name": name, "n": sum(p["n"] for p in parts)}
        for key in _KEYS:
            known = [p[key] for p in parts if p[key] is not None]
            row[key] = sum(known) / len(known) if known else None
        rows.append(row | {"groups": len(groups[name])})
    return rows


def bin_label_confidences(rows: Sequence[MultilabelRow]) -> list[dict[str, Any]]:
    """The bins of the calibration error over all labels of all clips.

    A bin has its bounds, the number, the mean probability and the share that has the label. Runs
    store
    nothing from before calibration.
    """
    p = np.array([list(row.probabilities.values()) for row in rows])
    there = np.array([[name in row.labels for name in row.probabilities] for row in rows])
    bin_of = calibration_bins(p)
    found = []
    for m in range(N_BINS):
        at = bin_of == m
        n = int(at.sum())
        after = {
            "n": n,
            "confidence": float(p[at].mean()) if n else None,
            "accuracy": float(there[at].mean()) if n else None,
        }
        before = {"n": 0, "confidence": None, "accuracy": None}
        found.append(
            {"low": m / N_BINS, "high": (m + 1) / N_BINS, "before": before, "after": after}
        )
    return found


def find_wrong_labels(cells: Sequence[Cell]) -> Iterator[PredictionRow]:
    """Yields predictions for the labels that a model gave to clips without them."""
    for cell in cells:
        limits = cell.result.thresholds or [0.5] * len(cell.result.classes)
        for row in cell.clips or ():
            there = ", ".join(row.labels) or "none of these"
            pairs = zip(row.probabilities.items(), limits, strict=True)
            for (name, p), limit in pairs:
                if p >= limit and name not in row.labels:
                    yield PredictionRow(row.path, row.group, there, row.start_s, name, p, 0.0, p)
