"""One model on one feature store: the loop, top to bottom.

The model is chosen on the validation part; the test part is looked at once, at the end.
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
from audiocls.classifier.model import Classifier, versions
from audiocls.data.shortcuts import notice_shortcuts, notice_silence
from audiocls.engine.level import compute_decibel_step
from audiocls.errors import SettingError
from audiocls.models import build_model
from audiocls.models.layers.convolution import lay_out
from audiocls.store.place import store_name
from audiocls.training.data.examples import Examples, split_examples
from audiocls.training.data.features import open_features
from audiocls.training.data.leakage import leak_warnings
from audiocls.training.data.normalisation import statistics
from audiocls.training.data.splits import TRAIN, VAL, Split, make_split
from audiocls.training.fitting.epoch import Progress, batches_of, step_work, train_epoch, validate
from audiocls.training.fitting.evaluation import evaluate
from audiocls.training.fitting.linear import begin_with_head, fit_head
from audiocls.training.fitting.state import TrainState
from audiocls.training.recipe import Recipe
from audiocls.training.run import Result, Run
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.interrupt import CtrlC
from audiocls.training.runtime.memory import reused_memory
from audiocls.training.runtime.subnormals import subnormals_are_zero
from audiocls.training.start import Start
from audiocls.training.trial import LINEAR, Trial

if TYPE_CHECKING:
    from audiocls.engine.spec import FeatureSpec
    from audiocls.store.store import Store


@subnormals_are_zero()
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
    progress: Progress | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Train `model` on the feature store `features` and write a run folder.

    out: the run folder, by default runs/FEATURE-MODEL-SEED. A folder that holds a run is refused
    unless `restart`, which replaces it, or `resume`, which goes on from its last finished epoch.
    init: a trained model to begin with, a run folder, model folder or `orchestra`; `model` is then
    its architecture, or `linear` for a new linear head on its body. recipe: a `Recipe` or the name
    of a preset, of which `overrides` replace fields; by default `modern`, with `init` `finetune`.
    A finished run of which `resume` asks for more epochs goes on from its chosen one. feature,
    clip_s, hop_s: of a store of samples, what is computed from it, as `open_features` says; every
    epoch then sees new, augmented windows of the recordings. memory_gb: a training and validation
    part larger than this is read from the store as it is needed; by default half of the free memory
    of the device.

    Returns the content of metrics.json. Raises SettingError or DataError before anything is
    written; on KeyboardInterrupt the best model so far is kept, and the error passed on.
    """
    start = init if isinstance(init, Start) or init is None else Start.load(init)
    if recipe is None:
        recipe = "modern" if start is None else "finetune"
    if isinstance(recipe, str):
        recipe = Recipe.preset(recipe, **overrides)
    elif overrides:
        recipe = recipe.replace(**overrides)
    chosen = Device.pick(device, recipe.precision)
    trial = first_trial(model, recipe, start, seed, group_by, fold)
    trial = replace(trial, feature=run_name(features, feature))
    run = Run(Path(out) if out is not None else Path("runs") / trial.name)
    run.claim(restart, resume)
    if start is not None and run.model.resolve() == start.folder.resolve():
        raise SettingError("init", start.name, "is in the run folder that would be replaced")
    store = open_features(features, trial.recipe, feature, clip_s, hop_s, start)
    split = make_split(
        store.recordings, store.recording_labels, group_by=group_by, fold=fold, seed=seed
    )
    with chosen.joined():
        result = fit(
            trial,
            store,
            split,
            run,
            chosen,
            progress,
            start=start,
            restart=restart,
            resume=resume,
            memory_gb=memory_gb,
        )
    return result.to_dict()


def fit(
    trial: Trial,
    store: Store,
    split: Split,
    run: Run,
    device: Device,
    progress: Progress | None = None,
    *,
    start: Start | None = None,
    restart: bool = True,
    resume: bool = False,
    memory_gb: float | None = None,
    leaks: list[str] | None = None,
) -> Result:
    """Train on an open store with a given split; see `train`.

    start: the model of `trial.init`. restart, resume: what becomes of a run that is there. leaks:
    what `leak_warnings` says of this store and split, if it has been asked before.
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
    trial = trial.on(store)
    with run.locked() if device.leads else contextlib.nullcontext():
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
    progress: Progress | None,
    start: Start | None,
    resume: bool,
    memory_gb: float | None,
    leaks: list[str] | None,
) -> Result:
    if resume and (finished := run.finished(trial, split, longer=True)) is not None:
        return finished
    # The global generators are the caller's: they are as before when this returns.
    generators = torch.random.fork_rng(devices=range(torch.cuda.device_count()))
    with generators, reused_memory(), CtrlC() as ctrl_c, ExitStack() as threads:
        parts = split_examples(store, split, trial, device, memory_gb)
        state = new_state(trial, store, parts[TRAIN], device, start)
        warnings = split.warnings + (leak_warnings(store, split) if leaks is None else leaks)
        warnings += notice_shortcuts(store.recordings, store.recording_labels)
        warnings += notice_silence(store.recordings)
        work = step_work(trial.recipe, state.classifier, parts[TRAIN])
        threads.enter_context(device.threads(work))
        if not (resume and run.restore(trial, split, state)):
            if device.leads:
                run.begin(split, state)
            if trial.recipe.fit_head:
                begin_with_head(trial, state, parts[TRAIN], parts[VAL], device)
        batches = batches_of(trial.recipe, parts[TRAIN])
        try:
            while not state.over(trial.recipe):
                started = time.perf_counter()
                if trial.model == LINEAR:
                    row = fit_head(trial, state, parts[TRAIN], parts[VAL], device)
                else:
                    row = train_epoch(trial, state, parts[TRAIN], device, progress, ctrl_c)
                row |= validate(state, parts[VAL], device)
                row["seconds"] = time.perf_counter() - started
                best = state.finish_epoch(row)
                if device.leads:
                    run.keep(trial, state, best)
                if progress:
                    progress(state.epoch * batches, trial.recipe.epochs * batches, row)
                ctrl_c.check()
        except KeyboardInterrupt:
            if state.best_epoch and device.leads:
                run.draw_curves(state)
            raise
        device.wait()
        classifier = Classifier.load(run.model, device.torch)
        judgement = evaluate(classifier, parts, split, device)
        result = Result.of(trial, split, state, judgement, device, warnings)
        if device.leads:
            heard = [r for r in store.recordings if split.part.get(r.path) in (TRAIN, VAL)]
            write_heard(run.model, heard)
            run.finish(result, judgement, state)
        return result


def run_name(features: str | Path, feature: str | FeatureSpec | None) -> str:
    """What a store is called in names of runs: its folder, and what is computed from samples."""
    name = store_name(features)
    return f"{name}-{feature}" if isinstance(feature, str) else name


def first_trial(
    model: str | None,
    recipe: Recipe,
    start: Start | None,
    seed: int,
    group_by: str | None,
    fold: str | None,
) -> Trial:
    """The trial as it is known before a store is."""
    if start is None and model is None:
        raise SettingError("model", "", "name one, or a model to begin with: `init`")
    if start is None:
        assert model is not None
        return Trial(model, recipe, seed, group_by, fold)
    model = start.model(model)
    return Trial(model, start.recipe(recipe, model), seed, group_by, fold, init=start.identity)


def check_model(model: str, store: Store) -> None:
    """Raises SettingError where the clips of a store do not fit an architecture."""
    with torch.device("meta"):  # without memory for the weights
        build_model(model, len(store.classes), store.clip_shape)


def new_state(
    trial: Trial, store: Store, examples: Examples, device: Device, start: Start | None = None
) -> TrainState:
    """Fresh weights, with the statistics of the training part, or those of the model to begin with;
    and their optimiser."""
    torch.manual_seed(trial.seed)
    recipe = trial.recipe
    if start is not None:
        classifier = start.begin(store, recipe.quiet_db)
        lay_out(classifier.to(device.torch))
        return TrainState.start(classifier, recipe, device)
    level = recipe.remove_level and (
        store.spec.kind == "mfcc" or compute_decibel_step(store.spec) is not None
    )
    description = Description.of(store, trial.model, versions(), level, recipe.quiet_db)
    classifier = Classifier(description, *statistics(store, examples.clips, level))
    lay_out(classifier.to(device.torch))
    return TrainState.start(classifier, recipe, device)
