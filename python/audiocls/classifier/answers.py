"""Labels from probabilities: a class, or `unknown`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN = "unknown"  # the answer below a threshold


def certainty(probabilities: ArrayLike, classes: list[str]) -> NDArray[np.float64]:
    """Returns how certain it is that a sound is of a known class, [n].

    If a class named `unknown` trained, this is 1 - its probability, because it is a background
    class (Dhamija et al. 2018, "Reducing network agnostophobia", arXiv:1811.04110). Otherwise it is
    the probability of the best class (Hendrycks & Gimpel 2017, arXiv:1610.02136).

    Args:
        probabilities: [n, n_classes].
        classes: their names.
    """
    p = np.asarray(probabilities, np.float64)
    return 1 - p[:, classes.index(UNKNOWN)] if UNKNOWN in classes else p.max(axis=1)


def renormalise_known(probabilities: ArrayLike, classes: list[str]) -> NDArray[np.float64]:
    """Returns the probabilities of the known classes, if the sound is one of them.

    [n, known classes]; each row adds up to 1.

    Args:
        probabilities: [n, n_classes].
        classes: their names; `unknown` is no known class.
    """
    p = np.asarray(probabilities, np.float64)[:, [name != UNKNOWN for name in classes]]
    given: NDArray[np.float64] = p / np.maximum(
        p.sum(axis=1, keepdims=True), np.finfo(p.dtype).tiny
    )
    return given


def choose_labels(
    probabilities: ArrayLike, classes: list[str], threshold: float | None
) -> tuple[list[str], NDArray[np.int64]]:
    """Chooses the label of each sound.

    Below a certainty of `threshold` the label is `unknown`, else it is the best known class.
    Without a threshold it is the best class of all.

    Args:
        probabilities: [n, n_classes].
        classes: their names.
        threshold: the least certainty of an answer; see `certainty`.

    Returns:
        The labels, and the column of each in `probabilities`, [n]. If no class `unknown` trained,
        the column of that label is the best class, whose probability was too small.
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
