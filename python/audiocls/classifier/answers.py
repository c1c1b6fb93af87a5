"""From probabilities to what is said: a class, or `unknown`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN = "unknown"  # the answer below a threshold


def certainty(probabilities: ArrayLike, classes: list[str]) -> NDArray[np.float64]:
    """How certain it is that a sound is of a known class: [n], of probabilities [n, n_classes].

    Where a class named `unknown` trained, 1 - its probability, for it is a background class
    (Dhamija et al. 2018, "Reducing network agnostophobia", arXiv:1811.04110); else the probability
    of the best class (Hendrycks & Gimpel 2017, arXiv:1610.02136).
    """
    p = np.asarray(probabilities, np.float64)
    return 1 - p[:, classes.index(UNKNOWN)] if UNKNOWN in classes else p.max(axis=1)


def closed_set(probabilities: ArrayLike, classes: list[str]) -> NDArray[np.float64]:
    """Probabilities of the known classes, [n, known classes], given that it is one of them."""
    p = np.asarray(probabilities, np.float64)[:, [name != UNKNOWN for name in classes]]
    given: NDArray[np.float64] = p / np.maximum(
        p.sum(axis=1, keepdims=True), np.finfo(p.dtype).tiny
    )
    return given


def answers(
    probabilities: ArrayLike, classes: list[str], threshold: float | None
) -> tuple[list[str], NDArray[np.int64]]:
    """The labels of sounds, and in which columns of their probabilities [n, n_classes] these are.

    Below a certainty of `threshold` the label is `unknown`, else the best of the known classes;
    without a threshold the best of all. Where no class `unknown` trained, the column of that label
    is the best class, whose probability was too small.
    """
    p = np.asarray(probabilities, np.float64)
    if threshold is None:
        best = p.argmax(axis=1)
        return [classes[i] for i in best], best
    refused = certainty(p, classes) < threshold
    if UNKNOWN in classes:
        p = p.copy()
        p[:, classes.index(UNKNOWN)] = np.where(refused, np.inf, -np.inf)
    best = p.argmax(axis=1)
    return [UNKNOWN if no else classes[i] for no, i in zip(refused, best, strict=True)], best
