"""A linear head on a body that stays as it is: logistic regression on embeddings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.training.data.examples import Examples
from audiocls.training.data.sampling import make_sampler
from audiocls.training.fitting.evaluation import compute_embeddings
from audiocls.training.fitting.objective import OBJECTIVES, Row
from audiocls.training.fitting.state import TrainState
from audiocls.training.runtime.device import Device
from audiocls.training.trial import Trial

# Inverse strengths of the penalty; embeddings have deviation 1.
STRENGTHS = tuple(10.0**e for e in range(-4, 3))
ITERATIONS = 5000


def fit_head(
    trial: Trial, state: TrainState, examples: Examples, validation: Examples, device: Device
) -> Row:
    """Gives the head the weights of a logistic regression with an L2 penalty.

    Validation chooses the strength of the penalty. A clip weighs as often as the recipe's sampler
    would draw it.

    Returns:
        The training half of a row of the history.
    """
    started = time.perf_counter()
    model, labels = state.model, examples.labels
    x, x_val = (compute_embeddings(model, part, device) for part in (examples, validation))
    weights = make_sampler(trial, examples).shares().numpy() * len(labels)
    found = fit_regression(x, labels, weights, x_val, validation.labels)
    head = model.network.head
    with torch.no_grad():
        for parameter, values in ((head.weight, found.weight), (head.bias, found.bias)):
            parameter.copy_(torch.from_numpy(values))
    state.training_s += time.perf_counter() - started
    state.clips += len(labels)
    objective = state.objective
    own = objective.score_validation(x @ found.weight.T + found.bias, labels, model.classes_)
    return {
        "epoch": state.epoch + 1,
        "lr": 0.0,
        "C": found.strength,
        **{f"train_{name}": own[f"val_{name}"] for name in ("loss", objective.main)},
    }


def start_from_head(
    trial: Trial, state: TrainState, examples: Examples, validation: Examples, device: Device
) -> None:
    """Gives a state before its first epoch such a head."""
    fit_head(trial, state, examples, validation, device)
    for own in (state.average, state.anchor):
        if own is not None:
            own.load_state_dict(state.model.state_dict())


class Regression(NamedTuple):
    """A logistic regression: logits are x @ weight.T + bias."""

    weight: NDArray[np.float64]  # [n_classes, size]
    bias: NDArray[np.float64]  # [n_classes]
    strength: float  # scikit-learn's C


def fit_regression(
    x: NDArray[np.float64],
    labels: NDArray[Any],
    weights: NDArray[np.float64],
    x_val: NDArray[np.float64],
    labels_val: NDArray[Any],
) -> Regression:
    """Fits a logistic regression with an L2 penalty, for several labels one a class.

    The strength is that with which validation is most likely: with few recordings the loss tells
    more than how many are right.

    Args:
        x: [n, size].
        labels: int64 [n], each class among them, or bool [n, n_classes].
        weights: how much each row counts, [n].
        x_val: [n_val, size].
        labels_val: as `labels`.
    """
    objective = OBJECTIVES["one" if labels.ndim == 1 else "several"]
    # Scaled, so that the penalty is the same for all numbers; the result then undoes it.
    mean = np.average(x, axis=0, weights=weights)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    deviation = np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(mean)), deviation, np.inf)
    best, lowest = None, np.inf
    columns = [labels] if labels.ndim == 1 else list(labels.T.astype(np.int64))
    models = [_models((x - mean) / deviation, own, weights) for own in columns]
    for c, *own in zip(STRENGTHS, *models, strict=True):
        weight, bias = _rows(own, mean, deviation)
        names = [str(number) for number in range(len(bias))]
        loss = objective.score_validation(x_val @ weight.T + bias, labels_val, names)["val_loss"]
        if loss < lowest:
            best, lowest = Regression(weight, bias, c), loss
    assert best is not None
    return best


def _models(
    x: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Returns the rows and biases of a logistic regression of every strength.

    There is one a class, or of two classes, there or not, the row of the second.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) == 1:  # a label that each clip has: nothing tells when it is there
        return [(np.zeros((1, x.shape[1])), np.full(1, np.log(len(x) + 1.0)))] * len(STRENGTHS)
    fitted = []
    for c in STRENGTHS:
        model = LogisticRegression(C=c, max_iter=ITERATIONS, tol=1e-7)
        with warnings.catch_warnings():
            # Of separable classes and a weak penalty: validation tells whether it is good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, labels, sample_weight=weights)
        fitted.append((model.coef_, model.intercept_))
    return fitted


def _rows(
    models: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns weights [n_classes, size] and bias [n_classes] for embeddings as they are."""
    weight, bias = (np.concatenate(parts) for parts in zip(*models, strict=True))
    if len(models) == len(bias) == 1:  # of two classes scikit-learn keeps the difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / deviation
    return weight, bias - weight @ mean
