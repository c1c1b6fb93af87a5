"""What a classifier says of clips, and how good that is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocls.classifier.model import Classifier
from audiocls.engine.level import measure_levels
from audiocls.models.cost import cpu_ms, multiply_adds
from audiocls.scores.metrics import loud_enough
from audiocls.training.data.examples import Examples
from audiocls.training.data.splits import TEST, VAL, Split
from audiocls.training.fitting.objective import OBJECTIVES, Judged
from audiocls.training.runtime.device import Device

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
        [measure_levels(batch.x.float().cpu().numpy(), examples.store.spec) for batch in batches]
    )


@dataclass(frozen=True)
class Judgement:
    """What a trained classifier says of every part; it was calibrated on the validation part."""

    classifier: Classifier  # with its temperature and thresholds
    clips: dict[int, Judged]  # by part
    recordings: Judged  # of the test part
    cost: dict[str, float]  # a clip's: multiply_adds, cpu_ms


def evaluate(
    classifier: Classifier, parts: dict[int, Examples], split: Split, device: Device
) -> Judgement:
    """Calibrates a classifier on the validation part and asks it about every part.

    The test part is asked about for the first time.
    """
    logits = {p: logits_of(classifier, examples, device) for p, examples in parts.items()}
    objective = OBJECTIVES[classifier.task.name]
    objective.calibrate(classifier, logits[VAL], parts[VAL].labels)
    clips = {p: of_clips(logits[p], examples, split, classifier) for p, examples in parts.items()}
    validated = of_recordings(clips[VAL], parts[VAL], classifier)
    description = objective.decided(classifier.description, clips[VAL], validated)
    classifier.description = description
    recordings = of_recordings(clips[TEST], parts[TEST], classifier)
    return Judgement(classifier, clips, recordings, cost(classifier, parts[TEST]))


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
    """What it says of each recording, by its clips that are loud enough; of each run of clips with
    the label of a stretch, if recordings are known by these."""
    task, quiet_db = classifier.task, classifier.description.quiet_db
    ids, first = np.unique(examples.whole, return_index=True)
    # Levels are told by the features, so they are read only where they decide something.
    counts = loud_enough(levels_of(examples), examples.whole, quiet_db) if quiet_db else None
    calibrated, raw = (
        task.of_recordings(p, examples.whole, counts)
        for p in (clips.probabilities, clips.uncalibrated)
    )
    return Judged(
        classes=clips.classes,
        labels=task.recording_labels(clips.labels, examples.whole),
        probabilities=calibrated,
        uncalibrated=raw,
        paths=[clips.paths[i] for i in first],
        groups=[clips.groups[i] for i in first],
        start_s=[None] * len(ids),
    )


def cost(classifier: Classifier, examples: Examples) -> dict[str, float]:
    """What a clip costs, of the median length where clips differ in length."""
    shape = typical_shape(classifier, examples)
    served = copy.deepcopy(classifier).cpu().eval()
    return {
        "multiply_adds": multiply_adds(served.network, shape),
        "cpu_ms": cpu_ms(served, shape),
    }


def typical_shape(classifier: Classifier, examples: Examples) -> tuple[int, int]:
    """(frames, features) of a clip, of the median length where clips differ in length."""
    frames, features = classifier.description.input_shape
    if frames is None:
        assert examples.lengths is not None
        frames = int(np.median(examples.lengths))
    return frames, features
