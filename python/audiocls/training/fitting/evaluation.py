"""What a model gives for clips, and how good that is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocls.classifier.description import Description
from audiocls.classifier.model import Model
from audiocls.models.cost import count_multiply_adds, measure_cpu_ms
from audiocls.training.data.examples import Examples
from audiocls.training.data.splits import TEST, VAL, Split
from audiocls.training.fitting.objective import OBJECTIVES, LabelledPredictions
from audiocls.training.runtime.device import Device

BATCH = 128  # on a CPU the maps of more leave its caches: 2 to 22 % slower


def compute_logits(model: Model, examples: Examples, device: Device) -> NDArray[np.float64]:
    """Returns the logits of all clips, float64 [n, n_classes].

    All processes compute together, each clip once.
    """
    model.eval()
    return _of_batches(model, len(model.classes_), examples, device)


def compute_embeddings(model: Model, examples: Examples, device: Device) -> NDArray[np.float64]:
    """Returns what the head is given for all clips, float64 [n, size]; as `compute_logits`."""
    model.eval()
    size = model.network.head.in_features
    return _of_batches(model.embed, size, examples, device)


@torch.no_grad()
def _of_batches(
    compute: Callable[[Tensor, Tensor | None], Tensor],
    size: int,
    examples: Examples,
    device: Device,
) -> NDArray[np.float64]:
    """Returns a row of `size` numbers for each clip."""
    own = torch.arange(len(examples))[device.rank :: device.world]
    order = examples.split_by_length(own, BATCH, pool=len(examples))
    outputs = []
    for batch in examples.batches(order):
        with device.autocast():
            outputs.append(compute(batch.x, batch.lengths).double())
    mine = torch.cat(outputs) if outputs else torch.zeros(0, size).double()
    ids = device.gather(torch.cat(order) if order else own)
    rows = np.empty((len(examples), size))
    rows[ids.numpy()] = device.gather(mine).numpy()
    return rows


def compute_levels(examples: Examples, description: Description) -> NDArray[np.float64]:
    """Returns the level of each clip in dB, [n]; all 0 if a recording is one clip, or all count."""
    # The features are read only if their levels decide something.
    if examples.lengths is not None or not description.quiet_db:
        return np.zeros(len(examples))
    order = torch.split(torch.arange(len(examples)), BATCH)
    batches = examples.batches(order)
    return np.concatenate(
        [description.measure_levels(batch.x.float().cpu().numpy()) for batch in batches]
    )


@dataclass(frozen=True)
class Judgement:
    """What a trained model gives for every part; the validation part calibrated it."""

    model: Model  # with its temperature and thresholds
    clips: dict[int, LabelledPredictions]  # by part
    recordings: LabelledPredictions  # of the test part
    cost: dict[str, float]  # a clip's: multiply_adds, cpu_ms


def judge(model: Model, parts: dict[int, Examples], split: Split, device: Device) -> Judgement:
    """Calibrates a model on the validation part and asks it about every part.

    The test part is asked about for the first time.
    """
    logits = {p: compute_logits(model, examples, device) for p, examples in parts.items()}
    objective = OBJECTIVES[model.task.name]
    objective.fit_calibration(model, logits[VAL], parts[VAL].labels)
    clips = {p: judge_clips(logits[p], examples, split, model) for p, examples in parts.items()}
    validated = judge_recordings(clips[VAL], parts[VAL], model)
    description = objective.fit_thresholds(model.description, clips[VAL], validated)
    model.description = description
    recordings = judge_recordings(clips[TEST], parts[TEST], model)
    return Judgement(model, clips, recordings, measure_cost(model, parts[TEST]))


def judge_clips(
    logits: NDArray[np.float64], examples: Examples, split: Split, model: Model
) -> LabelledPredictions:
    """Returns what the model gives for each clip."""
    paths = [examples.store.recordings[i].path for i in examples.recording]
    return LabelledPredictions(
        classes=model.classes_,
        labels=examples.labels,
        probabilities=model.calibrate_array(logits),
        uncalibrated=model.task.calibrate_array(logits),
        paths=paths,
        groups=[split.group[path] for path in paths],
        start_s=examples.store.clip_start_s[examples.clips].tolist(),
    )


def judge_recordings(
    clips: LabelledPredictions, examples: Examples, model: Model
) -> LabelledPredictions:
    """Returns what the model gives for each recording, by its clips that count.

    If a recording is labelled by stretches, each run of clips with one label is judged by itself.
    """
    task, description = model.task, model.description
    ids, first = np.unique(examples.whole, return_index=True)
    counts = description.counting_clips(compute_levels(examples, description), examples.whole)
    calibrated, raw = (
        task.pool_clips(p, examples.whole, counts)
        for p in (clips.probabilities, clips.uncalibrated)
    )
    return LabelledPredictions(
        classes=clips.classes,
        labels=task.label_recordings(clips.labels, examples.whole),
        probabilities=calibrated,
        uncalibrated=raw,
        paths=[clips.paths[i] for i in first],
        groups=[clips.groups[i] for i in first],
        start_s=[None] * len(ids),
    )


def measure_cost(model: Model, examples: Examples) -> dict[str, float]:
    """Returns what a clip costs: multiply_adds and cpu_ms.

    If clips differ in length, it is one of the median length.
    """
    shape = typical_shape(model, examples)
    served = copy.deepcopy(model).cpu().eval()
    return {
        "multiply_adds": count_multiply_adds(served.network, shape),
        "cpu_ms": measure_cpu_ms(served, shape),
    }


def typical_shape(model: Model, examples: Examples) -> tuple[int, int]:
    """Returns (frames, features) of a clip, with the median length if clips differ."""
    frames, features = model.description.input_shape
    if frames is None:
        assert examples.lengths is not None
        frames = int(np.median(examples.lengths))
    return frames, features
