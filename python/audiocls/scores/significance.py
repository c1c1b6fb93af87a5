"""How far a score can be trusted, and whether two scores differ: by whole groups.

Recordings of one group (one pitch of one instrument, one player) succeed and fail together. So the
group, not the recording, is what is drawn again or exchanged.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
PERMUTATIONS = 10_000
ENDS = (2.5, 97.5)  # percentiles: intervals of 95 %
Z_95 = 1.959964  # within so many deviations a normal variable is in 95 % of the cases
# Rows of random numbers at once.
_CHUNK = 250


def count_by_group(
    labels: ArrayLike, predicted: ArrayLike, groups: ArrayLike, n_groups: int, n_classes: int
) -> NDArray[np.float64]:
    """Counts hits, true examples and predictions of each class in each group.

    Args:
        labels: the class of each example, int [n].
        predicted: its predicted class, int [n].
        groups: the number of its group, int [n].
        n_groups: how many groups there are.
        n_classes: how many classes there are.

    Returns:
        [n_groups, 3, n_classes].
    """
    y, p, g = (np.asarray(x, np.int64) for x in (labels, predicted, groups))
    counts = np.zeros((n_groups, 3, n_classes))
    # A view a kind of count: hits, true, predicted.
    for kind, (rows, classes) in enumerate(((g[y == p], y[y == p]), (g, y), (g, p))):
        np.add.at(counts[:, kind], (rows, classes), 1)
    return counts


def score_counts(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Returns accuracy, balanced_accuracy and macro_f1 of counts, as `metrics.score_single_label`.

    Args:
        counts: [..., 3, n_classes], of `count_by_group`, added up.

    Returns:
        [...] each; NaN without examples.
    """
    hits, n_true, n_predicted = np.moveaxis(counts, -2, 0)
    recall, has_recall = _share(hits, n_true)
    f1, has_f1 = _share(2 * hits, n_true + n_predicted)
    mean = [_share(x.sum(-1), has.sum(-1)) for x, has in ((recall, has_recall), (f1, has_f1))]
    accuracy = _share(hits.sum(-1), n_true.sum(-1))
    named = zip(("accuracy", "balanced_accuracy", "macro_f1"), (accuracy, *mean), strict=True)
    return {name: np.where(defined, value, np.nan) for name, (value, defined) in named}


def bootstrap_intervals(
    parts: Sequence[NDArray[np.float64]], seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns 95 % percentile bootstrap intervals of the scores, each the mean over `parts`.

    As many groups as there are are drawn with replacement, 2,000 times, the same for all parts.
    Efron & Tibshirani 1993, "An introduction to the bootstrap", section 13.3.

    Args:
        parts: `count_by_group` of one or more test parts with a common list of groups.
        seed: of the draws.
    """
    return bootstrap_groups(
        [functools.partial(_added_up, counts=part) for part in parts],
        len(parts[0]),
        seed,
    )


def _added_up(
    times: NDArray[np.float64], counts: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    return score_counts(np.tensordot(times, counts, 1))


def bootstrap_groups(
    parts: Sequence[Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]],
    n_groups: int,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Returns the same intervals for any scores. A score that no draw defines has no interval.

    Args:
        parts: each takes how often each group is drawn, [draws, n_groups], and gives scores,
            [draws].
        n_groups: how many groups there are.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {}
    for start in range(0, RESAMPLES, _CHUNK):
        rows = min(_CHUNK, RESAMPLES - start)
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), rows)
        scores = [part(times.astype(np.float64)) for part in parts]
        for name in scores[0]:
            drawn.setdefault(name, []).append(np.mean([s[name] for s in scores], axis=0))
    intervals = {}
    for name, values in drawn.items():
        if not np.isnan(known := np.concatenate(values)).all():
            low, high = np.nanpercentile(known, ENDS)
            intervals[name] = (float(low), float(high))
    return intervals


def permutation_test(differences: ArrayLike, seed: int = 0) -> float:
    """Returns the two-sided p-value of a sum of paired differences, one a group.

    The two sides of whole groups are exchanged (a sign a group). The test is exact if the groups
    that differ have no more than 10,000 exchanges, else it makes 10,000 random ones. Phipson &
    Smyth 2010, "Permutation p-values should never be zero": the observation counts as one of them.

    Args:
        differences: [n_groups].
        seed: of the exchanges.
    """
    d = np.asarray(differences, np.float64)
    d = d[d != 0]
    if len(d) == 0:
        return 1.0
    least = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # sums in another order round differently
    if 2 ** len(d) <= PERMUTATIONS:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(d))))
        return float(np.mean(np.abs(signs @ d) >= least))
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, PERMUTATIONS, _CHUNK):
        rows = min(_CHUNK, PERMUTATIONS - start)
        signs = 2.0 * rng.integers(0, 2, (rows, len(d)), dtype=np.int8) - 1
        extreme += int((np.abs(signs @ d) >= least).sum())
    return (extreme + 1) / (PERMUTATIONS + 1)


def exchange_test(
    difference: Callable[[NDArray[np.bool_]], NDArray[np.float64]],
    n_groups: int,
    exchanges: int,
    seed: int = 0,
) -> float:
    """Returns the same p-value for a difference that is no sum over groups.

    Args:
        difference: takes bool [draws, n_groups], the groups whose sides are exchanged, and gives
            the difference, [draws].
        n_groups: how many groups there are.
        exchanges: how many are made.
        seed: of the exchanges.
    """
    rng = np.random.default_rng(seed)
    least = abs(float(difference(np.zeros((1, n_groups), np.bool_))[0])) - 1e-12
    extreme = 0
    for start in range(0, exchanges, _CHUNK):
        swap = rng.random((min(_CHUNK, exchanges - start), n_groups)) < 0.5
        extreme += int((np.abs(difference(swap)) >= least).sum())
    return (extreme + 1) / (exchanges + 1)


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number.

    Those below α together are wrong with a probability of at most α. Holm 1979, "A simple
    sequentially rejective multiple test procedure".
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return [float(x) for x in np.minimum(corrected, 1.0)]


def wilson_interval(hits: float, n: float) -> tuple[float, float]:
    """Returns the 95 % interval of a share of n independent cases; (0, 1) for none.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n <= 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _share(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns a / b, 0 if b is 0, and whether it is not."""
    b = np.asarray(b, np.float64)
    return np.divide(a, b, out=np.zeros(b.shape), where=b > 0), b > 0
