"""Which measures a task has, and what they are called in tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measures:
    """Of models of one task: key in metrics.json → title."""

    main: str  # by which models are compared, and an epoch is chosen
    title: str  # of it, in words
    part: Mapping[str, str]  # of a part: of its clips, or its recordings
    per_class: Mapping[str, str]

    def line(self, scores: Mapping[str, Any]) -> str:
        """The measures of a part but its calibration, for people."""
        named = ((title, key) for key, title in self.part.items() if key != "ece")
        return ", ".join(f"{title} {number(scores[key])}" for title, key in named)


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


def measures_of_history(row: Mapping[str, float]) -> Measures:
    """Those of the task whose training wrote a row of the history."""
    return next(own for own in MEASURES.values() if f"val_{own.main}" in row)


def number(x: float | None) -> str:
    """With three decimals; a measure that nothing defines as a dash."""
    return "–" if x is None else f"{x:.3f}"
