"""The score by which models of a task are compared, its interval, and its test.

All that differs between the tasks in a comparison stands here, and in the tables of classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audiocls.scores.multilabel import score_draws, swapped_average_precision
from audiocls.scores.significance import (
    PERMUTATIONS,
    bootstrap_groups,
    bootstrap_intervals,
    count_by_group,
    exchange_test,
    permutation_test,
)

if TYPE_CHECKING:
    from audiocls.compare.ranking import Cell
    from audiocls.training.fitting.predictions import MultilabelRow

# Exchanges of which each costs as much as an evaluation.
EXCHANGES = 2_000


class Yardstick(ABC):
    """One of `YARDSTICKS`."""

    # Scores of the test part, with their titles; those by recording begin with `recording_`.
    scores: ClassVar[Mapping[str, str]]
    main: str  # of them, what models are compared by
    validation: str  # its title on the validation part
    columns: Sequence[str]  # of a part in results.csv
    exchanges: int  # of the test

    @property
    def key(self) -> str:
        """The main score in a part of metrics.json."""
        return self.main.removeprefix("recording_")

    def of(self, cell: Cell, name: str) -> float:
        """A score of a cell; 0 if nothing defines it."""
        key = name.removeprefix("recording_")
        part = cell.result.test if key == name else cell.result.test_recording
        return float(part[key] or 0.0)

    @abstractmethod
    def chance(self, cells: Sequence[Cell]) -> float:
        """The score of guessing."""

    @abstractmethod
    def interval(self, cells: Sequence[Cell]) -> tuple[float, float] | None:
        """95 % bootstrap interval of the main score over groups, all cells together.

        None if a run has no predictions.
        """

    @abstractmethod
    def p_value(self, pairs: Sequence[tuple[Cell, Cell]]) -> float | None:
        """The p-value of the difference in the main score between two models on the same splits.

        The test exchanges them on whole groups. None if predictions are missing.
        """


class OneLabel(Yardstick):
    """Of models that give one label: balanced accuracy."""

    scores: ClassVar = {
        "recording_balanced_accuracy": "balanced accuracy by recording",
        "recording_accuracy": "accuracy by recording",
        "balanced_accuracy": "balanced accuracy by clip",
        "macro_f1": "macro-F1 by clip",
    }
    main = "recording_balanced_accuracy"
    validation = "balanced accuracy on validation"
    columns = ("accuracy", "balanced_accuracy", "macro_f1")
    exchanges = PERMUTATIONS

    def chance(self, cells: Sequence[Cell]) -> float:
        """One over the number of classes."""
        return 1 / len(cells[0].result.classes)

    def interval(self, cells: Sequence[Cell]) -> tuple[float, float] | None:
        """Of the balanced accuracy by recording."""
        known = [rows for c in cells if (rows := c.recordings) is not None]
        if len(known) < len(cells):
            return None
        class_of = {name: i for i, name in enumerate(cells[0].result.classes)}
        group_of = _numbers(row.group for rows in known for row in rows)
        parts = [
            count_by_group(
                [class_of[r.label] for r in rows],
                [class_of[r.predicted] for r in rows],
                [group_of[r.group] for r in rows],
                len(group_of),
                len(class_of),
            )
            for rows in known
        ]
        return bootstrap_intervals(parts)["balanced_accuracy"]

    def p_value(self, pairs: Sequence[tuple[Cell, Cell]]) -> float | None:
        """The p-value, by exchanging the groups' shares of the balanced accuracy.

        The labels of a group fix its share.
        """
        shares = self.group_differences(pairs)
        return None if shares is None else permutation_test(shares)

    def group_differences(self, pairs: Sequence[tuple[Cell, Cell]]) -> NDArray[np.float64] | None:
        """The share of each group in the difference of balanced accuracy, mean over splits."""
        total: defaultdict[str, float] = defaultdict(float)
        for cell, other in pairs:
            rows, others = cell.recordings, other.recordings
            if rows is None or others is None:
                return None
            right = {row.path: row.right for row in others}
            n = Counter(row.label for row in rows)
            for row in rows:
                weight = 1 / (n[row.label] * len(n) * len(pairs))
                total[row.group] += weight * (row.right - right[row.path])
        return np.array(list(total.values()))


class SeveralLabels(Yardstick):
    """Of models that give several: mean average precision."""

    scores: ClassVar = {
        "recording_map": "mean average precision by recording",
        "recording_macro_f1": "macro-F1 by recording",
        "map": "mean average precision by clip",
        "auroc": "AUROC by clip",
    }
    main = "recording_map"
    validation = "mean average precision on validation"
    columns = ("map", "auroc", "macro_f1")
    exchanges = EXCHANGES

    def chance(self, cells: Sequence[Cell]) -> float:
        """The mean over the classes of the share of recordings that have the label."""
        shares = [
            row["n"] / c.result.test_recording["n"]
            for c in cells
            for row in c.result.test_recording["per_class"].values()
            if row["n"]
        ]
        return sum(shares) / len(shares) if shares else 0.0

    def interval(self, cells: Sequence[Cell]) -> tuple[float, float] | None:
        """Of the mean average precision by recording."""
        known = [rows for c in cells if (rows := c.recordings) is not None]
        if len(known) < len(cells):
            return None
        group_of = _numbers(row.group for rows in known for row in rows)
        parts = []
        for rows in known:
            p, y = _arrays(rows, cells[0].result.classes)
            group = np.array([group_of[row.group] for row in rows])
            parts.append(partial(score_draws, p, y, p >= 0.5, group))
        return bootstrap_groups(parts, len(group_of)).get("map")

    def p_value(self, pairs: Sequence[tuple[Cell, Cell]]) -> float | None:
        """Average precision is no sum over groups: it is computed anew for every exchange."""
        splits = []
        both = [(cell.recordings, other.recordings) for cell, other in pairs]
        known = [(a, b) for a, b in both if a is not None and b is not None]
        if len(known) < len(both):
            return None
        group_of = _numbers(row.group for rows, _ in known for row in rows)
        for rows, others in known:
            by_path = {row.path: row for row in others}
            classes = list(rows[0].probabilities)
            p, y = _arrays(rows, classes)
            q, _ = _arrays([by_path[row.path] for row in rows], classes)
            splits.append((p, q, y, np.array([group_of[row.group] for row in rows])))

        def differences(swap: NDArray[np.bool_]) -> NDArray[np.float64]:
            found = [
                swapped_average_precision(p, q, y, swap[:, group])
                - swapped_average_precision(q, p, y, swap[:, group])
                for p, q, y, group in splits
            ]
            mean: NDArray[np.float64] = np.mean(found, axis=0)
            return mean

        return exchange_test(differences, len(group_of), self.exchanges)


YARDSTICKS: dict[str, Yardstick] = {"one": OneLabel(), "several": SeveralLabels()}


def _numbers(names: Any) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for name in names:
        numbers.setdefault(name, len(numbers))
    return numbers


def _arrays(
    rows: Sequence[MultilabelRow], classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities and labels, [n, n_classes] each."""
    p = np.array([[row.probabilities[name] for name in classes] for row in rows])
    y = np.array([[name in row.labels for name in classes] for row in rows])
    return p, y
