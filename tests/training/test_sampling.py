"""Samplers: how often each class and each example is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from audiocls.errors import SettingError
from audiocls.training.data.sampling import Sampler

SIZES = [762, 58, 300, 1, 200]  # imbalanced as real collections are; class 3 has one example
LABELS = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(5), SIZES)))


@pytest.mark.parametrize(("kind", "weights"), [("balanced", np.ones(5)), ("sqrt", np.sqrt(SIZES))])
def test_classes_are_drawn_with_the_stated_probability(kind: str, weights: np.ndarray) -> None:
    drawn = LABELS[Sampler(LABELS, kind, seed=1).draw(20_000)]
    observed = np.bincount(drawn, minlength=5)
    expected = 20_000 * weights / weights.sum()
    assert chisquare(observed, expected).pvalue > 0.01
    # The test can fail: the class sizes as they came are far off.
    assert chisquare(observed, 20_000 * np.array(SIZES) / sum(SIZES)).pvalue < 1e-9


@pytest.mark.parametrize(("temperature", "power"), [(0.0, 0), (0.5, 0.5), (1.0, 1)])
def test_a_temperature_lies_between_equal_and_proportional_sources(
    temperature: float, power: float
) -> None:
    sizes = np.array([[400, 9, 40], [25, 100, 0]])  # of a class, by source
    labels, sources = np.repeat(np.argwhere(sizes >= 0), sizes.ravel(), axis=0).T
    sampler = Sampler(
        torch.from_numpy(labels),
        "balanced",
        7,
        torch.from_numpy(sources),
        source_temperature=temperature,
    )
    drawn = sampler.draw(30_000).numpy()
    observed = np.array([[((labels == c) & (sources == s))[drawn].sum() for s in range(3)]
                         for c in range(2)])  # fmt: skip
    weights = np.where(sizes > 0, sizes.astype(float) ** power, 0)
    expected = 15_000 * weights / weights.sum(axis=1, keepdims=True)
    there = sizes > 0
    assert (observed[~there] == 0).all()
    scale = observed[there].sum() / expected[there].sum()
    assert chisquare(observed[there], expected[there] * scale).pvalue > 0.01


def test_balanced_is_uniform_within_a_class() -> None:
    drawn = Sampler(LABELS, "balanced", seed=2).draw(60_000)
    for c in (0, 1, 2):
        of_class = drawn[LABELS[drawn] == c]
        observed = torch.bincount(of_class, minlength=len(LABELS))[c == LABELS]
        assert chisquare(observed.numpy()).pvalue > 0.01


def test_natural_sees_every_example_once_a_round() -> None:
    n = len(LABELS)
    sampler = Sampler(LABELS, "natural")
    drawn = sampler.draw(2 * n)
    for half in (drawn[:n], drawn[n:]):
        assert torch.equal(half.sort().values, torch.arange(n))
    assert not torch.equal(drawn[:n], drawn[n:])


@pytest.mark.parametrize("kind", ["balanced", "natural", "sqrt"])
def test_a_seed_repeats_and_another_does_not(kind: str) -> None:
    a, b, c = (Sampler(LABELS, kind, seed).draw(500) for seed in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.dtype == torch.int64


def test_classes_without_examples_are_not_drawn() -> None:
    labels = torch.tensor([1, 1, 4, 4, 4])
    drawn = Sampler(labels, "balanced").draw(1000)
    assert set(labels[drawn].tolist()) == {1, 4}


@pytest.mark.parametrize("kind", ["balanced", "natural"])
def test_what_is_alike_is_of_the_same_class_and_source(kind: str) -> None:
    sources = None if kind == "natural" else torch.arange(len(LABELS)) % 3
    sampler = Sampler(LABELS, kind, 5, sources)
    ids = torch.arange(len(LABELS))
    found = sampler.draw_alike(ids, 40, epoch=2)
    assert found.shape == (len(LABELS), 40)
    assert (LABELS[found] == LABELS[:, None]).all()
    if sources is not None:
        assert (sources[found] == sources[:, None]).all()
    assert len(found[LABELS == 2].unique()) == SIZES[2], "all of them"
    assert torch.equal(found, sampler.draw_alike(ids, 40, epoch=2))
    assert not torch.equal(found, sampler.draw_alike(ids, 40, epoch=3))


def test_refusals() -> None:
    with pytest.raises(SettingError, match="did you mean 'balanced'"):
        Sampler(LABELS, "balance")
    with pytest.raises(SettingError, match="at least one example"):
        Sampler(torch.empty(0, dtype=torch.int64))
