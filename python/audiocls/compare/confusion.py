"""Classes taken for others: a matrix with recordings, and the table of the classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiocls.compare.ranking import Ranking
from audiocls.scores.metrics import N_BINS, calibration_bins, score_hits
from audiocls.scores.significance import wilson_interval
from audiocls.training.fitting.predictions import PredictionRow

# A larger matrix would be slow and unreadable; a cell that names more would make the page large.
MOST_CLASSES, MOST_NAMES = 40, 12


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix over all seeds and folds of a ranking."""

    unit: str  # recordings or clips
    classes: list[str]  # of the rows and columns shown
    n_classes: int  # in all
    counts: list[list[int]]  # [true][predicted]
    names: dict[str, list[tuple[str, int]]]  # "true,predicted" → recordings, and how often
    stored: bool  # whether the runs stored names
    totals: list[int]  # examples of each true class, those taken for classes not shown too

    def share(self, i: int, j: int) -> float:
        """The share of the true class that this cell holds."""
        return self.counts[i][j] / self.totals[i] if self.totals[i] else 0.0


def build_matrix(ranking: Ranking, unit: str) -> Matrix:
    """Builds the matrix of a ranking by recordings or by clips."""
    classes = ranking.cells[0].result.classes
    results = [c.result for c in ranking.cells]
    parts = [r.test_recording if unit == "recordings" else r.test for r in results]
    counts = np.sum([part["confusion"] for part in parts], axis=0)
    shown = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:  # those with the most mistakes
        wrong = counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts)
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    place = {classes[c]: i for i, c in enumerate(shown)}
    rows = [c.recordings if unit == "recordings" else c.clips for c in ranking.cells]
    named: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in (row for part in rows if part is not None for row in part):
        if row.label in place and row.predicted in place:
            named[f"{place[row.label]},{place[row.predicted]}"][row.path] += 1
    return Matrix(
        unit,
        [classes[c] for c in shown],
        len(classes),
        counts[np.ix_(shown, shown)].tolist(),
        {key: names.most_common(MOST_NAMES) for key, names in named.items()},
        all(part is not None for part in rows),
        counts.sum(axis=1)[shown].tolist(),
    )


def tabulate_classes(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], groups: dict[str, int]
) -> list[dict[str, Any]]:
    """Rows of the per-class table.

    A row has name, n, precision, recall, f1 (None for 0/0), the class it is most often taken for,
    and a
    95 % interval of the recall (Wilson's, with groups as its cases). Recordings of one group are
    not
    independent: a hundred of them may say no more than one.

    Args:
        confusion: [true][predicted].
        classes: their names.
        groups: the number of groups of each class.
    """
    rows = []
    for i, name in enumerate(classes):
        hits, n = confusion[i][i], sum(confusion[i])
        scores = score_hits(hits, n, sum(row[i] for row in confusion))
        wrong = max((j for j in range(len(classes)) if j != i), key=lambda j: confusion[i][j])
        recall = scores["recall"]
        cases = groups.get(name, 0)
        rows.append(
            {
                "name": name,
                "n": n,
                "groups": cases,
                "hits": hits,
                **scores,
                "interval": wilson_interval(recall * cases, cases) if recall is not None else None,
                "taken_for": classes[wrong] if confusion[i][wrong] else None,
                "taken_n": confusion[i][wrong],
                "taken_share": confusion[i][wrong] / n if n else None,
            }
        )
    return rows


def count_groups(ranking: Ranking) -> dict[str, int]:
    """Counts the groups of each class in the test parts of a ranking."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for cell in ranking.cells:
        for label, group in cell.run.read_test_groups():
            found[label].add(group)
    return {label: len(groups) for label, groups in found.items()}


def bin_confidences(predictions: Sequence[PredictionRow]) -> list[dict[str, Any]]:
    """The bins of the expected calibration error, before and after temperature scaling.

    A bin has its bounds, the number of clips, their mean confidence and their accuracy.
    """
    right = np.array([p.right for p in predictions], np.float64)
    after = np.array([p.probability for p in predictions])
    before = np.array([p.uncalibrated for p in predictions])
    rows = []
    for m in range(N_BINS):
        row: dict[str, Any] = {"low": m / N_BINS, "high": (m + 1) / N_BINS}
        for name, confidence in (("before", before), ("after", after)):
            at = calibration_bins(confidence) == m
            n = int(at.sum())
            row[name] = {
                "n": n,
                "confidence": float(confidence[at].mean()) if n else None,
                "accuracy": float(right[at].mean()) if n else None,
            }
        rows.append(row)
    return rows
