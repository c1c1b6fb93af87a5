"""Temperature, offset and thresholds, fitted on the validation part.

Temperature and offset make probabilities of logits; a threshold says from which one on a label is
given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import UNKNOWN, certainty
from audiocls.scores.metrics import sigmoid

# Beyond these the validation part says nothing: all right or all wrong.
COLDEST, HOTTEST = 0.05, 20.0


# The share of known recordings that may be answered with `unknown`. A model that has heard unknown
# sounds needs less; those of other players and rooms seem stranger to it than validation's do.
REFUSED = 0.05
REFUSED_WITH_BACKGROUND = 0.005


def fit_threshold(probabilities: NDArray[np.float64], classes: list[str]) -> float | None:
    """Returns the certainty below which an answer is `unknown`; None without recordings.

    All but a few of the recordings, which are all of known classes, reach it.

    Args:
        probabilities: of recordings, [n, n_classes].
        classes: names of the classes; see `answers.certainty`.
    """
    if len(probabilities) == 0:
        return None
    refused = REFUSED_WITH_BACKGROUND if UNKNOWN in classes else REFUSED
    return float(np.quantile(certainty(probabilities, classes), refused, method="lower"))


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Returns the temperature T that gives softmax(logits / T) the highest likelihood.

    Guo et al. 2017, arXiv:1706.04599, section 4.2. The likelihood is convex in 1 / T: its
    derivative, E[z_label] − E[z], is bisected over log T.

    Args:
        logits: [n, n_classes], of the validation part.
        labels: int [n].
    """
    if len(labels) == 0:
        return 1.0
    truth = logits[np.arange(len(labels)), labels]

    def slope(log_t: float) -> float:  # of the likelihood over 1 / T
        scaled = logits / np.exp(log_t)
        p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return float((truth - (p * logits).sum(axis=1)).mean())

    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        if slope(middle) >= 0:  # a larger 1 / T is more likely
            high = middle
        else:
            low = middle
    return float(np.exp((low + high) / 2))


def fit_platt(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns temperature T and offset b of one class, fitted to sigmoid(logit / T + b).

    They have the lowest negative log-likelihood, with Platt's targets, which keep it finite if the
    logits separate. Platt 1999, "Probabilistic outputs for support vector machines", section 2.2;
    by Newton's method with halved steps, as Lin, Lin & Weng 2007. T stays within `COLDEST` and
    `HOTTEST`, so the order of the clips stays.

    Args:
        logits: [n].
        labels: bool [n].

    Returns:
        T and b; (1, 0) if all labels are the same.
    """
    n_true = int(labels.sum())
    if n_true in (0, len(labels)):
        return 1.0, 0.0
    n_false = len(labels) - n_true
    target = np.where(labels, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))
    slope, offset = _newton(logits, target, 1.0, 0.0)
    if not 1 / HOTTEST <= slope <= 1 / COLDEST:
        slope = float(np.clip(slope, 1 / HOTTEST, 1 / COLDEST))
        _, offset = _newton(slope * logits, target, 1.0, offset, slope_too=False)
    return 1 / slope, offset


def _newton(
    logits: NDArray[np.float64],
    target: NDArray[np.float64],
    slope: float,
    offset: float,
    slope_too: bool = True,
) -> tuple[float, float]:
    """Returns the slope and offset of the logits that are most likely for some targets."""

    def loss(x: NDArray[np.float64]) -> float:
        z = x[0] * logits + x[1]
        return float((np.logaddexp(0, z) - target * z).mean())

    x, rows = np.array([slope, offset]), np.array([logits, np.ones_like(logits)])
    if not slope_too:
        rows[0] = 0.0
    for _ in range(100):
        p = sigmoid(x[0] * logits + x[1])
        gradient = rows @ (p - target) / len(p)
        if np.abs(gradient).max() < 1e-10:
            break
        curve = (rows * (p * (1 - p))) @ rows.T / len(p) + 1e-12 * np.eye(2)
        step, size, before = np.linalg.solve(curve, gradient), 1.0, loss(x)
        while size > 1e-10 and loss(x - size * step) > before - 1e-4 * size * (gradient @ step):
            size /= 2
        if size <= 1e-10:
            break
        x = x - size * step
    return float(x[0]), float(x[1])


def fit_thresholds(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[float]:
    """Returns the threshold of each class with the highest F1, [n_classes].

    It is half-way between the last probability that is given and the first that is not. It is 0.5
    for a class that no example has, or every one.

    Args:
        probabilities: [n, n_classes].
        labels: bool [n, n_classes].
    """
    thresholds = []
    for p, y in zip(probabilities.T, labels.T, strict=True):
        if not 0 < y.sum() < len(y):
            thresholds.append(0.5)
            continue
        order = np.argsort(-p, kind="stable")
        p, y = p[order], y[order]
        hits = np.cumsum(y)
        f1 = 2 * hits / (np.arange(1, len(p) + 1) + y.sum())
        ends = np.append(np.diff(p) != 0, True)  # between equal probabilities is no threshold
        last = int(np.argmax(np.where(ends, f1, -1)))
        below = p[last + 1] if last + 1 < len(p) else 0.0
        thresholds.append(float((p[last] + below) / 2))
    return thresholds
