"""Predictions of every recording by a model that did not train on it: cross-validation by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.model import Model
from audiocls.errors import SettingError
from audiocls.parallel import count_usable_cores
from audiocls.training.data.examples import split_examples
from audiocls.training.data.splits import TEST, Split, make_split
from audiocls.training.fitting.evaluation import compute_logits, judge_clips, judge_recordings
from audiocls.training.loop import fit
from audiocls.training.run import Run
from audiocls.training.runtime.device import Device
from audiocls.training.start import Start
from audiocls.training.trial import Trial

if TYPE_CHECKING:
    from audiocls.store.store import Store
    from audiocls.training.fitting.epoch import EpochProgress

STATISTICS = "statistics"  # a model: a forest on mean and deviation of every feature
TREES = 200


def make_folds(store: Store, folds: int, group_by: str | None, seed: int) -> list[Split]:
    """Makes splits whose test parts together are all recordings, each once, in whole groups.

    A `split` column of the data set is ignored.

    Raises:
        SettingError: there are fewer than two folds, or as `make_split`.
        DataError: as `make_split`.
    """
    if folds < 2:
        raise SettingError("folds", folds, "must be >= 2")
    recordings = [replace(r, split="") for r in store.recordings]
    return [
        make_split(recordings, group_by=group_by, fold=f"{k}/{folds}", seed=seed)
        for k in range(1, folds + 1)
    ]


def predict_by_statistics(
    rows: NDArray[np.float64], store: Store, split: Split, seed: int = 0
) -> tuple[list[str], NDArray[np.float64]]:
    """Predicts the test part by extremely randomised trees (Geurts et al. 2006) on statistics.

    It takes seconds and no network, and a few wrong labels mislead few of the trees.

    Args:
        rows: of `compute_recording_statistics`.
        store: of the recordings.
        split: which recordings train and which are tested.
        seed: of the trees.

    Returns:
        Paths and probabilities [n, n_classes] of the test part.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    tested = {r.path: split.part[r.path] == TEST for r in store.recordings if r.path in split.part}
    at = {r.path: r.id for r in store.recordings}
    learnt = [path for path, test in tested.items() if not test]
    asked = [path for path, test in tested.items() if test]
    forest = ExtraTreesClassifier(
        TREES, min_samples_leaf=2, n_jobs=count_usable_cores(), random_state=seed
    )
    forest.fit(rows[[at[path] for path in learnt]], [split.label[path] for path in learnt])
    found = forest.predict_proba(rows[[at[path] for path in asked]])
    probabilities = np.zeros((len(asked), len(store.classes)))
    probabilities[:, [store.classes.index(name) for name in forest.classes_]] = found
    return asked, probabilities


def compute_recording_statistics(store: Store) -> NDArray[np.float64]:
    """Returns mean and deviation of every feature over the clips of each recording.

    Returns:
        [n_recordings, 2 · features]; 0 for a recording without a clip.
    """
    n, size = len(store.recordings), store.clip_shape[1]
    frames, sums, squares = np.zeros(n), np.zeros((n, size)), np.zeros((n, size))
    for clip, recording in enumerate(store.clip_recording):
        x = store.features[clip].astype(np.float64)
        frames[recording] += len(x)
        sums[recording] += x.sum(axis=0)
        squares[recording] += (x**2).sum(axis=0)
    frames = np.maximum(frames, 1)[:, None]
    mean = sums / frames
    return np.hstack([mean, np.sqrt(np.maximum(squares / frames - mean**2, 0))])


def predict_by_trial(
    trial: Trial,
    store: Store,
    split: Split,
    run: Run,
    device: Device,
    *,
    start: Start | None = None,
    restart: bool = False,
    progress: EpochProgress | None = None,
) -> tuple[list[str], NDArray[np.float64]]:
    """Predicts the test part by a model that `fit` trains in a run folder; a finished one is used.

    Returns:
        Paths and probabilities [n, n_classes] of the test part.
    """
    fit(
        trial,
        store,
        split,
        run,
        device,
        progress,
        start=start,
        restart=restart,
        resume=not restart,
    )
    parts = split_examples(store, split, trial, device)
    model = Model.load(run.model, device.torch)
    clips = judge_clips(compute_logits(model, parts[TEST], device), parts[TEST], split, model)
    whole = judge_recordings(clips, parts[TEST], model)
    return whole.paths, whole.probabilities


def predict_held_out(
    splits: Sequence[Split], ask: Callable[[int, Split], tuple[list[str], NDArray[np.float64]]]
) -> tuple[list[str], NDArray[np.float64]]:
    """Returns paths and probabilities of all recordings, in the order of their paths.

    Args:
        splits: of `make_folds`.
        ask: takes the number and the split of a fold, and predicts its test part.
    """
    paths: list[str] = []
    rows = []
    for number, split in enumerate(splits):
        own, probabilities = ask(number, split)
        paths += own
        rows.append(probabilities)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return [paths[i] for i in order], np.concatenate(rows)[order]
