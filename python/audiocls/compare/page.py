"""A comparison → one HTML page with everything in it, which loads nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from audiocls.compare import charts
from audiocls.compare.commands import write_extract_command
from audiocls.compare.confusion import (
    Matrix,
    bin_confidences,
    build_matrix,
    count_groups,
    tabulate_classes,
)
from audiocls.compare.differences import Difference, describe_differences
from audiocls.compare.learning import LearningCurve
from audiocls.compare.mistakes import find_confident_mistakes
from audiocls.compare.ranking import Ranking
from audiocls.compare.several import bin_label_confidences, find_wrong_labels, tabulate_labels
from audiocls.data.recordings import notice_scope
from audiocls.files import replace_file
from audiocls.store.store import Store
from audiocls.training.data.splits import LOGO


def write_report(
    path: Path,
    rankings: Sequence[Ranking],
    tested: Sequence[Difference],
    stores: Mapping[str, Store] | None = None,
    command: str = "",
    learning: Sequence[LearningCurve] = (),
) -> None:
    """Writes the page.

    Class by class it shows the model that validation chose, over its seeds and folds: a choice by
    the test score would flatter it.

    Args:
        path: the file.
        rankings: the best on validation first.
        tested: all their pairs.
        stores: by name. If a store or its recordings are gone, the page says what it cannot show.
        command: the command that made the comparison.
        learning: how scores rise with recordings.
    """
    stores = stores or {}
    best, cells = rankings[0], [cell for r in rankings for cell in r.cells]
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            rankings=rankings,
            differences=tested,
            answers=describe_differences(best, tested),
            seeds=sorted({c.trial.seed for c in cells}),
            folds=sorted({c.trial.fold for c in cells if c.trial.fold}),
            features=sorted({c.trial.feature for c in cells}),
            curves=_curves(rankings),
            scatter=charts.draw_scores_by_cost(rankings),
            learning=learning,
            series=charts.SERIES,
            learning_chart=charts.draw_learning(learning) if learning else "",
            devices=sorted({c.result.device for c in cells}),
            commands=[
                *map(write_extract_command, stores.values()),
                *([command] if command else []),
                shlex.join(["audiocls", "predict", str(best.cells[0].run.folder), "RECORDING"]),
            ],
            warnings=sorted({w for c in cells for w in c.result.warnings}),
            reach=notice_scope(next(iter(stores.values())).recordings) if stores else [],
            **_about_best(best, stores.get(best.feature)),
        )
    )
    replace_file(path, page.encode("utf-8", "replace"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("audiocls", "compare"),
        autoescape=jinja2.select_autoescape(["jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["si"] = _si
    environment.filters["duration"] = _duration
    environment.filters["unbroken"] = _unbroken
    return environment


def _about_best(best: Ranking, store: Store | None) -> dict[str, Any]:
    """What the page shows of the model that validation chose."""
    results = [c.result for c in best.cells]
    first = results[0]
    contents = _CONTENTS[first.task](best, store)
    return {
        "best": best,
        "several": first.task == "several",
        "chance": best.yardstick.chance(best.cells),
        "scores": best.yardstick.scores,
        "main": best.yardstick.main,
        "main_key": best.yardstick.key,
        "on_validation": best.yardstick.validation,
        "n_recordings": sum(r.test_recording["n"] for r in results),
        "n_groups": len({group for c in best.cells for _, group in c.run.read_test_groups()}),
        "calibration": _calibration(best),
        "reliability": charts.draw_reliability(contents["bins"]) if contents["bins"] else "",
        "split": first.split,
        "given_split": "`split` column" in first.split["method"],
        "versions": first.versions,
        "settings": {k: v for k, v in first.settings.items() if k not in ("model", "seed", "fold")},
        "left_out": _left_out(best),
        **contents,
    }


def _of_one_label(best: Ranking, store: Store | None) -> dict[str, Any]:
    """The confusion matrices and the table of the classes."""
    said = [row for cell in best.cells for row in cell.clips or ()]
    stored = any(cell.clips is not None for cell in best.cells)
    results = [c.result for c in best.cells]
    units = [build_matrix(best, "recordings"), build_matrix(best, "clips")]
    return {
        "classes": tabulate_classes(
            _summed([r.test_recording["confusion"] for r in results]),
            results[0].classes,
            count_groups(best),
        ),
        "matrices": units,
        "matrix_data": _embedded(units),
        "bins": bin_confidences(said) if said else [],
        "mistakes": (
            find_confident_mistakes((row for row in said if not row.right), store)
            if stored
            else None
        ),
    }


def _of_several_labels(best: Ranking, store: Store | None) -> dict[str, Any]:
    """How well each label is found."""
    said = [row for cell in best.cells for row in cell.clips or ()]
    stored = any(cell.clips is not None for cell in best.cells)
    return {
        "classes": tabulate_labels(best),
        "matrices": [],
        "matrix_data": "{}",
        "bins": bin_label_confidences(said) if said else [],
        "mistakes": find_confident_mistakes(find_wrong_labels(best.cells), store)
        if stored
        else None,
    }


_CONTENTS = {"one": _of_one_label, "several": _of_several_labels}


def _left_out(best: Ranking) -> dict[str, str]:
    """The fold → the name of the group that it leaves out."""
    folds = [cell for cell in best.cells if (cell.trial.fold or "").endswith(LOGO)]
    return {cell.trial.fold or "": min(g for _, g in cell.run.read_test_groups()) for cell in folds}


def _curves(rankings: Sequence[Ranking]) -> dict[tuple[str, str], Any]:
    """A picture of the losses for each feature and model, all on the same axes."""
    histories = {r: [c.run.read_history() for c in r.cells] for r in rankings}
    rows = [row for many in histories.values() for history in many for row in history]
    losses = sorted(row[f"{part}_loss"] for row in rows for part in ("train", "val"))
    # A single spike would flatten all curves; it is drawn on the upper edge.
    most = losses[int(0.99 * (len(losses) - 1))] * 1.05
    ends = {"epoch": max(row["epoch"] for row in rows), "loss": max(most, 1e-3)}
    return {
        (r.feature, r.model): charts.draw_losses(
            many, [c.result.chosen["epoch"] for c in r.cells], ends
        )
        for r, many in histories.items()
    }


def _calibration(ranking: Ranking) -> list[tuple[str, str, float | None, float]]:
    """Name, unit, and the value before and after temperature scaling: means over the cells."""
    rows = []
    for title, key in (
        ("expected calibration error", "ece"),
        ("negative log-likelihood", "nll"),
    ):
        for unit in ("test", "test_recording"):
            parts = [getattr(c.result, unit) for c in ranking.cells]
            after = [p.get(key) for p in parts]
            before = [p.get(f"{key}_uncalibrated") for p in parts]
            if None not in after:
                mean = None if None in before else sum(before) / len(before)
                name = "by clip" if unit == "test" else "by recording"
                rows.append((title, name, mean, sum(after) / len(after)))
    return rows


def _summed(matrices: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    return [
        [sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)
    ]


def _embedded(matrices: Sequence[Matrix]) -> str:
    """JSON that may stand in a script element: nothing in it ends the element."""
    document = {
        m.unit: {"classes": m.classes, "counts": m.counts, "totals": m.totals, "names": m.names}
        for m in matrices
    }
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")


def _si(number: float) -> str:
    """1234567 → 1.2 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _unbroken(sentence: str) -> str:
    """“p < 0.001” stays on one line."""
    return sentence.replace(" < ", "\u00a0<\u00a0").replace(" = ", "\u00a0=\u00a0")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
