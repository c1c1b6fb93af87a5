"""One model on one feature store: the loop, top to bottom.

The validation part chooses the model; the test part is looked at once, at the end.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiocls.classifier.description import Description
from audiocls.classifier.heard import write_heard
from audiocls.classifier.model import Model, installed_versions
from audiocls.data.shortcuts import notice_shortcuts, notice_silence
from audiocls.engine.level import compute_decibel_step
from audiocls.errors import SettingError
from audiocls.models import build_model
from audiocls.models.layers.convolution import use_channels_last
from audiocls.store.place import store_name
from audiocls.training.data.examples import Examples, split_examples
from audiocls.training.data.features import open_features
from audiocls.training.data.leakage import describe_leaks
from audiocls.training.data.normalisation import compute_statistics
from audiocls.training.data.splits import TRAIN, VAL, Split, make_split
from audiocls.training.fitting.epoch import (
    EpochProgress,
    count_batches,
    count_step_work,
    train_epoch,
    validate_epoch,
)
from audiocls.training.fitting.evaluation import judge
from audiocls.training.fitting.linear import fit_head, start_from_head
from audiocls.training.fitting.state import TrainState
from audiocls.training.recipe import Recipe
from audiocls.training.run import Result, Run
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.interrupt import CtrlC
from audiocls.training.runtime.memory import reuse_memory
from audiocls.training.runtime.subnormals import flush_subnormals
from audiocls.training.start import Start, choose_recipe, load_start
from audiocls.training.trial import LINEAR, Trial

if TYPE_CHECKING:
    from audiocls.engine.spec import FeatureSpec
    from audiocls.store.store import Store


def train(
    features: str | Path,
    model: str | None = None,
    out: str | Path | None = None,
    *,
    init: str | Path | Start | None = None,
    recipe: Recipe | str | None = None,
    group_by: str | None = None,
    fold: str | None = None,
    seed: int = 0,
    device: str = "auto",
    feature: str | FeatureSpec | None = None,
    clip_s: float | None = None,
    hop_s: float | None = None,
    memory_gb: float | None = None,
    restart: bool = False,
    resume: bool = False,
    progress: EpochProgress | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Trains `model` on the feature store `features` and writes a run folder.

    A folder that holds a run is refused unless `restart` or `resume` is given. A finished run of
    which `resume` asks for more epochs continues from its chosen one. On KeyboardInterrupt the best
    model so far is kept, and the error is passed on.

    Args:
        features: a feature store, or a store of samples.
        model: an architecture; with `init` the architecture of that model, or `linear` for a new
            linear head on its body.
        out: the run folder, by default runs/FEATURE-MODEL-SEED.
        init: a trained model to begin with: a run folder, a model folder or `orchestra`.
        recipe: a `Recipe` or the name of a preset; by default `modern`, with `init` `finetune`.
        group_by: what stays together in the split.
        fold: the fold to test, "K/N" or "K/logo".
        seed: of the split, the weights and all draws.
        device: auto, cpu or cuda.
        feature: for a store of samples, what is computed from it, as `open_features` says. Every
            epoch then sees new, augmented windows of the recordings.
        clip_s: for a store of samples, the length of a clip in seconds.
        hop_s: for a store of samples, the seconds from one clip's start to the next.
        memory_gb: training and validation parts larger than this are read from the store as they
            are needed; by default half of the free memory of the device.
        restart: replaces a run that is there.
        resume: continues a run that is there from its last finished epoch.
        progress: called after every batch.
        overrides: fields of `Recipe` to replace.

    Returns:
        The content of metrics.json.

    Raises:
        SettingError: a setting is invalid; nothing has been written.
        DataError: the store cannot be trained on, or training diverged.
    """
    start = load_start(init)
    recipe = choose_recipe(recipe, start, **overrides)
    trial = make_trial(model, recipe, start, seed, group_by, fold)
    trial = replace(trial, feature=name_features(features, feature))
    result = train_trial(
        trial,
        features,
        Run.at(out, trial),
        Device.pick(device, trial.recipe.precision),
        start=start,
        feature=feature,
        clip_s=clip_s,
        hop_s=hop_s,
        memory_gb=memory_gb,
        restart=restart,
        resume=resume,
        progress=progress,
    )
    return result.to_dict()


@flush_subnormals()
def train_trial(
    trial: Trial,
    features: str | Path,
    run: Run,
    device: Device,
    *,
    start: Start | None = None,
    feature: str | FeatureSpec | None = None,
    clip_s: float | None = None,
    hop_s: float | None = None,
    memory_gb: float | None = None,
    restart: bool = False,
    resume: bool = False,
    progress: EpochProgress | None = None,
) -> Result:
    """Trains as `train` does, with a trial, a run folder and a device that are already chosen."""
    run.claim(restart, resume)
    if start is not None and run.model.resolve() == start.folder.resolve():
        raise SettingError("init", start.name, "is in the run folder that would be replaced")
    store = open_features(features, trial.recipe, feature, clip_s, hop_s, start)
    split = make_split(
        store.recordings,
        store.recording_labels,
        group_by=trial.group_by,
        fold=trial.fold,
        seed=trial.seed,
    )
    with device.join():
        return fit(
            trial,
            store,
            split,
            run,
            device,
            progress,
            start=start,
            restart=restart,
            resume=resume,
            memory_gb=memory_gb,
        )


def fit(
    trial: Trial,
    store: Store,
    split: Split,
    run: Run,
    device: Device,
    progress: EpochProgress | None = None,
    *,
    start: Start | None = None,
    restart: bool = True,
    resume: bool = False,
    memory_gb: float | None = None,
    leaks: list[str] | None = None,
) -> Result:
    """Trains on an open store with a given split; see `train`.

    Args:
        trial: what is trained.
        store: of features, or computed ones.
        split: which recordings train, validate and test.
        run: the run folder.
        device: where it computes.
        progress: called after every batch.
        start: the model of `trial.init`.
        restart: replaces a run that is there.
        resume: continues a run that is there.
        memory_gb: as in `train`.
        leaks: what `describe_leaks` gives for this store and split; None: it is asked.
    """
    if start is None:
        check_model(trial.model, store)
    else:
        start.check(store)
    if trial.recipe.batch_size < 2 * device.world:
        rule = (
            f"must be >= {2 * device.world}: a pair of clips for each of {device.world} processes"
        )
        raise SettingError("batch_size", trial.recipe.batch_size, rule)
    trial = trial.with_store(store)
    with run.lock() if device.leads else contextlib.nullcontext():
        if device.leads:
            # Another process may have finished a run there since it was looked at.
            run.claim(restart and not resume, resume)
        return _fit(trial, store, split, run, device, progress, start, resume, memory_gb, leaks)


def _fit(
    trial: Trial,
    store: Store,
    split: Split,
    run: Run,
    device: Device,
    progress: EpochProgress | None,
    start: Start | None,
    resume: bool,
    memory_gb: float | None,
    leaks: list[str] | None,
) -> Result:
    if resume and (finished := run.read_finished(trial, split, longer=True)) is not None:
        return finished
    # The global generators are the caller's: they are as before when this returns.
    generators = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
    with generators, reuse_memory(), CtrlC() as ctrl_c, ExitStack() as threads:
        parts = split_examples(store, split, trial, device, memory_gb)
        state = new_state(trial, store, parts[TRAIN], device, start)
        warnings = _warnings(store, split, leaks)
        work = count_step_work(trial.recipe, state.model, parts[TRAIN])
        threads.enter_context(device.limit_threads(work))
        if not (resume and run.restore(trial, split, state)):
            if device.leads:
                run.begin(split, state)
            if trial.recipe.fit_head:
                start_from_head(trial, state, parts[TRAIN], parts[VAL], device)
        _run_epochs(trial, state, parts, run, device, progress, ctrl_c)
        device.wait()
        model = Model.load(run.model, device.torch)
        judgement = judge(model, parts, split, device)
        result = Result.of(trial, split, state, judgement, device, warnings)
        if device.leads:
            heard = [r for r in store.recordings if split.part.get(r.path) in (TRAIN, VAL)]
            write_heard(run.model, heard)
            run.finish(result, judgement, state)
        return result


def _run_epochs(
    trial: Trial,
    state: TrainState,
    parts: dict[int, Examples],
    run: Run,
    device: Device,
    progress: EpochProgress | None,
    ctrl_c: CtrlC,
) -> None:
    """Trains epoch by epoch until nothing is left to do; the run can resume after each."""
    batches = count_batches(trial.recipe, parts[TRAIN])
    try:
        while not state.is_over(trial.recipe):
            started = time.perf_counter()
            if trial.model == LINEAR:
                row = fit_head(trial, state, parts[TRAIN], parts[VAL], device)
            else:
                row = train_epoch(trial, state, parts[TRAIN], device, progress, ctrl_c)
            row |= validate_epoch(state, parts[VAL], device)
            row["seconds"] = time.perf_counter() - started
            best = state.finish_epoch(row)
            if device.leads:
                run.save_epoch(trial, state, best)
            if progress:
                progress(state.epoch * batches, trial.recipe.epochs * batches, row)
            ctrl_c.check()
    except KeyboardInterrupt:
        if state.best_epoch and device.leads:
            run.draw_curves(state)
        raise


def _warnings(store: Store, split: Split, leaks: list[str] | None) -> list[str]:
    """Returns what makes the scores of this store and split doubtful."""
    leaks = describe_leaks(store, split) if leaks is None else leaks
    hints = notice_shortcuts(store.recordings, store.recording_labels)
    return [*split.warnings, *leaks, *hints, *notice_silence(store.recordings)]


def name_features(features: str | Path, feature: str | FeatureSpec | None) -> str:
    """Returns the name of a store in names of runs: folder, and feature if computed."""
    name = store_name(features)
    return f"{name}-{feature}" if isinstance(feature, str) else name


def make_trial(
    model: str | None,
    recipe: Recipe,
    start: Start | None,
    seed: int,
    group_by: str | None,
    fold: str | None,
) -> Trial:
    """Makes the trial as far as it is known before a store is.

    Raises:
        SettingError: neither a model nor one to begin with is named, or they do not fit.
    """
    if start is None and model is None:
        raise SettingError("model", "", "name one, or a model to begin with: `init`")
    if start is None:
        assert model is not None
        return Trial(model, recipe, seed, group_by, fold)
    model = start.resolve_model(model)
    return Trial(
        model, start.adapt_recipe(recipe, model), seed, group_by, fold, init=start.identity
    )


def check_model(model: str, store: Store) -> None:
    """Raises SettingError if the clips of a store do not fit an architecture."""
    with torch.device("meta"):  # without memory for the weights
        build_model(model, len(store.classes), store.clip_shape)


def new_state(
    trial: Trial, store: Store, examples: Examples, device: Device, start: Start | None = None
) -> TrainState:
    """Makes the state before the first epoch: a model on the device, and its optimiser.

    The weights are fresh, with the statistics of the training part, or those of the model to begin
    with.
    """
    torch.manual_seed(trial.seed)
    recipe = trial.recipe
    if start is not None:
        model = start.new_model(store, recipe.quiet_db)
        use_channels_last(model.to(device.torch))
        return TrainState.start(model, recipe, device)
    level = recipe.remove_level and (
        store.spec.kind == "mfcc" or compute_decibel_step(store.spec) is not None
    )
    description = Description.of(store, trial.model, installed_versions(), level, recipe.quiet_db)
    model = Model(description, *compute_statistics(store, examples.clips, level))
    use_channels_last(model.to(device.torch))
    return TrainState.start(model, recipe, device)
