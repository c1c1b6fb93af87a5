"""results.csv and differences.csv of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiocls.compare.differences import Difference
from audiocls.compare.ranking import Cell
from audiocls.compare.yardstick import YARDSTICKS
from audiocls.files import write_csv

_CALIBRATION = ("ece", "ece_uncalibrated", "nll", "nll_uncalibrated")


def make_row(cell: Cell) -> dict[str, Any]:
    """The row of a cell in results.csv.

    Scores are of the test part unless they say val; None if a run of an earlier version has none.
    """
    trial, result = cell.trial, cell.result
    test, whole, by = result.test, result.test_recording, YARDSTICKS[result.task]
    low, high = whole.get("interval_95", {}).get(by.key, (None, None))
    return {
        "feature": trial.feature,
        "model": trial.model,
        "seed": trial.seed,
        "fold": trial.fold or "",
        "recordings_per_class": trial.recordings_per_class or "all",
        **{key: test[key] for key in by.columns},
        **{key: test.get(key) for key in _CALIBRATION},
        **{f"recording_{key}": whole[key] for key in by.columns},
        f"{by.main}_low": low,
        f"{by.main}_high": high,
        f"val_{by.key}": result.val[by.key],
        "parameters": result.parameters,
        "multiply_adds": result.cost.get("multiply_adds"),
        "cpu_ms": result.cost.get("cpu_ms"),
        "training_s": result.training_s,
        "samples_per_s": result.clips_per_s,
        "best_epoch": result.chosen["epoch"],
        "device": result.device,
        "run": f"cells/{cell.run.folder.name}",
    }


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes results.csv as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = ([f"{v:.6g}" if isinstance(v, float) else v for v in row.values()] for row in rows)
    write_csv(path, list(rows[0]), cells)


def write_differences(path: Path, tested: Sequence[Difference]) -> None:
    """Writes differences.csv, a row a pair: the better one, the other, their scores, and p."""
    main = tested[0].better.yardstick.main if tested else YARDSTICKS["one"].main
    header = ("feature", "model", "other_feature", "other_model", main, f"other_{main}", "p")
    rows = []
    for d in tested:
        a, b, p = d.better, d.other, "" if d.p is None else f"{d.p:.6g}"
        scores = (f"{a.main.mean:.6g}", f"{b.main.mean:.6g}")
        rows.append((a.feature, a.model, b.feature, b.model, *scores, p))
    write_csv(path, header, rows)
