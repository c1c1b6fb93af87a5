"""Every feature × model × seed × fold on the same splits; finished cells are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from audiocls.compare.commands import write_compare_command
from audiocls.compare.differences import Difference, compare_pairs
from audiocls.compare.learning import LearningCurve, build_learning_curves
from audiocls.compare.page import write_report
from audiocls.compare.ranking import Cell, Ranking, rank_cells
from audiocls.compare.tables import make_row, write_differences, write_results
from audiocls.data.grouping import find_groups
from audiocls.errors import DataError, SettingError
from audiocls.models import resolve_architecture
from audiocls.training.data.features import open_features
from audiocls.training.data.leakage import describe_leaks
from audiocls.training.data.splits import LOGO, Split, keep_usable, make_split
from audiocls.training.data.subset import draw_subset
from audiocls.training.fitting.epoch import EpochProgress
from audiocls.training.loop import check_model, fit, make_trial, name_features
from audiocls.training.recipe import Recipe
from audiocls.training.run import Result, Run
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.subnormals import flush_subnormals
from audiocls.training.start import Start, choose_recipe, load_start
from audiocls.training.trial import Trial

if TYPE_CHECKING:
    from audiocls.data.recordings import Recording
    from audiocls.store.store import Store

# Cells of equal seed, fold and recordings a class have the same split.
SplitKey = tuple[int, str | None, int | None]
# Called before a cell is trained: its name, its number from 1, how many there are in all.
Announce = Callable[[str, int, int], EpochProgress]
# Called after it: the same, its result, and how long the rest will take, in seconds.
Tell = Callable[[str, int, int, Result, float], None]
RESULTS = "results.csv"


@dataclass(frozen=True)
class Comparison:
    """The results of `compare`: one row a cell, as in results.csv, and the report."""

    rows: list[dict[str, Any]]
    rankings: list[Ranking]  # of each feature and model, the best on validation first
    differences: list[Difference]  # of every pair of them
    learning: list[LearningCurve]  # of each feature and model, if several sizes were asked for
    results: Path
    report: Path


@flush_subnormals()
def compare(
    features: Sequence[str | Path],
    models: Sequence[str],
    *,
    feature: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    seeds: int = 1,
    folds: int | str | None = None,
    group_by: str | None = None,
    recordings_per_class: Sequence[int | None] = (None,),
    clip_s: float | None = None,
    hop_s: float | None = None,
    init: str | Path | Start | None = None,
    device: str = "auto",
    out: str | Path = "runs/compare",
    restart: bool = False,
    announce: Announce | None = None,
    tell: Tell | None = None,
) -> Comparison:
    """Trains every model on every feature store, with `seeds` seeds and all of `folds` folds.

    All stores must come from one data set. A split is made once for a seed and fold, from the paths
    that every store has. Each cell is a run folder under `out`/cells. A finished cell is kept, and
    an unfinished one goes on from its last epoch; so does an interrupted comparison.

    Writes results.csv, differences.csv and report.html.

    Args:
        features: the stores.
        models: names of architectures.
        feature: presets to compute from stores of samples; by default one of mel bands.
        recipe: how to train; by default `modern`, with `init` `finetune`.
        seeds: number of seeds, each with a split.
        folds: number of folds; `logo` leaves out each group once, with `group_by="source"` each
            source.
        group_by: as for `train`.
        recordings_per_class: also train on smaller parts, as `draw_subset` draws them; None stands
            for all recordings. The ranking takes the largest; `learning` says what they add.
        clip_s: as for `train`.
        hop_s: as for `train`.
        init: a model that all begin with, as for `train`.
        device: as for `train`.
        out: the folder to write.
        restart: whether to train finished cells again.
        announce: see `Announce`.
        tell: see `Tell`.

    Raises:
        SettingError: settings that cannot be, before anything is trained; a cell that was made with
            another recipe, other recordings or splits.
    """
    start = load_start(init)
    recipe = choose_recipe(recipe, start)
    chosen = Device.pick(device, recipe.precision)
    presets: Sequence[str | None] = feature or [None]
    given = [
        (name_features(store, preset), store, preset) for store in features for preset in presets
    ]
    models = [start.resolve_model(m) if start else resolve_architecture(m) for m in models]
    sizes = sorted(recordings_per_class, key=lambda n: float("inf") if n is None else n)
    folder = Path(out)
    _refuse([name for name, _, _ in given], models, seeds, folds, sizes, folder)
    stores = {
        name: open_features(path, recipe, preset, clip_s, hop_s, start)
        for name, path, preset in given
    }
    _check_models(stores, models, start)
    recordings, left_out = match_recordings(stores)
    labels = next(iter(stores.values())).recording_labels  # by the ids of these recordings
    every = _folds(folds, recordings, group_by)
    trials = list(_trials(list(stores), models, recipe, seeds, every, group_by, sizes, start))
    splits = _splits(trials, recordings, labels, left_out)
    grid = _Grid(stores, splits, start, chosen, folder, restart)
    cells = _train_missing(grid, [grid.look_up(trial) for trial in trials], announce, tell)
    command = write_compare_command(
        features,
        models,
        recipe,
        feature=feature,
        seeds=seeds,
        folds=folds,
        group_by=group_by,
        recordings_per_class=sizes,
        clip_s=clip_s,
        hop_s=hop_s,
        init=None if start is None else start.name,
        device=device,
        out=out,
    )
    largest = [cell for cell in cells if cell.trial.recordings_per_class == sizes[-1]]
    rankings, report = rank_cells(largest), folder / "report.html"
    learning = build_learning_curves(cells) if len(sizes) > 1 else []
    tested = compare_pairs(rankings)
    write_differences(folder / "differences.csv", tested)
    write_report(report, rankings, tested, stores, command, learning)
    rows = [make_row(cell) for cell in cells]
    return Comparison(rows, rankings, tested, learning, folder / RESULTS, report)


# A cell with its result, if it is finished.
_Known = tuple[Trial, Run, Result | None]


@dataclass
class _Grid:
    """What the cells have in common."""

    stores: dict[str, Store]
    splits: dict[SplitKey, Split]
    start: Start | None
    device: Device
    out: Path
    restart: bool
    leaks: dict[tuple[str, SplitKey], list[str]] = field(default_factory=dict)

    def look_up(self, trial: Trial) -> _Known:
        """The cell of a trial. Raises SettingError if it was made with other settings."""
        trial = trial.with_store(self.stores[trial.feature])
        run = Run(self.out / "cells" / trial.name)
        known = None if self.restart else run.read_finished(trial, self.splits[_key(trial)])
        return trial, run, known

    def train(self, trial: Trial, run: Run, progress: EpochProgress | None) -> Result:
        """Trains one cell."""
        store, split = self.stores[trial.feature], self.splits[_key(trial)]
        key = (trial.feature, _key(trial))
        if key not in self.leaks:
            self.leaks[key] = describe_leaks(store, split)
        return fit(
            trial,
            store,
            split,
            run,
            self.device,
            progress,
            start=self.start,
            resume=not self.restart,
            leaks=self.leaks[key],
        )


def _train_missing(
    grid: _Grid, cells: Sequence[_Known], announce: Announce | None, tell: Tell | None
) -> list[Cell]:
    """Trains the cells that have no result; after each, results.csv holds all so far."""
    done: list[Cell] = []
    for number, (trial, run, known) in enumerate(cells, 1):
        result = known
        if result is None:
            progress = announce(trial.name, number, len(cells)) if announce else None
            result = grid.train(trial, run, progress)
        done.append(Cell(trial, run, result))
        write_results(grid.out / RESULTS, [make_row(cell) for cell in done])
        if tell and known is None:
            todo = [t for t, _, r in cells[number:] if r is None]
            tell(trial.name, number, len(cells), result, estimate_time_left(done, todo))
    return done


def _check_models(stores: dict[str, Store], models: Sequence[str], start: Start | None) -> None:
    """Raises SettingError for a model that does not take the clips of a store."""
    for store in stores.values():
        for model in models:
            if start is None:
                check_model(model, store)
            else:
                start.check(store)


def estimate_time_left(done: Sequence[Cell], todo: Sequence[Trial]) -> float:
    """Seconds that the remaining cells will take, estimated from the finished ones.

    A cell takes the mean of those of its feature, model and size; else of feature and model; else
    of
    the model; else of all.
    """
    keys: tuple[Callable[[Trial], Any], ...] = (
        lambda t: (t.feature, t.model, t.recordings_per_class),
        lambda t: (t.feature, t.model),
        lambda t: t.model,
        lambda _: None,
    )
    left = 0.0
    for trial in todo:
        alike = ([c for c in done if key(c.trial) == key(trial)] for key in keys)
        own = next(cells for cells in alike if cells)
        left += fmean(c.result.training_s for c in own)
    return left


def _refuse(
    names: Sequence[str],
    models: Sequence[str],
    seeds: int,
    folds: int | str | None,
    sizes: Sequence[int | None],
    out: Path,
) -> None:
    """Raises SettingError for what cannot be compared."""
    if seeds < 1:
        raise SettingError("seeds", seeds, "must be >= 1")
    if folds is not None and folds != LOGO and (isinstance(folds, str) or folds < 2):
        raise SettingError("folds", folds, f"must be a number >= 2, or {LOGO}: each group once")
    for size in sizes:
        if size is not None and size < 1:
            raise SettingError("recordings_per_class", size, "must be >= 1")
    lists = {
        "features": list(names),
        "models": list(models),
        "recordings_per_class": ["all" if n is None else str(n) for n in sizes],
    }
    for what, values in lists.items():
        if not values:
            raise SettingError(what, "", "at least one is needed")
        for value in values:
            if values.count(value) > 1:
                raise SettingError(what, value, "is named twice; results would mix")
    if out.exists() and not out.is_dir():
        raise SettingError("out", str(out), "is a file; a folder is needed")


def _folds(
    folds: int | str | None, recordings: Sequence[Recording], group_by: str | None
) -> list[str | None]:
    """What each trial's `fold` is."""
    if folds is None:
        return [None]
    n = len(set(find_groups(recordings, group_by))) if folds == LOGO else int(folds)
    return [f"{k}/{folds}" for k in range(1, n + 1)]


def _trials(
    features: Sequence[str],
    models: Sequence[str],
    recipe: Recipe,
    seeds: int,
    folds: Sequence[str | None],
    group_by: str | None,
    sizes: Sequence[int | None],
    start: Start | None,
) -> Iterator[Trial]:
    every = itertools.product(range(seeds), folds, features, models, sizes)
    for seed, fold, feature, model, size in every:
        trial = make_trial(model, recipe, start, seed, group_by, fold)
        yield replace(trial, feature=feature, recordings_per_class=size)


def _key(trial: Trial) -> SplitKey:
    return trial.seed, trial.fold, trial.recordings_per_class


def _splits(
    trials: Sequence[Trial],
    recordings: list[Recording],
    labels: Sequence[Sequence[str]],
    warnings: list[str],
) -> dict[SplitKey, Split]:
    """The split of each seed, fold and size, with further warnings."""
    whole: dict[tuple[int, str | None], Split] = {}
    splits: dict[SplitKey, Split] = {}
    for t in trials:
        if (t.seed, t.fold) not in whole:
            split = make_split(recordings, labels, group_by=t.group_by, fold=t.fold, seed=t.seed)
            whole[t.seed, t.fold] = replace(split, warnings=warnings + split.warnings)
        if _key(t) not in splits:
            split, n = whole[t.seed, t.fold], t.recordings_per_class
            splits[_key(t)] = split if n is None else draw_subset(split, n, t.seed)
    return splits


def match_recordings(stores: dict[str, Store]) -> tuple[list[Recording], list[str]]:
    """The recordings that gave clips in every store, and a warning if some stores have more.

    Raises:
        DataError: the stores are not of one data set.
    """
    by_path = {name: {r.path: r for r in keep_usable(s.recordings)} for name, s in stores.items()}
    (first, own), *others = by_path.items()
    for name, other in others:
        shared = own.keys() & other.keys()
        if 2 * len(shared) < max(len(own), len(other)):
            raise DataError(
                f"stores {first!r} and {name!r} share {len(shared)} of {len(own)} and "
                f"{len(other)} recordings: they are not of one data set"
            )
        if stores[first].task != stores[name].task:
            raise DataError(f"stores {first!r} and {name!r}: one has several labels a clip")
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
