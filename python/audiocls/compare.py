"""Every feature × model × seed × fold on identical splits; a finished cell is not done again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiocls import training
from audiocls.errors import DataError, SettingError
from audiocls.files import replace_file
from audiocls.models import build_model
from audiocls.report import Cell, write_report
from audiocls.training.splits import Split, make_split, usable

if TYPE_CHECKING:
    from audiocls.data.recordings import Recording
    from audiocls.data.store import Store

# Called before a cell is trained: its name, its number from 1, how many there are in all.
Announce = Callable[[str, int, int], training.Progress]
COLUMNS = (
    "feature",
    "model",
    "seed",
    "fold",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "ece",
    "recording_accuracy",
    "recording_balanced_accuracy",
    "recording_macro_f1",
    "val_balanced_accuracy",
    "parameters",
    "training_s",
    "samples_per_s",
    "best_epoch",
    "device",
    "run",
)


@dataclass(frozen=True)
class Comparison:
    """What `compare` made: one row a cell, as in results.csv, and where the report is."""

    rows: list[dict[str, Any]]
    results: Path
    report: Path


def compare(
    features: Sequence[str | Path],
    models: Sequence[str],
    *,
    seeds: int = 1,
    folds: int | None = None,
    settings: training.Settings | None = None,
    out: str | Path = "runs/compare",
    restart: bool = False,
    announce: Announce | None = None,
) -> Comparison:
    """Train every model on every feature store, with `seeds` seeds and all of `folds` folds.

    All stores must come from one data set: a split is made once for a seed and fold, by the path
    of the recordings that every store has. Each cell is a run folder under `out`/cells; a finished
    one is taken as it is, so an interrupted comparison goes on where it stopped.

    settings: what all cells share; its model, seed and fold are replaced.

    Writes results.csv and report.html. Raises SettingError where a finished cell was made with
    other settings, recordings or splits (`restart` does all again), and before anything is trained
    for settings that cannot be.
    """
    from audiocls.data.store import open_store

    common = settings or training.Settings("")
    if seeds < 1:
        raise SettingError("--seeds", seeds, "must be >= 1")
    if folds is not None and folds < 2:
        raise SettingError("--folds", folds, "must be >= 2")
    paths = [Path(f) for f in features]
    names = [path.resolve().name for path in paths]
    for what, values in (("--features", names), ("--models", list(models))):
        if not values:
            raise SettingError(what, "", "at least one is needed")
        for value in values:
            if values.count(value) > 1:
                raise SettingError(what, value, "is named twice; results would mix")
    for model in models:
        replace(common, model=model).validate()
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise SettingError("--out", str(out), "is a file; a folder is needed")

    stores = dict(zip(names, map(open_store, paths), strict=True))
    for store in stores.values():
        for model in models:
            # Without memory for the weights: an input too small for a model is said at once.
            with torch.device("meta"):
                build_model(model, len(store.classes), training.input_shape(store))
    recordings, left_out = common_recordings(stores)

    grid = [
        (seed, fold, name, model)
        for seed in range(common.seed, common.seed + seeds)
        for fold in ([None] if folds is None else [f"{k}/{folds}" for k in range(1, folds + 1)])
        for name in names
        for model in models
    ]
    splits: dict[tuple[int, str | None], Split] = {}
    todo = []
    for seed, fold, name, model in grid:
        if (seed, fold) not in splits:
            split = make_split(recordings, group_by=common.group_by, fold=fold, seed=seed)
            splits[seed, fold] = replace(split, warnings=left_out + split.warnings)
        own = replace(common, model=model, seed=seed, fold=fold)
        folder = out / "cells" / training.run_name(name, own)
        # Checked for the whole grid before the first cell is trained.
        done = None if restart else finished(folder, own, stores[name], splits[seed, fold])
        todo.append((folder, name, own, done))

    cells = []
    leaks: dict[tuple[str, int, str | None], list[str]] = {}
    for number, (folder, name, own, done) in enumerate(todo, 1):
        result = done
        if result is None:
            progress = announce(folder.name, number, len(todo)) if announce else None
            split = splits[own.seed, own.fold]
            key = (name, own.seed, own.fold)
            if key not in leaks:
                leaks[key] = training.leak_warnings(stores[name], split)
            result = training.fit(stores[name], name, own, split, folder, progress, leaks[key])
        cells.append(Cell(name, own.model, own.seed, own.fold, folder, result))
        rows = [row_of(cell) for cell in cells]
        write_results(out / "results.csv", rows)
    write_report(out / "report.html", cells)
    return Comparison(rows, out / "results.csv", out / "report.html")


def common_recordings(stores: dict[str, Store]) -> tuple[list[Recording], list[str]]:
    """The recordings that gave clips in every store, and a warning if some stores have more.

    Raises DataError for stores that are not of one data set.
    """
    by_path = {name: {r.path: r for r in usable(s.recordings)} for name, s in stores.items()}
    (first, own), *others = by_path.items()
    for name, other in others:
        shared = own.keys() & other.keys()
        if 2 * len(shared) < max(len(own), len(other)):
            raise DataError(
                f"stores {first!r} and {name!r} share {len(shared)} of {len(own)} and "
                f"{len(other)} recordings: they are not of one data set"
            )
        if sorted(stores[first].classes) != sorted(stores[name].classes):
            raise DataError(f"stores {first!r} and {name!r} have different classes")
        for path in sorted(shared):
            a, b = own[path], other[path]
            if (a.label, a.group, a.split, a.extra) != (b.label, b.group, b.split, b.extra):
                raise DataError(
                    f"stores {first!r} and {name!r} disagree on label, group or columns of {path!r}"
                )
    everywhere = set(own).intersection(*(other for _, other in others))
    extra = sorted(set().union(*by_path.values()) - everywhere)
    warnings = []
    if extra:
        warnings = [f"{len(extra)} recording(s) are not in every store, left out: {extra[0]!r} …"]
    return [r for path, r in own.items() if path in everywhere], warnings


def finished(
    folder: Path, settings: training.Settings, store: Store, split: Split
) -> dict[str, Any] | None:
    """The metrics of a finished cell; None where there is none.

    Raises SettingError where it was made otherwise than asked now.
    """
    try:
        result: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise DataError(f"{str(folder / 'metrics.json')!r} is damaged") from None
    changed = [
        f"--{key.replace('_', '-')} was {result['settings'].get(key)}, is {value} now"
        for key, value in asdict(settings).items()
        if key != "device" and result["settings"].get(key) != value
    ]
    if result["store"]["identity"] != training.identity(store):
        changed.append("the feature store has changed")
    elif (folder / "split.csv").read_bytes() != split.to_csv():
        changed.append("the recordings that all stores share have changed, and so the split")
    if changed:
        rule = f"{changed[0]} (cell {folder.name}); --restart does all again, or choose another"
        raise SettingError("--out", str(folder.parent.parent), rule)
    return result


def row_of(cell: Cell) -> dict[str, Any]:
    """The row of a cell in results.csv; all scores are of the test part unless they say val."""
    m = cell.metrics
    test, whole = m["test"], m["test_recording"]
    return {
        "feature": cell.feature,
        "model": cell.model,
        "seed": cell.seed,
        "fold": cell.fold or "",
        **{key: test[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "ece")},
        "recording_accuracy": whole["accuracy"],
        "recording_balanced_accuracy": whole["balanced_accuracy"],
        "recording_macro_f1": whole["macro_f1"],
        "val_balanced_accuracy": m["val"]["balanced_accuracy"],
        "parameters": m["parameters"],
        "training_s": m["training_s"],
        "samples_per_s": m["samples_per_s"],
        "best_epoch": m["chosen"]["epoch"],
        "device": m["device"],
        "run": f"cells/{cell.folder.name}",
    }


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write results.csv as a whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.getvalue().encode("utf-8", "surrogateescape"))
