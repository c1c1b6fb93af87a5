"""Which labels are probably wrong: confident learning.

Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset labels",
arXiv:1911.00068, section 3: what is counted off the diagonal of the confident joint. The tests
compare with `cleanlab.filter.find_label_issues(filter_by="confident_learning")` of cleanlab 2.9.

Everywhere here labels are int64 [n]; probabilities are [n, n_classes], of a model that was not
trained on the example.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Probabilities that differ by less are equal, as cleanlab has it.
ROUNDING = 1e-6


def class_thresholds(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns for each class the mean probability that it gets if it is the label, [n_classes].

    For a class that is nobody's label it is 2, which no probability reaches.
    """
    n = probabilities.shape[1]
    counts = np.bincount(labels, minlength=n)
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own, minlength=n)
    means = np.divide(sums, counts, out=np.full(n, 2.0), where=counts > 0)
    reached: NDArray[np.float64] = np.maximum(means, 2 * ROUNDING)
    return reached


def assign_confidently(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Returns the class that each example confidently belongs to, [n].

    If several classes reach their threshold, it is the most probable; if none does, it is -1.
    """
    reached = probabilities >= class_thresholds(labels, probabilities) - ROUNDING
    several = reached.sum(axis=1) > 1
    guess = np.where(several, probabilities.argmax(axis=1), reached.argmax(axis=1))
    return np.where(reached.any(axis=1), guess, -1)


def confident_joint(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Counts the examples of each label (row) that confidently belong to each class (column).

    Returns:
        int64 [n_classes, n_classes], at least one on the diagonal.
    """
    guess, n = assign_confidently(labels, probabilities), probabilities.shape[1]
    joint = np.zeros((n, n), np.int64)
    np.add.at(joint, (labels[guess >= 0], guess[guess >= 0]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint


def rank_by_doubt(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Returns the examples whose label is not the most probable, the least probable label first.

    cleanlab calls this order self-confidence.
    """
    own = probabilities[np.arange(len(labels)), labels]
    other = np.flatnonzero(probabilities.max(axis=1) > own)
    return other[np.argsort(own[other], kind="stable")]


def find_label_errors(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Returns the examples whose label is doubted, the least probable label first.

    They confidently belong to another class, and their label is not the most probable.
    """
    guess, rows = assign_confidently(labels, probabilities), np.arange(len(labels))
    favoured = probabilities.copy()
    favoured[rows, labels] += ROUNDING
    wrong = (guess >= 0) & (guess != labels) & (favoured.argmax(axis=1) != labels)
    found = np.flatnonzero(wrong)
    return found[np.argsort(probabilities[found, labels[found]], kind="stable")]
