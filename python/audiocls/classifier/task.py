"""What a model is asked of a clip: which `one` of its classes it is, or which `several` are in it.

All that differs between the two when a model is used stands here. What differs in training stands
in `training.fitting.objective`. Arrays and tensors are both taken: nothing here needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import choose_labels
from audiocls.scores.metrics import mean_by_recording, sigmoid, softmax
from audiocls.scores.multilabel import linear_softmax

if TYPE_CHECKING:
    from torch import Tensor

    from audiocls.classifier.description import Description
    from audiocls.store.store import Store

# From which probability or certainty on something is said: one number, or one a class.
Limit = float | NDArray[np.float64] | None


class Task(ABC):
    """One of `TASKS`."""

    name: str

    @abstractmethod
    def read_labels(self, store: Store) -> NDArray[Any]:
        """Returns the labels of a store's clips, as they are learned: [n] or [n, n_classes]."""

    @abstractmethod
    def calibrate(self, logits: Tensor, temperature: Tensor, offset: Tensor | None) -> Tensor:
        """Returns the probabilities of logits, float64 [batch, n_classes].

        Args:
            logits: [batch, n_classes].
            temperature: one number, or [n_classes].
            offset: added to logits / temperature, [n_classes]; None: nothing.
        """

    @abstractmethod
    def calibrate_array(
        self,
        logits: NDArray[np.float64],
        temperature: NDArray[np.float64] | float = 1.0,
        offset: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.float64]:
        """Returns the same for an array of logits [n, n_classes], uncalibrated by default."""

    @abstractmethod
    def label_recordings(self, labels: NDArray[Any], recording: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the labels of recordings, by their number, from those of their clips."""

    @abstractmethod
    def pool_clips(
        self,
        probabilities: NDArray[np.float64],
        recording: NDArray[np.int64],
        counts: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """Returns the probabilities of recordings from those of their clips.

        Args:
            probabilities: [n_clips, n_classes].
            recording: the number of each clip's recording, [n_clips].
            counts: bool [n_clips], which clips count; None: all.

        Returns:
            [n_recordings, n_classes], in the order of the recordings' numbers.
        """

    @abstractmethod
    def choose_labels(
        self, probabilities: NDArray[np.float64], classes: list[str], limit: Limit
    ) -> list[list[tuple[str, float]]]:
        """Returns the labels of each sound, with their probabilities.

        Args:
            probabilities: [n, n_classes].
            classes: their names.
            limit: the least certainty or probability of an answer.
        """

    @abstractmethod
    def limit(self, description: Description) -> Limit:
        """Returns the threshold that was fitted on validation."""

    def quiet_db(self, asked: float) -> float:
        """Returns how many decibels below the loudest a clip may be and count; 0: all count."""
        return asked


class One(Task):
    """Which one of its classes a clip is."""

    name = "one"

    def read_labels(self, store: Store) -> NDArray[Any]:
        """Returns int64 [n]."""
        return np.asarray(store.labels).astype(np.int64)

    def calibrate(self, logits: Tensor, temperature: Tensor, offset: Tensor | None) -> Tensor:
        """Returns the softmax of logits / temperature.

        Guo et al. 2017, arXiv:1706.04599, section 4.2.
        """
        return (logits.double() / temperature).softmax(dim=-1)

    def calibrate_array(
        self,
        logits: NDArray[np.float64],
        temperature: NDArray[np.float64] | float = 1.0,
        offset: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.float64]:
        """Returns the same for an array."""
        return softmax(logits, float(temperature))

    def label_recordings(self, labels: NDArray[Any], recording: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the label of the first clip of each recording."""
        _, first = np.unique(recording, return_index=True)
        own: NDArray[np.int64] = labels[first]
        return own

    def pool_clips(
        self,
        probabilities: NDArray[np.float64],
        recording: NDArray[np.int64],
        counts: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """Returns the mean over the clips that count."""
        return mean_by_recording(probabilities, recording, counts)[0]

    def choose_labels(
        self, probabilities: NDArray[np.float64], classes: list[str], limit: Limit
    ) -> list[list[tuple[str, float]]]:
        """Returns one label each: the best, or `unknown` below the certainty `limit`."""
        threshold = None if limit is None else float(limit)
        labels, best = choose_labels(probabilities, classes, threshold)
        rows = zip(labels, probabilities, best, strict=True)
        return [[(label, float(row[column]))] for label, row, column in rows]

    def limit(self, description: Description) -> Limit:
        """Returns the certainty below which the answer is `unknown`, or None."""
        return description.threshold


class Several(Task):
    """Which of its classes are in a clip, each by itself."""

    name = "several"

    def read_labels(self, store: Store) -> NDArray[Any]:
        """Returns bool [n, n_classes]."""
        return np.asarray(store.label_matrix)

    def calibrate(self, logits: Tensor, temperature: Tensor, offset: Tensor | None) -> Tensor:
        """Returns the sigmoid of logits / temperature + offset, both by class (Platt 1999)."""
        scaled = logits.double() / temperature
        return (scaled if offset is None else scaled + offset).sigmoid()

    def calibrate_array(
        self,
        logits: NDArray[np.float64],
        temperature: NDArray[np.float64] | float = 1.0,
        offset: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.float64]:
        """Returns the same for an array."""
        return sigmoid(logits / temperature + offset)

    def label_recordings(self, labels: NDArray[Any], recording: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the labels that any clip of a recording has."""
        ids, inverse = np.unique(recording, return_inverse=True)
        own = np.zeros((len(ids), labels.shape[1]), np.bool_)
        np.logical_or.at(own, inverse, labels)
        return own

    def pool_clips(
        self,
        probabilities: NDArray[np.float64],
        recording: NDArray[np.int64],
        counts: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """Returns `linear_softmax` over all clips."""
        return linear_softmax(probabilities, recording)[0]

    def choose_labels(
        self, probabilities: NDArray[np.float64], classes: list[str], limit: Limit
    ) -> list[list[tuple[str, float]]]:
        """Returns all labels that reach their `limit`, the most probable first; perhaps none."""
        limits = np.broadcast_to(np.asarray(0.5 if limit is None else limit), len(classes))
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            [(classes[i], float(p[i])) for i in own if p[i] >= limits[i]]
            for p, own in zip(probabilities, order, strict=True)
        ]

    def limit(self, description: Description) -> Limit:
        """Returns the threshold of each class, [n_classes]."""
        limits = description.thresholds
        return 0.5 if limits is None else np.array(limits, np.float64)

    def quiet_db(self, asked: float) -> float:
        """Returns 0: a quiet sound beside a loud one is a label like any other."""
        return 0.0


TASKS: dict[str, Task] = {task.name: task for task in (One(), Several())}
