"""A linear head on a body that stays as it is: logistic regression on embeddings."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.scores.metrics import negative_log_likelihood, softmax
from audiocls.store.labels import ONE
from audiocls.training.data.examples import Examples
from audiocls.training.data.sampling import Sampler
from audiocls.training.fitting.evaluation import embeddings_of
from audiocls.training.fitting.objective import OBJECTIVES, Row
from audiocls.training.fitting.state import TrainState
from audiocls.training.runtime.device import Device
from audiocls.training.trial import Trial

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# Inverse strengths of the penalty; embeddings have deviation 1.
STRENGTHS = tuple(10.0**e for e in range(-4, 3))
ITERATIONS = 1000


def fit_head(
    trial: Trial, state: TrainState, examples: Examples, validation: Examples, device: Device
) -> Row:
    """Gives the head the weights of a logistic regression with an L2 penalty, whose strength
    validation chooses; the training half of a row of the history.

    A clip weighs as often as the recipe's sampler would draw it.
    """
    started = time.perf_counter()
    classifier, labels = state.classifier, examples.labels
    x, x_val = (embeddings_of(classifier, part, device) for part in (examples, validation))
    recipe = trial.recipe
    sources = torch.from_numpy(examples.sources) if recipe.source else None
    sampler = Sampler(
        torch.from_numpy(labels), recipe.sampler, trial.seed, sources, recipe.source_temperature
    )
    weights = sampler.shares().numpy() * len(labels)
    find = regress if classifier.task.name == ONE else regress_several
    found = find(x, labels, weights, x_val, validation.labels)
    head = classifier.network.head
    with torch.no_grad():
        for parameter, values in ((head.weight, found.weight), (head.bias, found.bias)):
            parameter.copy_(torch.from_numpy(values))
    state.training_s += time.perf_counter() - started
    state.clips += len(labels)
    objective = OBJECTIVES[classifier.task.name]
    sums = objective.sums(len(classifier.classes_), device)
    logits = torch.from_numpy(x @ found.weight.T + found.bias).to(device.torch)
    y = torch.from_numpy(labels).to(device.torch)
    sums.add(y, objective.loss(logits, y, 0.0), logits)
    return {"epoch": state.epoch + 1, "lr": 0.0, "C": found.strength} | sums.means()


def begin_with_head(
    trial: Trial, state: TrainState, examples: Examples, validation: Examples, device: Device
) -> None:
    """Gives a state before its first epoch such a head."""
    fit_head(trial, state, examples, validation, device)
    if state.average is not None:
        state.average.load_state_dict(state.classifier.state_dict())


class Regression(NamedTuple):
    """A logistic regression: logits are x @ weight.T + bias."""

    weight: NDArray[np.float64]  # [n_classes, size]
    bias: NDArray[np.float64]  # [n_classes]
    strength: float  # scikit-learn's C; of several regressions the median


def regress(
    x: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    x_val: NDArray[np.float64],
    labels_val: NDArray[np.int64],
) -> Regression:
    """The logistic regression with an L2 penalty of the strength with which validation is most
    likely: of few recordings the loss tells more than how many are right.

    x: [n, size], labels: [n], each class among them; weights: [n], how much each counts.
    """
    # Scaled, so that the penalty is the same for all numbers; the result then undoes it.
    mean = np.average(x, axis=0, weights=weights)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    deviation = np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(mean)), deviation, np.inf)
    best, lowest = None, np.inf
    for c, model in _models((x - mean) / deviation, labels, weights):
        weight, bias = _rows(model, mean, deviation)
        loss = negative_log_likelihood(softmax(x_val @ weight.T + bias), labels_val)
        if loss < lowest:
            best, lowest = Regression(weight, bias, c), loss
    assert best is not None
    return best


def regress_several(
    x: NDArray[np.float64],
    labels: NDArray[np.generic],
    weights: NDArray[np.float64],
    x_val: NDArray[np.float64],
    labels_val: NDArray[np.generic],
) -> Regression:
    """A regression of every class against all others, for labels [n, n_classes] that are there or
    not; a class that is everywhere or nowhere gets its share alone."""
    there, val = np.asarray(labels) > 0.5, np.asarray(labels_val) > 0.5
    rows = []
    for k in range(there.shape[1]):
        y = there[:, k].astype(np.int64)
        if y.min() == y.max():
            sure = np.log((y.sum() + 0.5) / (len(y) - y.sum() + 0.5))
            rows.append((np.zeros(x.shape[1]), sure, 0.0))
            continue
        own = regress(x, y, weights, x_val, val[:, k].astype(np.int64))
        rows.append((own.weight[1] - own.weight[0], own.bias[1] - own.bias[0], own.strength))
    weight, bias, strengths = map(np.array, zip(*rows, strict=True))
    return Regression(weight, bias, float(np.median(strengths)))


def _models(
    x: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> list[tuple[float, LogisticRegression]]:
    """A logistic regression of every strength, each from where the one before ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fitted = []
    for c in STRENGTHS:
        model = LogisticRegression(C=c, max_iter=ITERATIONS)
        with warnings.catch_warnings():
            # Of separable classes and a weak penalty: validation tells whether it is good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.append((c, model.fit(x, labels, sample_weight=weights)))
    return fitted


def _rows(
    model: LogisticRegression, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [n_classes, size] and bias [n_classes] for embeddings as they are."""
    weight, bias = model.coef_, model.intercept_
    if len(bias) == 1:  # of two classes scikit-learn keeps the difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / deviation
    return weight, bias - weight @ mean
