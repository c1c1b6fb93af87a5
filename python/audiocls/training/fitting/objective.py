"""What a task asks of training: loss, score, calibration, and how answers are judged.

All that differs in training between one label a clip and several stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from audiocls.classifier.answers import UNKNOWN
from audiocls.classifier.description import Description
from audiocls.classifier.model import Classifier
from audiocls.scores import metrics
from audiocls.scores.measures import MEASURES, Measures
from audiocls.scores.metrics import sigmoid, softmax
from audiocls.scores.multilabel import evaluate_several, scores_of_draws
from audiocls.scores.significance import bootstrap_intervals, counts_by_group, group_intervals
from audiocls.training.fitting.calibration import (
    fit_platt,
    fit_temperature,
    fit_threshold,
    fit_thresholds,
)
from audiocls.training.fitting.predictions import Prediction, Scored
from audiocls.training.runtime.device import Device

Row = dict[str, float]


@dataclass(frozen=True)
class Judged:
    """What a classifier said of clips or recordings, and what they are."""

    classes: list[str]
    labels: NDArray[Any]  # int64 [n], or of several labels bool [n, n_classes]
    probabilities: NDArray[np.float64]  # [n, n_classes], calibrated
    uncalibrated: NDArray[np.float64]  # the same at temperature 1
    paths: list[str]  # [n], of the recordings
    groups: list[str]  # [n]
    start_s: list[float | None]  # [n]; None for whole recordings

    def group_numbers(self) -> tuple[int, NDArray[np.int64]]:
        """How many groups there are, and the number of each row's, [n]."""
        names, ids = np.unique(np.array(self.groups, np.str_), return_inverse=True)
        return len(names), ids.astype(np.int64)


class Objective(ABC):
    """One of `OBJECTIVES`."""

    measures: Measures

    @property
    def score(self) -> str:
        """Of the validation part, by which the epoch is chosen."""
        return self.measures.main

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Of each clip, [batch]; linear in the labels, so that mixing losses mixes labels."""

    @abstractmethod
    def sums(self, n_classes: int, device: Device) -> Sums:
        """What adds up the steps of an epoch."""

    @abstractmethod
    def validation(
        self, logits: NDArray[np.float64], labels: NDArray[Any], classes: list[str]
    ) -> Row:
        """The validation half of a row of the history."""

    @abstractmethod
    def calibrate(
        self, classifier: Classifier, logits: NDArray[np.float64], labels: NDArray[Any]
    ) -> None:
        """Fits what makes probabilities of logits, on the clips of the validation part."""

    @abstractmethod
    def decided(self, description: Description, clips: Judged, recordings: Judged) -> Description:
        """The description with the thresholds that the validation part asks for."""

    @abstractmethod
    def scores(self, judged: Judged, description: Description) -> dict[str, Any]:
        """All measures, and those of calibration without it, too."""

    @abstractmethod
    def intervals(self, judged: Judged, description: Description, seed: int) -> dict[str, Any]:
        """95 % bootstrap intervals over groups, and the number of groups."""

    @abstractmethod
    def predictions(self, judged: Judged) -> Iterator[Prediction] | Iterator[Scored]:
        """A row each, for predictions.csv."""


class Sums:
    """Loss of an epoch, added up on the device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.loss = torch.zeros((), dtype=torch.float64, device=device.torch)
        self.clips = 0

    def add(self, labels: Tensor, loss: Tensor, logits: Tensor) -> None:
        """Adds a step: its labels, and loss and logits of each clip."""
        self.loss += loss.sum()
        self.clips += len(loss)

    def means(self) -> Row:
        """What the history says of the training part."""
        n = self.device.total(torch.tensor(self.clips, device=self.device.torch))
        return {"train_loss": float(self.device.total(self.loss) / n)}


class _Hits(Sums):
    """Loss and hits of an epoch, of one label a clip."""

    def __init__(self, n_classes: int, device: Device) -> None:
        super().__init__(device)
        self.n_classes = n_classes
        self.hits, self.n = torch.zeros(2, n_classes, dtype=torch.int64, device=device.torch)

    def add(self, labels: Tensor, loss: Tensor, logits: Tensor) -> None:
        self.loss += loss.sum()
        self.n += torch.bincount(labels, minlength=self.n_classes)
        right = labels[logits.argmax(dim=1) == labels]
        self.hits += torch.bincount(right, minlength=self.n_classes)

    def means(self) -> Row:
        """Mean loss a clip, and the mean recall of the classes that were drawn."""
        loss, hits, n = map(self.device.total, (self.loss, self.hits, self.n))
        recall = (hits[n > 0] / n[n > 0]).mean()
        return {"train_loss": float(loss / n.sum()), "train_balanced_accuracy": float(recall)}


class _One(Objective):
    """One label a clip: cross-entropy, balanced accuracy, one temperature."""

    measures = MEASURES["one"]

    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        return cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)

    def sums(self, n_classes: int, device: Device) -> Sums:
        return _Hits(n_classes, device)

    def validation(
        self, logits: NDArray[np.float64], labels: NDArray[Any], classes: list[str]
    ) -> Row:
        probabilities = softmax(logits)
        val = metrics.evaluate(probabilities, labels, classes)
        return {
            "val_loss": metrics.negative_log_likelihood(probabilities, labels),
            "val_accuracy": val["accuracy"],
            "val_balanced_accuracy": val["balanced_accuracy"],
            "val_macro_f1": val["macro_f1"],
        }

    def calibrate(
        self, classifier: Classifier, logits: NDArray[np.float64], labels: NDArray[Any]
    ) -> None:
        classifier.temperature.fill_(fit_temperature(logits, labels))

    def decided(self, description: Description, clips: Judged, recordings: Judged) -> Description:
        classes = description.classes
        known = np.array([name != UNKNOWN for name in classes])[recordings.labels]
        return replace(
            description, threshold=fit_threshold(recordings.probabilities[known], classes)
        )

    def scores(self, judged: Judged, description: Description) -> dict[str, Any]:
        raw = judged.uncalibrated
        return metrics.evaluate(judged.probabilities, judged.labels, judged.classes) | {
            "ece_uncalibrated": metrics.expected_calibration_error(raw, judged.labels),
            "nll_uncalibrated": metrics.negative_log_likelihood(raw, judged.labels),
        }

    def intervals(self, judged: Judged, description: Description, seed: int) -> dict[str, Any]:
        n_groups, ids = judged.group_numbers()
        predicted = judged.probabilities.argmax(axis=1)
        counts = counts_by_group(judged.labels, predicted, ids, n_groups, len(judged.classes))
        found = bootstrap_intervals([counts], seed)
        return {"groups": n_groups} | {name: list(ends) for name, ends in found.items()}

    def predictions(self, judged: Judged) -> Iterator[Prediction]:
        predicted, rows = judged.probabilities.argmax(axis=1), np.arange(len(judged.labels))
        columns = (
            judged.probabilities[rows, predicted],
            judged.probabilities[rows, judged.labels],
            judged.uncalibrated.max(axis=1),
        )
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        names = ([judged.classes[i] for i in ids] for ids in (judged.labels, predicted))
        for path, group, label, start, name, own in zip(
            judged.paths,
            judged.groups,
            next(names),
            judged.start_s,
            next(names),
            numbers,
            strict=True,
        ):
            yield Prediction(path, group, label, start, name, *own)


class _Several(Objective):
    """Several labels a clip: binary cross-entropy, mean average precision, Platt's two numbers and
    a threshold a class."""

    measures = MEASURES["several"]

    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """The mean over the classes. Smoothing as of one label of two: there, or not."""
        target = labels.to(logits) * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)

    def sums(self, n_classes: int, device: Device) -> Sums:
        return Sums(device)

    def validation(
        self, logits: NDArray[np.float64], labels: NDArray[Any], classes: list[str]
    ) -> Row:
        val = evaluate_several(sigmoid(logits), labels, classes)
        names = {"loss": "nll", "map": "map", "auroc": "auroc", "macro_f1": "macro_f1"}
        return {f"val_{name}": val[key] or 0.0 for name, key in names.items()}

    def calibrate(
        self, classifier: Classifier, logits: NDArray[np.float64], labels: NDArray[Any]
    ) -> None:
        assert classifier.offset is not None
        for i in range(logits.shape[1]):
            temperature, offset = fit_platt(logits[:, i], labels[:, i])
            classifier.temperature[i], classifier.offset[i] = temperature, offset

    def decided(self, description: Description, clips: Judged, recordings: Judged) -> Description:
        return replace(description, thresholds=fit_thresholds(clips.probabilities, clips.labels))

    def scores(self, judged: Judged, description: Description) -> dict[str, Any]:
        limits = description.thresholds or 0.5
        raw = evaluate_several(judged.uncalibrated, judged.labels, judged.classes)
        return evaluate_several(judged.probabilities, judged.labels, judged.classes, limits) | {
            f"{name}_uncalibrated": raw[name] for name in ("ece", "nll")
        }

    def intervals(self, judged: Judged, description: Description, seed: int) -> dict[str, Any]:
        n_groups, ids = judged.group_numbers()
        said = judged.probabilities >= np.array(description.thresholds or 0.5)
        own = partial(scores_of_draws, judged.probabilities, judged.labels, said, ids)
        found = group_intervals([own], n_groups, seed)
        return {"groups": n_groups} | {name: list(ends) for name, ends in found.items()}

    def predictions(self, judged: Judged) -> Iterator[Scored]:
        for path, group, start, own, p in zip(
            judged.paths,
            judged.groups,
            judged.start_s,
            judged.labels,
            judged.probabilities,
            strict=True,
        ):
            labels = tuple(judged.classes[i] for i in np.flatnonzero(own))
            yield Scored(path, group, labels, start, dict(zip(judged.classes, p, strict=True)))


OBJECTIVES: dict[str, Objective] = {"one": _One(), "several": _Several()}
