"""Predicted probabilities and true labels → numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def evaluate(probabilities: ArrayLike, labels: ArrayLike, classes: list[str]) -> dict[str, Any]:
    """All measures of one set of predictions, ready for JSON.

    probabilities: [n, n_classes], rows sum to 1. labels: int [n].

    accuracy, n; confusion: rows are true classes, columns predicted ones.
    balanced_accuracy: mean recall of the classes that occur among the labels.
    macro_f1: mean F1 of the classes that occur among the labels or the predictions.
    ece, nll: see `expected_calibration_error`, `negative_log_likelihood`.
    per_class: {name: precision, recall, f1, n}; None where a measure is 0/0 for lack of examples.
    """
    p = np.asarray(probabilities, np.float64)
    y = np.asarray(labels, np.int64)
    if p.ndim != 2 or p.shape != (len(y), len(classes)) or len(y) == 0:
        raise ValueError(
            f"probabilities {p.shape} must be [n, n_classes] with n = {len(y)} labels >= 1 "
            f"and n_classes = {len(classes)}"
        )
    # Without scikit-learn, whose import takes longer than all else here; the tests compare with it.
    n_classes = len(classes)
    confusion = np.bincount(y * n_classes + p.argmax(axis=1), minlength=n_classes**2)
    confusion = confusion.reshape(n_classes, n_classes)
    hits, n, n_predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, n_predicted), _ratio(hits, n)
    f1 = _ratio(2 * hits, n + n_predicted)
    return {
        "accuracy": float(hits.sum() / len(y)),
        # scikit-learn's balanced_accuracy_score is the same mean, but warns where a class is only
        # predicted; its macro F1 would count a class that nobody saw or named as 0.
        "balanced_accuracy": float(np.nanmean(recall)),
        "macro_f1": float(np.nanmean(f1)),
        "ece": expected_calibration_error(p, y),
        "nll": negative_log_likelihood(p, y),
        "n": len(y),
        "confusion": confusion.tolist(),
        "per_class": {
            name: {
                "precision": _number(precision[i]),
                "recall": _number(recall[i]),
                "f1": _number(f1[i]),
                "n": int(n[i]),
            }
            for i, name in enumerate(classes)
        },
    }


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, n_bins: int = 15
) -> float:
    """Mean |accuracy − confidence| over equal-width bins of the top class's probability.

    Each bin weighs as many examples as it holds. 0 is perfect. Guo et al. 2017, "On calibration of
    modern neural networks", arXiv:1706.04599, eq. 3, with bins (m/M, (m+1)/M] and M = 15.
    """
    p = np.asarray(probabilities, np.float64)
    confidence = p.max(axis=1)
    correct = p.argmax(axis=1) == np.asarray(labels)
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    gap = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gap).sum() / len(p))


def softmax(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits [n, n_classes] at a temperature."""
    z = logits / temperature
    p = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits, each by itself; no logit overflows."""
    small = np.exp(-np.abs(logits))
    probabilities: NDArray[np.float64] = np.where(logits >= 0, 1.0, small) / (1 + small)
    return probabilities


def negative_log_likelihood(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean of −log of the probability of the true class, which counts as 1e-30 at least.

    scikit-learn's log_loss cuts at 2e-16 instead, and so forgives a confident mistake.
    """
    likelihood = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(likelihood, 1e-30)).mean())


def mean_by_recording(
    probabilities: ArrayLike, recording: ArrayLike, counts: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean probability over the clips of each recording.

    probabilities: [n_clips, n_classes]; recording: int [n_clips]; counts: bool [n_clips], which
    clips count, by default all; at least one of each recording must.
    Returns ([n_recordings, n_classes], the recording of each row, ascending).
    """
    p = np.asarray(probabilities, np.float64)
    ids, inverse = np.unique(np.asarray(recording, np.int64), return_inverse=True)
    weight = np.ones(len(p)) if counts is None else np.asarray(counts, np.float64)
    total = np.zeros((len(ids), p.shape[1]))
    np.add.at(total, inverse, p * weight[:, None])
    return total / np.bincount(inverse, weight, len(ids))[:, None], ids


def loud_enough(
    levels: NDArray[np.float64], recording: NDArray[np.int64], quiet_db: float
) -> NDArray[np.bool_]:
    """bool [n_clips]: which clips are at most `quiet_db` decibels below the loudest of their
    recording; all where it is 0. A note's quiet end says little of what it is.

    levels: decibels [n_clips]; recording: [n_clips].
    """
    if quiet_db == 0:
        return np.ones(len(levels), bool)
    ids, inverse = np.unique(recording, return_inverse=True)
    loudest = np.full(len(ids), -np.inf)
    np.maximum.at(loudest, inverse, levels)
    found: NDArray[np.bool_] = levels >= loudest[inverse] - quiet_db
    return found


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """part / whole; nan where both are 0."""
    found: NDArray[np.float64] = np.full(len(part), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _number(x: float) -> float | None:
    return None if np.isnan(x) else float(x)
