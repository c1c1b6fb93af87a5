"""What a model is asked of a clip: which `one` of its classes it is, or which `several` are in it.

All that differs between the two when a model is used stands here; what differs in training, in
`training.fitting.objective`. Arrays and tensors are taken alike: nothing here needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import answers
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
    def labels(self, store: Store) -> NDArray[Any]:
        """What the clips of a store are labelled with, as it is learned."""

    @abstractmethod
    def calibrated(self, logits: Tensor, temperature: Tensor, offset: Tensor | None) -> Tensor:
        """Probabilities of logits, float64 [batch, n_classes]."""

    @abstractmethod
    def probabilities(
        self,
        logits: NDArray[np.float64],
        temperature: NDArray[np.float64] | float = 1.0,
        offset: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.float64]:
        """The same of arrays, by default uncalibrated."""

    @abstractmethod
    def recording_labels(self, labels: NDArray[Any], recording: NDArray[np.int64]) -> NDArray[Any]:
        """The labels of recordings, in the order of their number, from those of their clips."""

    @abstractmethod
    def of_recordings(
        self,
        probabilities: NDArray[np.float64],
        recording: NDArray[np.int64],
        counts: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        """Probabilities of recordings, [n_recordings, n_classes] in the order of their number, from
        those of their clips; counts, bool [n_clips]: those that are loud enough to count."""

    @abstractmethod
    def said(
        self, probabilities: NDArray[np.float64], classes: list[str], limit: Limit
    ) -> list[list[tuple[str, float]]]:
        """The labels of each sound, with their probabilities, of [n, n_classes]."""

    @abstractmethod
    def limit(self, description: Description) -> Limit:
        """What was fitted on validation: from where on the model says something."""

    def quiet_db(self, asked: float) -> float:
        """How much quieter than the loudest a clip may be and count in the answer; 0: all do."""
        return asked


class One(Task):
    """Which one of its classes a clip is."""

    name = "one"

    def labels(self, store: Store) -> NDArray[Any]:
        return np.asarray(store.labels).astype(np.int64)

    def calibrated(self, logits: Tensor, temperature: Tensor, offset: Tensor | None) -> Tensor:
        """The softmax of logits / temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2)."""
        return (logits.double() / temperature).softmax(dim=-1)

    def probabilities(
        self,
        logits: NDArray[np.float64],
        temperature: NDArray[np.float64] | float = 1.0,
        offset: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.float64]:
        return softmax(logits, float(temperature))

    def recording_labels(self, labels: NDArray[Any], recording: NDArray[np.int64]) -> NDArray[Any]:
        _, first = np.unique(recording, return_index=True)
        own: NDArray[np.int64] = labels[first]
        return own

    def of_recordings(
        self,
        probabilities: NDArray[np.float64],
        recording: NDArray[np.int64],
        counts: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        return mean_by_recording(probabilities, recording, counts)[0]

    def said(
        self, probabilities: NDArray[np.float64], classes: list[str], limit: Limit
    ) -> list[list[tuple[str, float]]]:
        """One each: the best, or `unknown` below the certainty `limit`."""
        labels, best = answers(probabilities, classes, None if limit is None else float(limit))
        rows = zip(labels, probabilities, best, strict=True)
        return [[(label, float(row[column]))] for label, row, column in rows]

    def limit(self, description: Description) -> Limit:
        return description.threshold


class Several(Task):
    """Which of its classes are in a clip, each by itself."""

    name = "several"

    def labels(self, store: Store) -> NDArray[Any]:
        return np.asarray(store.label_matrix)

    def calibrated(self, logits: Tensor, temperature: Tensor, offset: Tensor | None) -> Tensor:
        """The sigmoid of logits / temperature + offset, both of each class (Platt 1999)."""
        scaled = logits.double() / temperature
        return (scaled if offset is None else scaled + offset).sigmoid()

    def probabilities(
        self,
        logits: NDArray[np.float64],
        temperature: NDArray[np.float64] | float = 1.0,
        offset: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.float64]:
        return sigmoid(logits / temperature + offset)

    def recording_labels(self, labels: NDArray[Any], recording: NDArray[np.int64]) -> NDArray[Any]:
        ids, inverse = np.unique(recording, return_inverse=True)
        own = np.zeros((len(ids), labels.shape[1]), np.bool_)
        np.logical_or.at(own, inverse, labels)
        return own

    def of_recordings(
        self,
        probabilities: NDArray[np.float64],
        recording: NDArray[np.int64],
        counts: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float64]:
        return linear_softmax(probabilities, recording)[0]

    def said(
        self, probabilities: NDArray[np.float64], classes: list[str], limit: Limit
    ) -> list[list[tuple[str, float]]]:
        """All that reach their `limit`, the most probable first; perhaps none."""
        limits = np.broadcast_to(np.asarray(0.5 if limit is None else limit), len(classes))
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            [(classes[i], float(p[i])) for i in own if p[i] >= limits[i]]
            for p, own in zip(probabilities, order, strict=True)
        ]

    def limit(self, description: Description) -> Limit:
        limits = description.thresholds
        return 0.5 if limits is None else np.array(limits, np.float64)

    def quiet_db(self, asked: float) -> float:
        """A quiet sound beside a loud one is a label as any other: all clips count."""
        return 0.0


TASKS: dict[str, Task] = {task.name: task for task in (One(), Several())}
