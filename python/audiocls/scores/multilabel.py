"""Scores of several labels a clip: each class is judged by itself, then a mean is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocls.scores.metrics import N_BINS, calibration_bins, score_hits


def score_multilabel(
    probabilities: ArrayLike, labels: ArrayLike, classes: list[str], thresholds: ArrayLike = 0.5
) -> dict[str, Any]:
    """Returns all measures of one set of predictions, ready for JSON.

    Args:
        probabilities: [n, n_classes], each from 0 to 1.
        labels: bool [n, n_classes].
        classes: names of the classes.
        thresholds: the probability from which a label is given, one or [n_classes].

    Returns:
        map, auroc, macro_f1: the mean over the classes that define it of average precision, area
        under the ROC curve and F1 at the threshold. micro_f1: of all labels together. ece, nll: the
        mean over the classes of the calibration error and of the negative log-likelihood of "there
        or not". n: examples. per_class: {name: the same, with precision, recall and threshold; n is
        the number of examples that have the label}; a measure that is 0/0 for lack of examples is
        None.

    Raises:
        ValueError: the shapes do not fit, or there is no example.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.bool_)
    if p.ndim != 2 or p.shape != y.shape or p.shape[1] != len(classes) or len(p) == 0:
        raise ValueError(
            f"probabilities {p.shape} and labels {y.shape} must be [n, {len(classes)}], n >= 1"
        )
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), len(classes))
    said = p >= limits
    likelihood = -np.log(np.maximum(np.where(y, p, 1 - p), 1e-30))
    per_class = {
        name: _of_class(p[:, i], y[:, i], said[:, i])
        | {"threshold": float(limits[i]), "nll": float(likelihood[:, i].mean())}
        for i, name in enumerate(classes)
    }
    hits, total = int((said & y).sum()), int(said.sum() + y.sum())
    return {
        "map": _mean(per_class, "average_precision"),
        "auroc": _mean(per_class, "auroc"),
        "macro_f1": _mean(per_class, "f1"),
        "micro_f1": 2 * hits / total if total else None,
        "ece": _mean(per_class, "ece"),
        "nll": _mean(per_class, "nll"),
        "n": len(p),
        "per_class": per_class,
    }


def _of_class(
    p: NDArray[np.float64], y: NDArray[np.bool_], said: NDArray[np.bool_]
) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    n = int(y.sum())
    return {
        "average_precision": float(average_precision_score(y, p)) if n else None,
        "auroc": float(roc_auc_score(y, p)) if 0 < n < len(y) else None,
        **score_hits(int((said & y).sum()), n, int(said.sum())),
        "ece": label_calibration_error(p, y),
        "n": n,
    }


def label_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """Returns the mean |share that has the label − probability| over equal-width bins of one label.

    A bin weighs as many examples as it holds. `metrics.expected_calibration_error` looks at the
    best class alone.

    Args:
        probabilities: of the label, [n].
        labels: bool [n].
    """
    gap = np.bincount(calibration_bins(probabilities), labels - probabilities, N_BINS)
    return float(np.abs(gap).sum() / len(labels))


def _mean(per_class: dict[str, dict[str, Any]], key: str) -> float | None:
    known = [row[key] for row in per_class.values() if row[key] is not None]
    return sum(known) / len(known) if known else None


def score_draws(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    said: NDArray[np.bool_],
    group: NDArray[np.int64],
    times: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Returns `score_weighted` for draws of groups, as `significance.bootstrap_groups` asks for it.

    Args:
        probabilities: [n, n_classes].
        labels: bool [n, n_classes].
        said: bool [n, n_classes], the labels that were given.
        group: the number of each example's group, [n].
        times: how often each group counts, [draws, n_groups].
    """
    return score_weighted(probabilities, labels, said, times[:, group])


def score_weighted(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    said: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Returns map, auroc and macro_f1 as `score_multilabel`, with a weight for each example.

    Args:
        probabilities: [n, n_classes].
        labels: bool [n, n_classes].
        said: bool [n, n_classes], the labels that were given.
        weights: how often each example counts, [draws, n].

    Returns:
        [draws] each; NaN if no class defines it.
    """
    columns: dict[str, list[NDArray[np.float64]]] = {"map": [], "auroc": [], "macro_f1": []}
    for p, y, own in zip(probabilities.T, labels.T, said.T, strict=True):
        order = np.argsort(-p, kind="stable")
        # Examples of one probability come together: between them there is no threshold.
        ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
        drawn = weights[:, order]
        true = np.cumsum(drawn * y[order], axis=1)[:, ends]
        called = np.cumsum(drawn, axis=1)[:, ends]
        false = called - true
        positives, negatives = true[:, -1], false[:, -1]
        steps = np.diff(true, axis=1, prepend=0.0)
        precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
        columns["map"].append(_ratio((precision * steps).sum(axis=1), positives))
        area = (np.diff(false, axis=1, prepend=0.0) * (true - steps / 2)).sum(axis=1)
        columns["auroc"].append(_ratio(area, positives * negatives))
        hits = weights @ (own & y)
        columns["macro_f1"].append(_ratio(2 * hits, positives + weights @ own))
    return {name: _mean_of_known(np.array(rows)) for name, rows in columns.items()}


def swapped_average_precision(
    p: NDArray[np.float64],
    q: NDArray[np.float64],
    labels: NDArray[np.bool_],
    swap: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Returns the mean average precision if some examples of `p` have the probabilities of `q`.

    Args:
        p: [n, n_classes].
        q: [n, n_classes].
        labels: bool [n, n_classes].
        swap: bool [draws, n], the examples that are exchanged.

    Returns:
        [draws].
    """
    rows = []
    for c in np.flatnonzero(labels.any(axis=0)):
        scores = np.where(swap, q[:, c], p[:, c])
        order = np.argsort(-scores, axis=1, kind="stable")
        ranked, true = np.take_along_axis(scores, order, axis=1), labels[order, c]
        precision = np.cumsum(true, axis=1) / np.arange(1, len(p) + 1)
        # Of equal probabilities, each has the precision after the last of them.
        last = np.append(np.diff(ranked, axis=1) != 0, np.ones((len(swap), 1), bool), axis=1)
        at = np.where(last, np.arange(len(p)), len(p))
        at = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1]
        found = np.take_along_axis(precision, at, axis=1)
        rows.append((found * true).sum(axis=1) / labels[:, c].sum())
    mean: NDArray[np.float64] = np.mean(rows, axis=0)
    return mean


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)
    return ratio


def _mean_of_known(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(rows)
    return _ratio(np.where(known, rows, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def linear_softmax(
    probabilities: ArrayLike, recording: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the probabilities of recordings from those of their clips: Σ p² / Σ p.

    A sound that fills the recording counts as in the mean; the silence around a short one does not
    drown it. Wang, Li & Metze 2019, "A comparison of five multiple instance learning pooling
    functions for sound event detection with weak labeling", arXiv:1810.09050, section 3.

    Args:
        probabilities: [n_clips, n_classes].
        recording: int [n_clips].

    Returns:
        [n_recordings, n_classes], and the recording of each row, ascending.
    """
    p = np.asarray(probabilities, np.float64)
    ids, inverse = np.unique(np.asarray(recording, np.int64), return_inverse=True)
    squares, sums = np.zeros((2, len(ids), p.shape[1]))
    np.add.at(squares, inverse, p**2)
    np.add.at(sums, inverse, p)
    pooled = np.divide(squares, sums, out=np.zeros_like(sums), where=sums > 0)
    return pooled, ids
