"""Which labels are probably wrong: confident learning.

Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels",
arXiv:1911.00068, section 3: what is counted off the diagonal of the confident joint. As
`cleanlab.filter.find_label_issues(filter_by="confident_learning")` of cleanlab 2.9 finds it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Probabilities that differ by less are equal, as cleanlab has it.
ROUNDING = 1e-6


def thresholds(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each class the mean probability that it gets where it is the label, [n_classes]; of a
    class that is nobody's label 2, which no probability reaches."""
    n = probabilities.shape[1]
    counts = np.bincount(labels, minlength=n)
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own, minlength=n)
    means = np.divide(sums, counts, out=np.full(n, 2.0), where=counts > 0)
    reached: NDArray[np.float64] = np.maximum(means, 2 * ROUNDING)
    return reached


def believed(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class that each example is confidently of, [n]: the most probable where several reach
    their threshold; -1 where none does.

    probabilities: [n, n_classes], of a model that was not trained on the example.
    """
    reached = probabilities >= thresholds(labels, probabilities) - ROUNDING
    several = reached.sum(axis=1) > 1
    guess = np.where(several, probabilities.argmax(axis=1), reached.argmax(axis=1))
    return np.where(reached.any(axis=1), guess, -1)


def confident_joint(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many examples of each label (row) are confidently of each class (column),
    [n_classes, n_classes]; at least one on the diagonal."""
    guess, n = believed(labels, probabilities), probabilities.shape[1]
    joint = np.zeros((n, n), np.int64)
    np.add.at(joint, (labels[guess >= 0], guess[guess >= 0]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint


def by_doubt(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The examples whose label is not the most probable, the least probable label first: the order
    that cleanlab calls self-confidence."""
    own = probabilities[np.arange(len(labels)), labels]
    other = np.flatnonzero(probabilities.max(axis=1) > own)
    return other[np.argsort(own[other], kind="stable")]


def doubtful(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The examples whose label is doubted, the most doubtful first: confidently of another class,
    and their label not the most probable; by the probability of the label."""
    guess, rows = believed(labels, probabilities), np.arange(len(labels))
    favoured = probabilities.copy()
    favoured[rows, labels] += ROUNDING
    wrong = (guess >= 0) & (guess != labels) & (favoured.argmax(axis=1) != labels)
    found = np.flatnonzero(wrong)
    return found[np.argsort(probabilities[found, labels[found]], kind="stable")]
