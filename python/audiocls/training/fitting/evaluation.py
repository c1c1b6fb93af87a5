"""What a classifier says of clips, and how good that is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocls.classifier.model import Classifier
from audiocls.engine.level import clip_levels
from audiocls.models import count_parameters
from audiocls.models.cost import cpu_ms, multiply_adds
from audiocls.scores.metrics import loud_enough
from audiocls.training.data.examples import Examples
from audiocls.training.data.splits import PARTS, TEST, TRAIN, VAL, Split
from audiocls.training.fitting.objective import OBJECTIVES, Judged
from audiocls.training.fitting.state import TrainState
from audiocls.training.run import Result, Scores
from audiocls.training.runtime.device import Device
from audiocls.training.trial import Trial

if TYPE_CHECKING:
    from audiocls.store.store import Store

BATCH = 128  # on a CPU the maps of more leave its caches: 2 to 22 % slower


def logits_of(classifier: Classifier, examples: Examples, device: Device) -> NDArray[np.float64]:
    """The logits of all clips, float64 [n, n_classes], computed by all processes together; each
    clip once."""
    classifier.eval()
    return _of_batches(classifier, len(classifier.classes_), examples, device)


def embeddings_of(
    classifier: Classifier, examples: Examples, device: Device
) -> NDArray[np.float64]:
    """What the head is given of all clips, float64 [n, size]; as `logits_of`."""
    classifier.eval()
    size = classifier.network.head.in_features
    return _of_batches(classifier.embed, size, examples, device)


@torch.no_grad()
def _of_batches(
    compute: Callable[[Tensor, Tensor | None], Tensor],
    size: int,
    examples: Examples,
    device: Device,
) -> NDArray[np.float64]:
    """A row of `size` numbers of each clip."""
    own = torch.arange(len(examples))[device.rank :: device.world]
    order = examples.by_length(own, BATCH, pool=len(examples))
    outputs = []
    for batch in examples.batches(order):
        with device.autocast():
            outputs.append(compute(batch.x, batch.lengths).double())
    mine = torch.cat(outputs) if outputs else torch.zeros(0, size).double()
    ids = device.gathered(torch.cat(order) if order else own)
    rows = np.empty((len(examples), size))
    rows[ids.numpy()] = device.gathered(mine).numpy()
    return rows


def levels_of(examples: Examples) -> NDArray[np.float64]:
    """The level of each clip in dB, [n]; 0 where each recording is one clip."""
    if examples.lengths is not None:
        return np.zeros(len(examples))
    order = torch.split(torch.arange(len(examples)), BATCH)
    batches = examples.batches(order)
    return np.concatenate(
        [clip_levels(batch.x.float().cpu().numpy(), examples.store.spec) for batch in batches]
    )


def judge(
    trial: Trial,
    store: Store,
    split: Split,
    parts: dict[int, Examples],
    classifier: Classifier,
    state: TrainState,
    device: Device,
    warnings: list[str],
) -> tuple[Result, Judged, Judged]:
    """The result of a finished training: the chosen classifier, calibrated on the validation part,
    is asked for every part; the test part for the first time. Then what it said of the clips of the
    test part, and of its recordings."""
    logits = {p: logits_of(classifier, examples, device) for p, examples in parts.items()}
    objective = OBJECTIVES[classifier.task.name]
    objective.calibrate(classifier, logits[VAL], parts[VAL].labels)
    said = {p: of_clips(logits[p], examples, split, classifier) for p, examples in parts.items()}
    sure = of_recordings(said[VAL], parts[VAL], classifier)
    description = objective.decided(classifier.description, said[VAL], sure)
    classifier.description = description
    clips, recordings = said[TEST], of_recordings(said[TEST], parts[TEST], classifier)
    counts = split.counts()

    def scores(judged: Judged) -> Scores:
        intervals = objective.intervals(judged, description, trial.seed)
        return objective.scores(judged, description) | {"interval_95": intervals}

    if state.went_on:
        warnings = [*warnings, _gone_on(state)]
    result = Result(
        task=classifier.task.name,
        train=objective.scores(said[TRAIN], description),
        val=objective.scores(said[VAL], description),
        test=scores(clips),
        test_recording=scores(recordings),
        seed=trial.seed,
        split=split.how
        | {"parts": {n: counts[n] | {"clips": len(parts[p])} for p, n in enumerate(PARTS)}},
        parameters=count_parameters(classifier.network),
        clips_per_s=state.clips / state.training_s,
        device=device.name,
        training_s=state.training_s,
        chosen={
            "epoch": state.best_epoch,
            "by": f"{objective.measures.title} on the validation part",
        },
        temperature=classifier.temperature.tolist(),
        threshold=description.threshold,
        thresholds=description.thresholds,
        cost=cost(classifier, parts[TEST]),
        settings=trial.settings(),
        store={"name": trial.feature, "identity": trial.store},
        classes=list(store.classes),
        versions=classifier.description.versions,
        init=classifier.description.init,
        warnings=warnings,
    )
    return result, clips, recordings


def _gone_on(state: TrainState) -> str:
    return (
        f"the run was finished and went on from its epoch {state.went_on}, with a new optimiser: "
        "one that was never finished before gives other weights"
    )


def of_clips(
    logits: NDArray[np.float64], examples: Examples, split: Split, classifier: Classifier
) -> Judged:
    """What the classifier says of each clip."""
    paths = [examples.store.recordings[i].path for i in examples.recording]
    return Judged(
        classes=classifier.classes_,
        labels=examples.labels,
        probabilities=classifier.calibrated_array(logits),
        uncalibrated=classifier.task.probabilities(logits),
        paths=paths,
        groups=[split.group[path] for path in paths],
        start_s=examples.store.clip_start_s[examples.clips].tolist(),
    )


def of_recordings(clips: Judged, examples: Examples, classifier: Classifier) -> Judged:
    """What it says of each recording, by its clips that are loud enough."""
    task, quiet_db = classifier.task, classifier.description.quiet_db
    ids, first = np.unique(examples.recording, return_index=True)
    # Levels are told by the features, so they are read only where they decide something.
    counts = loud_enough(levels_of(examples), examples.recording, quiet_db) if quiet_db else None
    calibrated, raw = (
        task.of_recordings(p, examples.recording, counts)
        for p in (clips.probabilities, clips.uncalibrated)
    )
    return Judged(
        classes=clips.classes,
        labels=task.recording_labels(clips.labels, examples.recording),
        probabilities=calibrated,
        uncalibrated=raw,
        paths=[clips.paths[i] for i in first],
        groups=[clips.groups[i] for i in first],
        start_s=[None] * len(ids),
    )


def cost(classifier: Classifier, examples: Examples) -> dict[str, float]:
    """What a clip costs, of the median length where clips differ in length."""
    frames, features = classifier.description.input_shape
    if frames is None:
        assert examples.lengths is not None
        frames = int(np.median(examples.lengths))
    shape = frames, features
    served = copy.deepcopy(classifier).cpu().eval()
    return {
        "multiply_adds": multiply_adds(served.network, shape),
        "cpu_ms": cpu_ms(served, shape),
    }
