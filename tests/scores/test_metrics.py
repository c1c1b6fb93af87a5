"""Metrics against scikit-learn and against restated definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from audiocls.scores.metrics import (
    expected_calibration_error,
    mean_by_recording,
    score_single_label,
)


@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 10_000))
def test_equal_to_scikit_learn(n: int, n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n_classes), n)
    y = np.append(rng.integers(0, n_classes, n - 1), 0)
    # One class is right always: balanced_accuracy_score warns about predicted-only classes.
    predicted = p.argmax(axis=1)
    out = score_single_label(p, y, [f"c{i}" for i in range(n_classes)])

    assert out["n"] == n
    assert out["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    present = np.unique(y)
    recall = recall_score(y, predicted, labels=present, average=None, zero_division=0)
    assert out["balanced_accuracy"] == pytest.approx(recall.mean())
    if set(predicted) <= set(y) and len(present) > 1:
        assert out["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert out["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    matrix = confusion_matrix(y, predicted, labels=range(n_classes))
    assert out["confusion"] == matrix.tolist()
    for i in range(n_classes):
        row = out["per_class"][f"c{i}"]
        assert row["n"] == (y == i).sum()
        for name, score in (("recall", recall_score), ("precision", precision_score)):
            if row[name] is not None:
                kwargs = {"labels": [i], "average": None, "zero_division": 0}
                assert row[name] == pytest.approx(score(y, predicted, **kwargs)[0])
        assert (row["recall"] is None) == (i not in y)
        assert (row["precision"] is None) == (i not in predicted)


def test_calibration_error_of_known_cases() -> None:
    # Always right and certain.
    assert expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0
    # Always certain, half right.
    assert expected_calibration_error([[1.0, 0.0], [1.0, 0.0]], [0, 1]) == pytest.approx(0.5)
    # 80 % sure, right four times of five: calibrated.
    p = np.tile([0.8, 0.2], (5, 1))
    assert expected_calibration_error(p, [0, 0, 0, 0, 1]) == pytest.approx(0, abs=1e-12)
    # Two bins, weights 3/4 and 1/4.
    p = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    expected = 0.75 * abs(2 / 3 - 0.9) + 0.25 * abs(1 - 0.6)
    assert expected_calibration_error(p, [0, 0, 1, 0]) == pytest.approx(expected)


@given(st.integers(1, 50), st.integers(0, 1000))
def test_calibration_error_as_defined(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4), n)
    y = rng.integers(0, 4, n)
    total = 0.0
    for m in range(15):
        inside = [i for i in range(n) if m / 15 < p[i].max() <= (m + 1) / 15]
        if inside:
            accuracy = np.mean([p[i].argmax() == y[i] for i in inside])
            confidence = np.mean([p[i].max() for i in inside])
            total += len(inside) / n * abs(accuracy - confidence)
    assert expected_calibration_error(p, y) == pytest.approx(total)


def test_recordings_are_judged_by_their_mean_probability() -> None:
    p = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.4, 0.6]]
    mean, ids = mean_by_recording(p, [7, 7, 2, 7])
    assert ids.tolist() == [2, 7]
    np.testing.assert_allclose(mean, [[0.2, 0.8], [1.7 / 3, 1.3 / 3]])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="probabilities"):
        score_single_label(np.zeros((3, 2)), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=">= 1"):
        score_single_label(np.zeros((0, 2)), [], ["a", "b"])
