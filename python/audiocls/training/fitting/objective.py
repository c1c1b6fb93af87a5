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
from audiocls.classifier.model import Model
from audiocls.scores import metrics
from audiocls.scores.measures import MEASURES, Measures
from audiocls.scores.metrics import sigmoid, softmax
from audiocls.scores.multilabel import score_draws, score_multilabel
from audiocls.scores.significance import bootstrap_groups, bootstrap_intervals, count_by_group
from audiocls.training.fitting.calibration import (
    fit_platt,
    fit_temperature,
    fit_threshold,
    fit_thresholds,
)
from audiocls.training.fitting.predictions import MultilabelRow, PredictionRow
from audiocls.training.runtime.device import Device

Row = dict[str, float]


@dataclass(frozen=True)
class LabelledPredictions:
    """Probabilities of clips or recordings, and their true labels."""

    classes: list[str]
    labels: NDArray[Any]  # int64 [n], or of several labels bool [n, n_classes]
    probabilities: NDArray[np.float64]  # [n, n_classes], calibrated
    uncalibrated: NDArray[np.float64]  # the same at temperature 1
    paths: list[str]  # [n], of the recordings
    groups: list[str]  # [n]
    start_s: list[float | None]  # [n]; None for whole recordings

    def group_numbers(self) -> tuple[int, NDArray[np.int64]]:
        """Returns how many groups there are, and the number of each row's group, [n]."""
        names, ids = np.unique(np.array(self.groups, np.str_), return_inverse=True)
        return len(names), ids.astype(np.int64)


class Objective(ABC):
    """One of `OBJECTIVES`."""

    measures: Measures

    @property
    def main(self) -> str:
        """The score of the validation part by which the epoch is chosen."""
        return self.measures.main

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Returns the loss of each clip, [batch].

        It is linear in the labels, so that mixing losses mixes labels.

        Args:
            logits: [batch, n_classes].
            labels: int64 [batch], or bool [batch, n_classes].
            smoothing: the share of a label that is spread over all classes.
        """

    @abstractmethod
    def start_sums(self, n_classes: int, device: Device) -> Sums:
        """Returns what adds up the steps of an epoch."""

    @abstractmethod
    def score_validation(
        self, logits: NDArray[np.float64], labels: NDArray[Any], classes: list[str]
    ) -> Row:
        """Returns the validation half of a row of the history."""

    @abstractmethod
    def fit_calibration(
        self, model: Model, logits: NDArray[np.float64], labels: NDArray[Any]
    ) -> None:
        """Fits what makes probabilities of logits, on the clips of the validation part."""

    @abstractmethod
    def fit_thresholds(
        self, description: Description, clips: LabelledPredictions, recordings: LabelledPredictions
    ) -> Description:
        """Returns the description with the thresholds that the validation part asks for."""

    @abstractmethod
    def score(self, judged: LabelledPredictions, description: Description) -> dict[str, Any]:
        """Returns all measures, and those of calibration also without it."""

    @abstractmethod
    def bootstrap(
        self, judged: LabelledPredictions, description: Description, seed: int
    ) -> dict[str, Any]:
        """Returns 95 % bootstrap intervals over groups, and the number of groups."""

    @abstractmethod
    def make_rows(
        self, judged: LabelledPredictions
    ) -> Iterator[PredictionRow] | Iterator[MultilabelRow]:
        """Yields a row for each, for predictions.csv."""


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

    def take_means(self) -> Row:
        """Returns what the history says of the training part."""
        n = self.device.add_up(torch.tensor(self.clips, device=self.device.torch))
        return {"train_loss": float(self.device.add_up(self.loss) / n)}


class _Hits(Sums):
    """Loss and hits of an epoch, of one label a clip."""

    def __init__(self, n_classes: int, device: Device) -> None:
        super().__init__(device)
        self.n_classes = n_classes
        self.hits, self.n = torch.zeros(2, n_classes, dtype=torch.int64, device=device.torch)

    def add(self, labels: Tensor, loss: Tensor, logits: Tensor) -> None:
        """Adds a step, and counts its hits."""
        self.loss += loss.sum()
        self.n += torch.bincount(labels, minlength=self.n_classes)
        right = labels[logits.argmax(dim=1) == labels]
        self.hits += torch.bincount(right, minlength=self.n_classes)

    def take_means(self) -> Row:
        """Returns the mean loss a clip, and the mean recall of the classes that were drawn."""
        loss, hits, n = map(self.device.add_up, (self.loss, self.hits, self.n))
        recall = (hits[n > 0] / n[n > 0]).mean()
        return {"train_loss": float(loss / n.sum()), "train_balanced_accuracy": float(recall)}


class _One(Objective):
    """One label a clip: cross-entropy, balanced accuracy, one temperature."""

    measures = MEASURES["one"]

    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        return cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)

    def start_sums(self, n_classes: int, device: Device) -> Sums:
        return _Hits(n_classes, device)

    def score_validation(
        self, logits: NDArray[np.float64], labels: NDArray[Any], classes: list[str]
    ) -> Row:
        probabilities = softmax(logits)
        val = metrics.score_single_label(probabilities, labels, classes)
        return {
            "val_loss": metrics.negative_log_likelihood(probabilities, labels),
            "val_accuracy": val["accuracy"],
            "val_balanced_accuracy": val["balanced_accuracy"],
            "val_macro_f1": val["macro_f1"],
        }

    def fit_calibration(
        self, model: Model, logits: NDArray[np.float64], labels: NDArray[Any]
    ) -> None:
        model.temperature.fill_(fit_temperature(logits, labels))

    def fit_thresholds(
        self, description: Description, clips: LabelledPredictions, recordings: LabelledPredictions
    ) -> Description:
        classes = description.classes
        known = np.array([name != UNKNOWN for name in classes])[recordings.labels]
        return replace(
            description, threshold=fit_threshold(recordings.probabilities[known], classes)
        )

    def score(self, judged: LabelledPredictions, description: Description) -> dict[str, Any]:
        raw = judged.uncalibrated
        return metrics.score_single_label(judged.probabilities, judged.labels, judged.classes) | {
            "ece_uncalibrated": metrics.expected_calibration_error(raw, judged.labels),
            "nll_uncalibrated": metrics.negative_log_likelihood(raw, judged.labels),
        }

    def bootstrap(
        self, judged: LabelledPredictions, description: Description, seed: int
    ) -> dict[str, Any]:
        n_groups, ids = judged.group_numbers()
        predicted = judged.probabilities.argmax(axis=1)
        counts = count_by_group(judged.labels, predicted, ids, n_groups, len(judged.classes))
        found = bootstrap_intervals([counts], seed)
        return {"groups": n_groups} | {name: list(ends) for name, ends in found.items()}

    def make_rows(self, judged: LabelledPredictions) -> Iterator[PredictionRow]:
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
            yield PredictionRow(path, group, label, start, name, *own)


class _Several(Objective):
    """Several labels a clip: binary cross-entropy, average precision, Platt's scaling by class."""

    measures = MEASURES["several"]

    def loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Returns the mean over the classes; a label is smoothed as one of two."""
        target = labels.to(logits) * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)

    def start_sums(self, n_classes: int, device: Device) -> Sums:
        return Sums(device)

    def score_validation(
        self, logits: NDArray[np.float64], labels: NDArray[Any], classes: list[str]
    ) -> Row:
        val = score_multilabel(sigmoid(logits), labels, classes)
        names = {"loss": "nll", "map": "map", "auroc": "auroc", "macro_f1": "macro_f1"}
        return {f"val_{name}": val[key] or 0.0 for name, key in names.items()}

    def fit_calibration(
        self, model: Model, logits: NDArray[np.float64], labels: NDArray[Any]
    ) -> None:
        assert model.offset is not None
        for i in range(logits.shape[1]):
            temperature, offset = fit_platt(logits[:, i], labels[:, i])
            model.temperature[i], model.offset[i] = temperature, offset

    def fit_thresholds(
        self, description: Description, clips: LabelledPredictions, recordings: LabelledPredictions
    ) -> Description:
        return replace(description, thresholds=fit_thresholds(clips.probabilities, clips.labels))

    def score(self, judged: LabelledPredictions, description: Description) -> dict[str, Any]:
        limits = description.thresholds or 0.5
        raw = score_multilabel(judged.uncalibrated, judged.labels, judged.classes)
        return score_multilabel(judged.probabilities, judged.labels, judged.classes, limits) | {
            f"{name}_uncalibrated": raw[name] for name in ("ece", "nll")
        }

    def bootstrap(
        self, judged: LabelledPredictions, description: Description, seed: int
    ) -> dict[str, Any]:
        n_groups, ids = judged.group_numbers()
        said = judged.probabilities >= np.array(description.thresholds or 0.5)
        own = partial(score_draws, judged.probabilities, judged.labels, said, ids)
        found = bootstrap_groups([own], n_groups, seed)
        return {"groups": n_groups} | {name: list(ends) for name, ends in found.items()}

    def make_rows(self, judged: LabelledPredictions) -> Iterator[MultilabelRow]:
        for path, group, start, own, p in zip(
            judged.paths,
            judged.groups,
            judged.start_s,
            judged.labels,
            judged.probabilities,
            strict=True,
        ):
            labels = tuple(judged.classes[i] for i in np.flatnonzero(own))
            yield MultilabelRow(
                path, group, labels, start, dict(zip(judged.classes, p, strict=True))
            )


OBJECTIVES: dict[str, Objective] = {"one": _One(), "several": _Several()}
