"""Which measures a task has, and their titles in tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measures:
    """The measures of models of one task: key in metrics.json → title."""

    main: str  # by which models are compared, and an epoch is chosen
    title: str  # of it, in words
    part: Mapping[str, str]  # of a part: of its clips, or its recordings
    per_class: Mapping[str, str]

    def line(self, scores: Mapping[str, Any]) -> str:
        """Returns the measures of a part without its calibration, as one line."""
        named = ((title, key) for key, title in self.part.items() if key != "ece")
        return ", ".join(f"{title} {format_measure(scores[key])}" for title, key in named)


MEASURES: dict[str, Measures] = {
    "one": Measures(
        "balanced_accuracy",
        "balanced accuracy",
        {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro-F1",
         "ece": "ece"},
        {"precision": "precision", "recall": "recall", "f1": "F1"},
    ),
    "several": Measures(
        "map",
        "mean average precision",
        {"map": "mAP", "auroc": "AUROC", "macro_f1": "macro-F1", "ece": "ece"},
        {"average_precision": "AP", "auroc": "AUROC", "precision": "precision",
         "recall": "recall", "f1": "F1", "threshold": "threshold"},
    ),
}  # fmt: skip


def find_measures(row: Mapping[str, float]) -> Measures:
    """Returns the measures of the task whose training wrote a row of the history."""
    return next(own for own in MEASURES.values() if f"val_{own.main}" in row)


def format_measure(x: float | None) -> str:
    """Returns a number with three decimals, or a dash for a measure that is not defined."""
    return "–" if x is None else f"{x:.3f}"
