"""What a classifier says of clips, and how good that is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocls.classifier.description import UNKNOWN
from audiocls.classifier.model import Classifier
from audiocls.engine.level import clip_levels
from audiocls.models import count_parameters
from audiocls.models.cost import cpu_ms, multiply_adds
from audiocls.scores import metrics
from audiocls.scores.metrics import loud_enough, softmax
from audiocls.scores.significance import bootstrap_intervals, counts_by_group
from audiocls.training.data.examples import Examples
from audiocls.training.data.splits import PARTS, TEST, TRAIN, VAL, Split
from audiocls.training.fitting.calibration import fit_temperature, fit_threshold
from audiocls.training.fitting.predictions import Prediction
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
    classifier.temperature.fill_(fit_temperature(logits[VAL], parts[VAL].labels))
    said = {p: of_clips(logits[p], examples, split, classifier) for p, examples in parts.items()}
    quiet_db = classifier.description.quiet_db
    sure = of_recordings(said[VAL], parts[VAL], quiet_db)
    known = np.array([name != UNKNOWN for name in classifier.classes_])[sure.labels]
    threshold = fit_threshold(sure.probabilities[known], classifier.classes_)
    classifier.description = replace(classifier.description, threshold=threshold)
    clips, recordings = said[TEST], of_recordings(said[TEST], parts[TEST], quiet_db)
    counts = split.counts()
    if state.went_on:
        warnings = [*warnings, _gone_on(state)]
    result = Result(
        train=said[TRAIN].scores(),
        val=said[VAL].scores(),
        test=clips.scores() | {"interval_95": clips.intervals(trial.seed)},
        test_recording=recordings.scores() | {"interval_95": recordings.intervals(trial.seed)},
        seed=trial.seed,
        split=split.how
        | {"parts": {n: counts[n] | {"clips": len(parts[p])} for p, n in enumerate(PARTS)}},
        parameters=count_parameters(classifier.network),
        clips_per_s=state.clips / state.training_s,
        device=device.name,
        training_s=state.training_s,
        chosen={"epoch": state.best_epoch, "by": "balanced accuracy on the validation part"},
        temperature=float(classifier.temperature),
        threshold=threshold,
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


@dataclass(frozen=True)
class Judged:
    """What a classifier said of clips or recordings, and what they are."""

    classes: list[str]
    labels: NDArray[np.int64]  # [n]
    probabilities: NDArray[np.float64]  # [n, n_classes], calibrated
    uncalibrated: NDArray[np.float64]  # the same at temperature 1
    paths: list[str]  # [n], of the recordings
    groups: list[str]  # [n]
    start_s: list[float | None]  # [n]; None for whole recordings

    def scores(self) -> Scores:
        """All measures, and those of calibration without the temperature too."""
        raw = self.uncalibrated
        return metrics.evaluate(self.probabilities, self.labels, self.classes) | {
            "ece_uncalibrated": metrics.expected_calibration_error(raw, self.labels),
            "nll_uncalibrated": metrics.negative_log_likelihood(raw, self.labels),
        }

    def intervals(self, seed: int) -> dict[str, Any]:
        """95 % bootstrap intervals over groups, and the number of groups."""
        names, ids = np.unique(np.array(self.groups, np.str_), return_inverse=True)
        predicted = self.probabilities.argmax(axis=1)
        counts = counts_by_group(self.labels, predicted, ids, len(names), len(self.classes))
        found = bootstrap_intervals([counts], seed)
        return {"groups": len(names)} | {name: list(ends) for name, ends in found.items()}

    def predictions(self) -> Iterator[Prediction]:
        """A row each."""
        predicted, rows = self.probabilities.argmax(axis=1), np.arange(len(self.labels))
        columns = (
            self.probabilities[rows, predicted],
            self.probabilities[rows, self.labels],
            self.uncalibrated.max(axis=1),
        )
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        names = ([self.classes[i] for i in ids] for ids in (self.labels, predicted))
        for path, group, label, start, name, own in zip(
            self.paths, self.groups, next(names), self.start_s, next(names), numbers, strict=True
        ):
            yield Prediction(path, group, label, start, name, *own)


def of_clips(
    logits: NDArray[np.float64], examples: Examples, split: Split, classifier: Classifier
) -> Judged:
    """What the classifier says of each clip."""
    paths = [examples.store.recordings[i].path for i in examples.recording]
    return Judged(
        classes=classifier.classes_,
        labels=examples.labels,
        probabilities=softmax(logits, float(classifier.temperature)),
        uncalibrated=softmax(logits),
        paths=paths,
        groups=[split.group[path] for path in paths],
        start_s=examples.store.clip_start_s[examples.clips].tolist(),
    )


def of_recordings(clips: Judged, examples: Examples, quiet_db: float) -> Judged:
    """What it says of each recording: the mean of its clips that are loud enough."""
    ids, first = np.unique(examples.recording, return_index=True)
    # Levels are told by the features, so they are read only where they decide something.
    counts = loud_enough(levels_of(examples), examples.recording, quiet_db) if quiet_db else None
    calibrated, raw = (
        metrics.mean_by_recording(p, examples.recording, counts)[0]
        for p in (clips.probabilities, clips.uncalibrated)
    )
    return Judged(
        classes=clips.classes,
        labels=clips.labels[first],
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
