"""Intervals and tests by group: against scipy, against loops, and on data whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audiocls.scores.metrics import score_single_label
from audiocls.scores.significance import (
    bootstrap_intervals,
    correct_by_holm,
    count_by_group,
    permutation_test,
    score_counts,
    wilson_interval,
)

SCORES = ("accuracy", "balanced_accuracy", "macro_f1")


def drawn(rng: np.random.Generator, n: int, n_groups: int, n_classes: int, hit: float) -> Any:
    """Labels, predictions and groups of n examples; whole groups are harder or easier."""
    groups = rng.integers(0, n_groups, n)
    labels = rng.integers(0, n_classes, n)
    ease = rng.normal(0, 1, n_groups)[groups]
    right = rng.random(n) < 1 / (1 + np.exp(-(np.log(hit / (1 - hit)) + ease)))
    predicted = np.where(right, labels, rng.integers(0, n_classes, n))
    return labels, predicted, groups


@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 10_000))
def test_scores_of_counts_are_the_metrics(n: int, n_classes: int, seed: int) -> None:
    labels, predicted, groups = drawn(np.random.default_rng(seed), n, 5, n_classes, 0.6)
    counts = count_by_group(labels, predicted, groups, 5, n_classes)
    scores = score_counts(counts.sum(axis=0))
    names = [f"c{i}" for i in range(n_classes)]
    expected = score_single_label(np.eye(n_classes)[predicted], labels, names)
    for name in SCORES:
        assert scores[name] == pytest.approx(expected[name])


def test_bootstrap_is_over_groups() -> None:
    """Against the same resampling written as a loop over scikit-learn's metrics."""
    rng = np.random.default_rng(1)
    labels, predicted, groups = drawn(rng, 300, 20, 4, 0.7)
    counts = count_by_group(labels, predicted, groups, 20, 4)
    values: dict[str, list[float]] = {name: [] for name in SCORES}
    for _ in range(400):
        chosen = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(0, 20, 20)])
        scores = score_single_label(np.eye(4)[predicted[chosen]], labels[chosen], list("abcd"))
        for name in SCORES:
            values[name].append(scores[name])
    found = bootstrap_intervals([counts])
    for name in SCORES:
        width = found[name][1] - found[name][0]
        expected = np.percentile(values[name], [2.5, 97.5])
        np.testing.assert_allclose(found[name], expected, atol=0.15 * width)
    # Two equal parts say no more than one; a seed repeats.
    both = bootstrap_intervals([counts, counts])
    assert all(both[name] == pytest.approx(found[name]) for name in SCORES)
    assert bootstrap_intervals([counts]) == found != bootstrap_intervals([counts], seed=1)
    one = count_by_group([0, 1, 1], [0, 1, 0], [0, 0, 0], 1, 2)
    assert bootstrap_intervals([one])["balanced_accuracy"] == (0.75, 0.75)


def test_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        # The expected accuracy is 0.75: a group is right always or half the time.
        groups = np.repeat(np.arange(40), 5)
        hit = np.where(rng.random(40) < 0.5, 1.0, 0.5)[groups]
        predicted = (rng.random(200) > hit).astype(int)
        counts = count_by_group(np.zeros(200, int), predicted, groups, 40, 2)
        low, high = bootstrap_intervals([counts])["accuracy"]
        inside += low <= 0.75 <= high
    assert stats.binomtest(inside, 200, 0.95).pvalue > 1e-3


@pytest.mark.parametrize("n", [2, 5, 9])
def test_exact_as_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(5):
        a, b = rng.integers(0, 5, (2, n)) / 4  # with ties and zeros
        result = stats.permutation_test(
            (a, b),
            lambda x, y, axis: (x - y).sum(axis=axis),
            permutation_type="samples",
            n_resamples=np.inf,
            vectorized=True,
        )
        assert permutation_test(a - b) == pytest.approx(result.pvalue)


def test_random_exchanges_come_near_the_normal_limit() -> None:
    d = np.random.default_rng(3).normal(0.1, 1, 200)
    z = abs(d.sum()) / np.sqrt((d**2).sum())
    assert permutation_test(d) == pytest.approx(2 * stats.norm.sf(z), rel=0.1)
    assert permutation_test(d) == permutation_test(-d)
    assert permutation_test(np.ones(100)) == pytest.approx(1 / 10_001)
    assert permutation_test([]) == permutation_test([0.0, 0.0]) == 1.0


def test_errors_on_equal_and_power_on_unequal_models() -> None:
    """5 % of the pairs of equal models are called different, nearly all unequal ones; a test that
    takes recordings as independent calls far too many.
    """
    rng = np.random.default_rng(4)
    wrong = naive = found = 0
    for _ in range(400):
        groups = np.repeat(np.arange(30), 8)
        # Equal models that fail together on a group, each by its own luck.
        ease = rng.choice([0.2, 0.95], (2, 30))[:, groups]
        a, b = (rng.random((2, 240)) < ease).astype(float)
        by_group = np.bincount(groups, a - b)
        wrong += permutation_test(by_group) < 0.05
        naive += stats.binomtest(int((a > b).sum()), int((a != b).sum())).pvalue < 0.05
        better = (rng.random(240) < np.minimum(ease[0] + 0.3, 1)).astype(float)
        worse = (rng.random(240) < ease[0]).astype(float)
        found += permutation_test(np.bincount(groups, better - worse)) < 0.05
    assert stats.binomtest(wrong, 400, 0.05).pvalue > 1e-3
    assert naive > 2 * 0.05 * 400
    assert found > 0.95 * 400


def test_holm() -> None:
    assert correct_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_by_holm([0.9, 0.8]) == [1.0, 1.0]
    assert correct_by_holm([]) == []


@given(st.integers(0, 30), st.integers(1, 30))
def test_wilson(hits: int, n: int) -> None:
    hits = min(hits, n)
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert wilson_interval(0, 0) == (0, 1)
