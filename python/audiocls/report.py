"""Results of a comparison → one HTML page with everything in it: no script, nothing to load."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import jinja2

from audiocls import plots
from audiocls.files import replace_file
from audiocls.training.run import Result, Run
from audiocls.training.trial import Trial

SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "recording_accuracy": "accuracy, whole recordings",
}


@dataclass(frozen=True)
class Cell:
    """One trained model of a comparison."""

    trial: Trial
    run: Run
    result: Result


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; the deviation of a single value is None."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        if self.deviation is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.deviation:.3f}"


@dataclass(frozen=True)
class Ranking:
    """All cells of one feature and model."""

    feature: str
    model: str
    cells: list[Cell]
    scores: dict[str, Spread]  # of the test part, by the keys of SCORES
    validation: Spread  # balanced accuracy
    parameters: int
    training_s: float  # mean


def ranked(cells: Sequence[Cell]) -> list[Ranking]:
    """One ranking for each feature and model, the best on validation first."""
    together: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.trial.feature, cell.trial.model), []).append(cell)
    summaries = [
        Ranking(
            feature,
            model,
            own,
            {name: Spread.of([_score(c, name) for c in own]) for name in SCORES},
            Spread.of([c.result.val["balanced_accuracy"] for c in own]),
            own[0].result.parameters,
            fmean(c.result.training_s for c in own),
        )
        for (feature, model), own in together.items()
    ]
    return sorted(summaries, key=lambda s: -s.validation.mean)


def write_report(path: Path, cells: Sequence[Cell]) -> None:
    """Write the page. The confusion matrix shown is of the model that validation chose, summed
    over its seeds and folds: choosing it by its test score would flatter it."""
    summaries = ranked(cells)
    best = summaries[0]
    classes: list[str] = best.cells[0].result.classes
    confusion = [
        [sum(c.result.test["confusion"][i][j] for c in best.cells) for j in range(len(classes))]
        for i in range(len(classes))
    ]
    first = cells[0].result
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(files("audiocls").joinpath("report.html.jinja").read_text())
    page = template.render(
        summaries=summaries,
        best=best,
        scores=SCORES,
        seeds=sorted({c.trial.seed for c in cells}),
        folds=sorted({c.trial.fold for c in cells if c.trial.fold}),
        classes=per_class(confusion, classes),
        confusion=_inline(plots.confusion(confusion, classes)),
        curves=[(s, _inline(_curves(s.cells[0]))) for s in summaries],
        split=first.split,
        settings=first.settings,
        versions=first.versions,
        devices=sorted({c.result.device for c in cells}),
        warnings=sorted({w for c in cells for w in c.result.warnings}),
    )
    replace_file(path, page.encode("utf-8", "replace"))


def per_class(confusion: list[list[int]], classes: list[str]) -> list[dict[str, Any]]:
    """Rows of the per-class table: name, n, precision, recall, f1 (None where 0/0), and the class
    it is most often taken for."""
    rows = []
    for i, name in enumerate(classes):
        hits, n = confusion[i][i], sum(confusion[i])
        called = sum(row[i] for row in confusion)
        wrong = max((j for j in range(len(classes)) if j != i), key=lambda j: confusion[i][j])
        rows.append(
            {
                "name": name,
                "n": n,
                "precision": hits / called if called else None,
                "recall": hits / n if n else None,
                "f1": 2 * hits / (n + called) if n + called else None,
                "taken_for": classes[wrong] if confusion[i][wrong] else None,
                "taken_share": confusion[i][wrong] / n if n else None,
            }
        )
    return rows


def _score(cell: Cell, name: str) -> float:
    key = name.removeprefix("recording_")
    part = cell.result.test if key == name else cell.result.test_recording
    score: float = part[key]
    return score


def _curves(cell: Cell) -> bytes:
    return plots.curves(cell.run.history(), cell.result.chosen["epoch"])


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
