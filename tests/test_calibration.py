"""The temperature: fitted where the likelihood is greatest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from audiocls.metrics import negative_log_likelihood, softmax
from audiocls.training.calibration import COLDEST, HOTTEST, fit_temperature


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
