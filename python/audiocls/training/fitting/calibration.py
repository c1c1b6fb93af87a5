"""A temperature for probabilities that mean what they say, and a threshold for `unknown`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import certainty
from audiocls.classifier.description import UNKNOWN

# Beyond these the validation part says nothing: all right or all wrong.
COLDEST, HOTTEST = 0.05, 20.0


# The share of known recordings that may be answered with `unknown`. A model that has heard unknown
# sounds needs less; those of other players and rooms seem stranger to it than validation's do.
REFUSED = 0.05
REFUSED_WITH_BACKGROUND = 0.005


def fit_threshold(probabilities: NDArray[np.float64], classes: list[str]) -> float | None:
    """The certainty (see `answers.certainty`) below which an answer is `unknown`: all but a few of
    the recordings, [n, n_classes], reach it, which are all of known classes. None for none."""
    if len(probabilities) == 0:
        return None
    refused = REFUSED_WITH_BACKGROUND if UNKNOWN in classes else REFUSED
    return float(np.quantile(certainty(probabilities, classes), refused, method="lower"))


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The temperature T with which softmax(logits / T) has the lowest negative log-likelihood.

    Guo et al. 2017, arXiv:1706.04599, section 4.2; fitted on validation. logits: [n, n_classes];
    labels: int [n]. The likelihood is convex in 1 / T: its derivative, E[z_label] − E[z], is
    bisected over log T.
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
