"""Scores of predicted probabilities against true labels, one a clip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_BINS = 15  # of the expected calibration error


def score_single_label(
    probabilities: ArrayLike, labels: ArrayLike, classes: list[str]
) -> dict[str, Any]:
    """Returns all measures of one set of predictions, ready for JSON.

    Args:
        probabilities: [n, n_classes]; each row adds up to 1.
        labels: int [n].
        classes: names of the classes.

    Returns:
        accuracy, n. confusion: rows are true classes, columns predicted ones. balanced_accuracy:
        mean recall of the classes that occur among the labels. macro_f1: mean F1 of the classes
        that occur among the labels or the predictions. ece, nll: see `expected_calibration_error`,
        `negative_log_likelihood`. per_class: {name: precision, recall, f1, n}; a measure that is
        0/0 for lack of examples is None.

    Raises:
        ValueError: the shapes do not fit, or there is no example.
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
    counts = zip(hits.tolist(), n.tolist(), n_predicted.tolist(), strict=True)
    rows = [score_hits(*own) for own in counts]
    recall, f1 = (np.array([row[name] for row in rows], np.float64) for name in ("recall", "f1"))
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
            name: row | {"n": int(own)} for name, row, own in zip(classes, rows, n, strict=True)
        },
    }


def score_hits(hits: int, n: int, n_predicted: int) -> dict[str, float | None]:
    """Returns precision, recall and F1 of one class; None for a measure that is 0/0.

    Args:
        hits: examples that have the class and were predicted as it.
        n: examples that have the class.
        n_predicted: examples that were predicted as it.
    """
    return {
        "precision": hits / n_predicted if n_predicted else None,
        "recall": hits / n if n else None,
        "f1": 2 * hits / (n + n_predicted) if n + n_predicted else None,
    }


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Returns the mean |accuracy − confidence| over bins of the top class's probability.

    The bins have one width; each weighs as many examples as it holds; 0 is perfect. Guo et al.
    2017, "On calibration of modern neural networks", arXiv:1706.04599, eq. 3, with bins (m/M, (m +
    1)/M] and M = 15.

    Args:
        probabilities: [n, n_classes].
        labels: int [n].
    """
    p = np.asarray(probabilities, np.float64)
    confidence = p.max(axis=1)
    correct = p.argmax(axis=1) == np.asarray(labels)
    gap = np.bincount(calibration_bins(confidence), correct - confidence, N_BINS)
    return float(np.abs(gap).sum() / len(p))


def calibration_bins(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the number of each probability's bin: of M = `N_BINS`, bin m is (m/M, (m + 1)/M]."""
    return np.clip(np.ceil(probabilities * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)


def softmax(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Returns the probabilities of logits [n, n_classes] at a temperature."""
    z = logits / temperature
    p = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = p / p.sum(axis=1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the probability of each logit by itself; no logit overflows."""
    small = np.exp(-np.abs(logits))
    probabilities: NDArray[np.float64] = np.where(logits >= 0, 1.0, small) / (1 + small)
    return probabilities


def negative_log_likelihood(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Returns the mean of −log of the true class's probability, which is 1e-30 at least.

    scikit-learn's log_loss cuts at 2e-16 instead, and so forgives a confident mistake.

    Args:
        probabilities: [n, n_classes].
        labels: int64 [n].
    """
    likelihood = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(likelihood, 1e-30)).mean())


def mean_by_recording(
    probabilities: ArrayLike, recording: ArrayLike, counts: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the mean probability over the clips of each recording.

    Args:
        probabilities: [n_clips, n_classes].
        recording: int [n_clips].
        counts: bool [n_clips], which clips count; None: all. Each recording needs one.

    Returns:
        [n_recordings, n_classes], and the recording of each row, ascending.
    """
    p = np.asarray(probabilities, np.float64)
    ids, inverse = np.unique(np.asarray(recording, np.int64), return_inverse=True)
    weight = np.ones(len(p)) if counts is None else np.asarray(counts, np.float64)
    total = np.zeros((len(ids), p.shape[1]))
    np.add.at(total, inverse, p * weight[:, None])
    return total / np.bincount(inverse, weight, len(ids))[:, None], ids


def counting_clips(
    levels: NDArray[np.float64], recording: NDArray[np.int64], quiet_db: float
) -> NDArray[np.bool_]:
    """Returns which clips are at most `quiet_db` decibels below the loudest of their recording.

    A note's quiet end says little about its instrument.

    Args:
        levels: in decibels, [n_clips].
        recording: the number of each clip's recording, [n_clips].
        quiet_db: in decibels; 0: all clips count.

    Returns:
        bool [n_clips].
    """
    if quiet_db == 0:
        return np.ones(len(levels), bool)
    ids, inverse = np.unique(recording, return_inverse=True)
    loudest = np.full(len(ids), -np.inf)
    np.maximum.at(loudest, inverse, levels)
    found: NDArray[np.bool_] = levels >= loudest[inverse] - quiet_db
    return found
