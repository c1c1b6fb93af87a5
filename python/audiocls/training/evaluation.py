"""What a classifier says of clips, and how good that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls import metrics
from audiocls.classifier import Classifier
from audiocls.metrics import softmax
from audiocls.models import count_parameters
from audiocls.training.calibration import fit_temperature
from audiocls.training.device import Device
from audiocls.training.examples import Examples
from audiocls.training.run import Result
from audiocls.training.splits import PARTS, TEST, TRAIN, VAL, Split
from audiocls.training.state import TrainState
from audiocls.training.trial import Trial

if TYPE_CHECKING:
    from audiocls.data.store import Store

BATCH = 256


@torch.no_grad()
def logits_of(classifier: Classifier, examples: Examples, device: Device) -> NDArray[np.float64]:
    """The logits of all clips, float64 [n, n_classes], computed by all processes together; each
    clip once."""
    classifier.eval()
    own = torch.arange(len(examples))[device.rank :: device.world]
    order = examples.by_length(own, BATCH, pool=len(examples))
    outputs = []
    for batch in examples.batches(order):
        with device.autocast():
            outputs.append(classifier(batch.x, batch.lengths).double())
    mine = torch.cat(outputs) if outputs else torch.zeros(0, len(classifier.classes_)).double()
    ids = device.gathered(torch.cat(order) if order else own)
    logits = np.empty((len(examples), mine.shape[1]))
    logits[ids.numpy()] = device.gathered(mine).numpy()
    return logits


def judge(
    trial: Trial,
    store: Store,
    split: Split,
    parts: dict[int, Examples],
    classifier: Classifier,
    state: TrainState,
    device: Device,
    warnings: list[str],
) -> Result:
    """The result of a finished training: the chosen classifier, calibrated on the validation part,
    is asked for every part; the test part for the first time."""
    logits = {p: logits_of(classifier, examples, device) for p, examples in parts.items()}
    classifier.temperature.fill_(fit_temperature(logits[VAL], parts[VAL].labels))
    counts = split.counts()
    return Result(
        train=scores(logits[TRAIN], parts[TRAIN], classifier),
        val=scores(logits[VAL], parts[VAL], classifier),
        test=scores(logits[TEST], parts[TEST], classifier),
        test_recording=recording_scores(logits[TEST], parts[TEST], classifier),
        seed=trial.seed,
        split=split.how
        | {"parts": {n: counts[n] | {"clips": len(parts[p])} for p, n in enumerate(PARTS)}},
        parameters=count_parameters(classifier.network),
        clips_per_s=state.clips / state.training_s,
        device=device.name,
        training_s=state.training_s,
        chosen={"epoch": state.best_epoch, "by": "balanced accuracy on the validation part"},
        temperature=float(classifier.temperature),
        settings=trial.settings(),
        store={"name": trial.feature, "identity": trial.store},
        classes=list(store.classes),
        versions=classifier.description.versions,
        warnings=warnings,
    )


def scores(
    logits: NDArray[np.float64], examples: Examples, classifier: Classifier
) -> dict[str, Any]:
    """All measures of clips, with calibrated probabilities."""
    probabilities = softmax(logits, float(classifier.temperature))
    return metrics.evaluate(probabilities, examples.labels, classifier.classes_)


def recording_scores(
    logits: NDArray[np.float64], examples: Examples, classifier: Classifier
) -> dict[str, Any]:
    """All measures of whole recordings: the mean probability of their clips."""
    probabilities = softmax(logits, float(classifier.temperature))
    by_recording, ids = metrics.mean_by_recording(probabilities, examples.recording)
    first = np.unique(examples.recording, return_index=True)[1]
    assert len(first) == len(ids)
    return metrics.evaluate(by_recording, examples.labels[first], classifier.classes_)
