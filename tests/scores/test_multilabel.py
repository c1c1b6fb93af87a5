"""Scores of several labels, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score

from audiocls.scores.metrics import sigmoid
from audiocls.scores.multilabel import linear_softmax, score_multilabel, score_weighted


def drawn(n: int = 300, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, some of them equal, and labels that follow them."""
    rng = np.random.default_rng(seed)
    p = rng.random((n, n_classes)).round(2)
    return p, rng.random((n, n_classes)) < p


def test_scores_are_those_of_scikit_learn() -> None:
    p, y = drawn()
    limits = np.array([0.3, 0.5, 0.7])
    found = score_multilabel(p, y, ["a", "b", "c"], limits)
    assert found["map"] == pytest.approx(average_precision_score(y, p, average="macro"))
    assert found["auroc"] == pytest.approx(roc_auc_score(y, p, average="macro"))
    said = p >= limits
    assert found["macro_f1"] == pytest.approx(f1_score(y, said, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(y, said, average="micro"))
    clipped = np.clip(p, 1e-12, 1 - 1e-12)
    expected = np.mean([log_loss(y[:, i], clipped[:, i]) for i in range(3)])
    assert found["nll"] == pytest.approx(expected, rel=0.02)
    assert found["n"] == 300
    assert [row["n"] for row in found["per_class"].values()] == y.sum(axis=0).tolist()
    assert found["ece"] < 0.1 < score_multilabel(p**4, y, ["a", "b", "c"])["ece"]


def test_a_class_without_examples_counts_in_no_mean() -> None:
    p, y = drawn()
    y[:, 2] = False
    found = score_multilabel(p, y, ["a", "b", "c"], 1.1)
    assert found["per_class"]["c"]["average_precision"] is None
    assert found["per_class"]["c"]["auroc"] is None
    assert found["per_class"]["c"]["f1"] is None
    assert found["map"] == pytest.approx(average_precision_score(y[:, :2], p[:, :2]))
    nothing = score_multilabel(p, np.zeros_like(y), ["a", "b", "c"])
    assert nothing["map"] is None


@pytest.mark.parametrize("shape", [(0, 3), (300, 2)])
def test_what_does_not_fit_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        score_multilabel(np.zeros(shape), np.zeros((300, 3)), ["a", "b", "c"])


def test_weights_are_repetitions() -> None:
    p, y = drawn(60)
    said = p >= 0.5
    weights = np.random.default_rng(1).integers(0, 4, (20, 60))
    found = score_weighted(p, y, said, weights.astype(float))
    for row, (map_, auroc, f1) in zip(weights, zip(*found.values(), strict=True), strict=True):
        ids = np.repeat(np.arange(60), row)
        assert map_ == pytest.approx(average_precision_score(y[ids], p[ids], average="macro"))
        assert auroc == pytest.approx(roc_auc_score(y[ids], p[ids], average="macro"))
        assert f1 == pytest.approx(f1_score(y[ids], said[ids], average="macro"))


def test_pooling_keeps_what_is_short() -> None:
    p = np.array([[0.4, 0.01]] * 9 + [[0.4, 0.9]] + [[0.2, 0.0]])
    pooled, ids = linear_softmax(p, [7] * 10 + [3])
    assert ids.tolist() == [3, 7]
    np.testing.assert_allclose(pooled[0], [0.2, 0.0])
    np.testing.assert_allclose(pooled[1], [0.4, (9e-4 * 1 + 0.81) / 0.99], atol=1e-3)


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
