"""Confident learning against cleanlab, and against a case that is counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from audiocls.scores.confident_learning import confident_joint, find_label_errors, rank_by_doubt


def draw(seed: int, n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of unequal classes, a tenth of them exchanged, and probabilities of a fair model."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(n_classes, n, p=rng.dirichlet(np.full(n_classes, 2.0)))
    truth[:n_classes] = np.arange(n_classes)
    logits = rng.normal(size=(n, n_classes)) * 1.5
    logits[np.arange(n), truth] += 2.5
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = truth.copy()
    wrong = rng.permutation(np.arange(n_classes, n))[: n // 10]
    labels[wrong] = rng.integers(0, n_classes, len(wrong))
    return labels, p


@pytest.mark.parametrize(("n", "n_classes"), [(60, 2), (300, 3), (2000, 14), (500, 40)])
@pytest.mark.parametrize("seed", range(4))
def test_as_cleanlab(seed: int, n: int, n_classes: int) -> None:
    labels, p = draw(seed, n, n_classes)
    joint = compute_confident_joint(labels, p, calibrate=False)
    assert np.array_equal(confident_joint(labels, p), joint)
    expected = find_label_issues(
        labels,
        p,
        filter_by="confident_learning",
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    assert len(expected) > 0
    assert find_label_errors(labels, p).tolist() == expected.tolist()


def test_the_order_is_cleanlabs_self_confidence() -> None:
    labels, p = draw(5, 1000, 8)
    quality = get_label_quality_scores(labels, p, method="self_confidence")
    order = [i for i in np.argsort(quality, kind="stable") if p[i].argmax() != labels[i]]
    assert rank_by_doubt(labels, p).tolist() == order


def test_ties_and_sure_models_as_cleanlab() -> None:
    p = np.round(draw(1, 400, 4)[1], 1) + 1e-9
    p /= p.sum(axis=1, keepdims=True)
    labels = draw(1, 400, 4)[0]
    assert np.array_equal(
        confident_joint(labels, p), compute_confident_joint(labels, p, calibrate=False)
    )
    mask = find_label_issues(labels, p, filter_by="confident_learning", n_jobs=1)
    assert sorted(find_label_errors(labels, p)) == np.flatnonzero(mask).tolist()


def test_counted_by_hand() -> None:
    # Thresholds: of a (0.9 + 0.7 + 0.2) / 3 = 0.6, of b (0.8 + 0.6) / 2 = 0.7.
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.4, 0.6]])
    labels = np.array([0, 0, 0, 1, 1])
    assert confident_joint(labels, p).tolist() == [[2, 1], [0, 1]]
    assert find_label_errors(labels, p).tolist() == [2]
    assert rank_by_doubt(labels, p).tolist() == [2]
