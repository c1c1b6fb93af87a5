"""Finds labels that are probably wrong, by models that did not train on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import numpy as np
from numpy.typing import NDArray

from audiocls.compare.mistakes import illustrate_mistakes
from audiocls.errors import SettingError
from audiocls.files import replace_file, write_csv
from audiocls.scores.confident_learning import find_label_errors, rank_by_doubt
from audiocls.store.labels import ONE
from audiocls.store.store import Store
from audiocls.training.data.features import open_features
from audiocls.training.data.splits import Split
from audiocls.training.fitting.epoch import EpochProgress
from audiocls.training.fitting.predictions import PredictionRow
from audiocls.training.held_out import (
    STATISTICS,
    compute_recording_statistics,
    make_folds,
    predict_by_statistics,
    predict_by_trial,
    predict_held_out,
)
from audiocls.training.loop import check_model, make_trial, name_features
from audiocls.training.recipe import Recipe
from audiocls.training.run import Run
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.subnormals import flush_subnormals
from audiocls.training.start import Start, choose_recipe, load_start
from audiocls.training.trial import LINEAR, Trial

COLUMNS = (
    "path", "label", "suggested", "label_probability", "suggested_probability", "doubted", "group",
)  # fmt: skip
SHOWN = 100  # recordings that the page holds: 9 MB of sound
# Called before a fold: its number from 1, how many there are.
Announce = Callable[[int, int], EpochProgress | None]
# Called with a fold, its number from 0: the paths and probabilities of its test part.
Ask = Callable[[int, Split], tuple[list[str], NDArray[np.float64]]]


@dataclass(frozen=True)
class Doubts:
    """What `doubt` found."""

    # Where the models say otherwise than the label, the least probable label first; `predicted` is
    # what they suggest.
    rows: list[PredictionRow]
    doubted: set[str]  # the paths of those that confident learning counts as wrong
    n_recordings: int
    accuracy: float  # of the models that judged, against the labels as they are
    table: Path
    page: Path


@flush_subnormals()
def doubt(
    features: str | Path,
    model: str | None = None,
    *,
    init: str | Path | Start | None = None,
    feature: str | None = None,
    recipe: Recipe | None = None,
    folds: int = 5,
    group_by: str | None = None,
    seed: int = 0,
    device: str = "auto",
    out: str | Path = "runs/doubt",
    restart: bool = False,
    announce: Announce | None = None,
    command: str = "",
) -> Doubts:
    """Finds labels of a feature store that are probably wrong.

    A model that was trained without a recording's group judges it, in `folds` folds. Confident
    learning then says which labels these models doubt (`scores.confident_learning`).

    Args:
        features: the store, of the task `one`.
        model: `statistics`, a forest on mean and deviation of every feature; or a model as for
            `train`, whose folds are run folders under `out`, finished ones kept. By default
            `statistics`, with `init` `linear`.
        init: as for `train`.
        feature: as for `train`.
        recipe: as for `train`.
        folds: number of folds.
        group_by: as for `train`.
        seed: as for `train`.
        device: as for `train`.
        out: the folder of doubts.csv and doubts.html.
        restart: whether to train finished folds again.
        announce: see `Announce`.
        command: the command that the page shows.

    Raises:
        SettingError: what cannot be, before anything is trained.
        DataError: too few groups for so many folds.
    """
    start = load_start(init)
    model = model or (STATISTICS if start is None else LINEAR)
    if model == STATISTICS and start is not None:
        raise SettingError("init", start.name, f"{STATISTICS!r} has no weights to begin with")
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise SettingError("out", str(out), "is a file; a folder is needed")
    recipe = choose_recipe(recipe, start)
    store = open_features(features, recipe, feature, None, None, start)
    if store.task != ONE:
        raise SettingError("features", str(features), "has several labels a recording: one needed")
    splits = make_folds(store, folds, group_by, seed)
    if model == STATISTICS:
        ask = _train_forests(store, seed)
    else:
        trial = make_trial(model, recipe, start, seed, group_by, None)
        trial = replace(trial, feature=name_features(features, feature))
        chosen = Device.pick(device, recipe.precision)
        ask = _train_folds(trial, store, folds, chosen, start, out, restart, announce)
    found = _find(store, splits[0], *predict_held_out(splits, ask), out)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(found.table, COLUMNS, (_cells(row, row.path in found.doubted) for row in found.rows))
    how = {"model": model, "folds": folds, "group_by": splits[0].group_by}
    replace_file(found.page, _page(found, store, how | {"command": command}))
    return found


def _train_forests(store: Store, seed: int) -> Ask:
    """As `_train_folds`, on the statistics of features."""
    known = compute_recording_statistics(store)
    return lambda _, split: predict_by_statistics(known, store, split, seed)


def _train_folds(
    trial: Trial,
    store: Store,
    folds: int,
    device: Device,
    start: Start | None,
    out: Path,
    restart: bool,
    announce: Announce | None,
) -> Ask:
    """Returns what trains a fold and asks its model about the test part."""
    if start is None:
        check_model(trial.model, store)

    def ask(number: int, split: Split) -> tuple[list[str], NDArray[np.float64]]:
        own = replace(trial, fold=f"{number + 1}/{folds}")
        progress = announce(number + 1, folds) if announce else None
        run = Run(out / "folds" / own.name)
        return predict_by_trial(
            own, store, split, run, device, start=start, restart=restart, progress=progress
        )

    return ask


def _find(
    store: Store, split: Split, paths: list[str], probabilities: NDArray[np.float64], out: Path
) -> Doubts:
    """Where the models say otherwise than the label, and which of these labels are doubted."""
    classes, group, label = store.classes, split.group, split.label
    labels = np.array([classes.index(label[path]) for path in paths])
    rows = []
    for i in rank_by_doubt(labels, probabilities):
        p, best = probabilities[i], int(probabilities[i].argmax())
        own, sure = float(p[labels[i]]), float(p[best])
        path = paths[i]
        rows.append(
            PredictionRow(path, group[path], label[path], None, classes[best], sure, own, sure)
        )
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    doubted = {paths[i] for i in find_label_errors(labels, probabilities)}
    return Doubts(rows, doubted, len(paths), accuracy, out / "doubts.csv", out / "doubts.html")


def _cells(row: PredictionRow, doubted: bool) -> tuple[str, ...]:
    own, sure = f"{row.label_probability:.6g}", f"{row.probability:.6g}"
    return row.path, row.label, row.predicted, own, sure, "yes" if doubted else "no", row.group


def _page(found: Doubts, store: Store, how: dict[str, object]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("audiocls", "compare"),
        autoescape=jinja2.select_autoescape(["jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = illustrate_mistakes(found.rows[:SHOWN], store)
    page = environment.get_template("doubt.html.jinja").render(
        found=found.rows,
        n_doubted=len(found.doubted),
        mistakes=shown,
        shown=len(shown),
        n_recordings=found.n_recordings,
        accuracy=found.accuracy,
        pairs=Counter((row.label, row.predicted) for row in found.rows).most_common(),
        table=found.table.name,
        **how,
    )
    return page.encode("utf-8", "replace")
