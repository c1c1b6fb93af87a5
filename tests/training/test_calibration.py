"""The temperature, fitted where the likelihood is greatest; the threshold, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from audiocls.classifier.answers import choose_labels
from audiocls.scores.metrics import negative_log_likelihood, softmax
from audiocls.training.fitting.calibration import COLDEST, HOTTEST, fit_temperature, fit_threshold


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_it_is_the_one_with_the_greatest_likelihood(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 5)) * 2
    p = softmax(logits)
    labels = np.array([rng.choice(5, p=row) for row in p])
    logits *= sharpness
    found = fit_temperature(logits, labels)
    oracle = minimize_scalar(
        lambda t: negative_log_likelihood(softmax(logits, np.exp(t)), labels),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found == pytest.approx(np.exp(oracle.x), rel=1e-5)
    assert found == pytest.approx(sharpness, rel=0.2)


def test_without_information_it_stays_within_bounds() -> None:
    right = np.eye(3) * 5
    assert fit_temperature(right, np.arange(3)) == pytest.approx(COLDEST)
    assert fit_temperature(right, (np.arange(3) + 1) % 3) == pytest.approx(HOTTEST)
    assert fit_temperature(np.empty((0, 3)), np.empty(0, np.int64)) == 1


def test_the_threshold_refuses_few_of_the_known() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.3, 0.3, 0.3], 400)
    threshold = fit_threshold(p, ["a", "b", "c"])
    assert threshold is not None
    assert (p.max(axis=1) < threshold).mean() == pytest.approx(0.05, abs=0.005)
    threshold = fit_threshold(p, ["a", "unknown", "c"])
    assert threshold is not None
    assert (p[:, [0, 2]].sum(axis=1) < threshold).mean() == pytest.approx(0.005, abs=0.002)
    assert fit_threshold(p[:0], ["a", "b", "c"]) is None


@pytest.mark.parametrize(
    ("classes", "threshold", "labels", "columns"),
    [
        ("a b c", None, "a c b", [0, 2, 1]),
        ("a b c", 0.5, "a unknown b", [0, 2, 1]),  # the best class was not certain enough
        ("a b unknown", None, "a unknown b", [0, 2, 1]),
        ("a b unknown", 0.5, "a b b", [0, 1, 1]),
        ("a b unknown", 0.6, "a unknown b", [0, 2, 1]),
        ("a b unknown", 0.75, "unknown unknown b", [2, 2, 1]),  # more than the best class is
        ("a b unknown", 0, "a b b", [0, 1, 1]),
    ],
)
def test_what_is_said(
    classes: str, threshold: float | None, labels: str, columns: list[int]
) -> None:
    p = np.array([[0.65, 0.05, 0.3], [0.15, 0.4, 0.45], [0.05, 0.9, 0.05]])
    before = p.copy()
    said, best = choose_labels(p, classes.split(), threshold)
    assert (said, list(best)) == (labels.split(), columns)
    assert (p == before).all()
