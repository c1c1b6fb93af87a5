"""What a recipe does to features, labels and weights, against restatements of the formulas."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_store import tiny_store
from torch import Tensor

from audiocls.engine.spec import FeatureSpec
from audiocls.training import Device, Recipe, Trial
from audiocls.training.data.examples import TrainingBatch, split_examples
from audiocls.training.data.feature_augmentation import (
    Draws,
    FeatureAugmentation,
    augment,
    draw,
    draw_noise,
    transmit,
)
from audiocls.training.data.splits import TRAIN, make_split
from audiocls.training.fitting.epoch import _step
from audiocls.training.fitting.state import TrainState
from audiocls.training.loop import new_state
from audiocls.training.runtime.randomness import Purpose, make_generator

CPU = Device.pick("cpu")
MEAN = torch.arange(20.0)


def draws_of(n: int = 400, **fields: float) -> Draws:
    names = ("mixup", "time_mask", "freq_mask", "mel_shift", "mel_band", "mel_noise")
    recipe = Recipe(**(dict.fromkeys(names, 0.0) | fields))  # type: ignore[arg-type]
    return draw(recipe, n, make_generator(0, 1, Purpose.AUGMENTATION))


def changed(x: Tensor, y: Tensor) -> np.ndarray:
    return (x != y).numpy()


@pytest.mark.parametrize("lengths", [None, torch.arange(400) % 25 + 6])
def test_time_masks_cover_whole_frames_of_a_stripe(lengths: Tensor | None) -> None:
    x = torch.randn(400, 30, 20)
    draws = draws_of(time_mask=0.4)
    masked = augment(x, draws, MEAN, lengths)
    frames = changed(x, masked)
    assert (frames.all(axis=2) == frames.any(axis=2)).all(), "all features of a frame, or none"
    starts = []
    for clip in range(400):
        own = 30 if lengths is None else int(lengths[clip])
        at = np.flatnonzero(frames[clip, :, 0])
        assert len(at) == round(float(draws.time_width[clip]) * own)
        assert len(at) <= round(0.4 * own)
        if len(at):
            assert at[-1] - at[0] == len(at) - 1, "one stripe"
            assert at[-1] < own
            starts.append(at[0])
            torch.testing.assert_close(masked[clip, at[0]], MEAN)
    assert len(set(starts)) > 10
    assert float(draws.time_width.mean()) == pytest.approx(0.2, abs=0.02)


def test_frequency_masks_cover_whole_features_of_a_stripe() -> None:
    x = torch.randn(400, 30, 20)
    draws = draws_of(freq_mask=0.5)
    masked = augment(x, draws, MEAN)
    cells = changed(x, masked)
    assert (cells.all(axis=1) == cells.any(axis=1)).all(), "a feature in all frames, or in none"
    for clip in range(400):
        at = np.flatnonzero(cells[clip, 0])
        assert len(at) == round(float(draws.freq_width[clip]) * 20)
        if len(at):
            assert at[-1] - at[0] == len(at) - 1
            torch.testing.assert_close(masked[clip, 3, at], MEAN[at])


def test_features_are_shifted_by_whole_bands() -> None:
    x = torch.randn(400, 3, 20)
    draws = draws_of(mel_shift=0.2)
    shifted = augment(x, draws, MEAN)
    by = np.round(20 * draws.shift.numpy()).astype(int)
    assert set(by) == set(range(-4, 5))
    for clip, up in enumerate(by):
        expected = np.tile(MEAN.numpy(), (3, 1))
        for band in range(20):
            if 0 <= band - up < 20:
                expected[:, band] = x[clip, :, band - up]
        assert np.array_equal(shifted[clip].numpy(), expected)


def test_only_mel_bands_of_a_store_are_shifted() -> None:
    numbers = make_generator(0, 1, Purpose.AUGMENTATION)
    assert not draw(Recipe(mel_shift=0.2), 9, numbers, mel=False).shift.any()


@pytest.mark.parametrize("lengths", [None, torch.arange(400) % 25 + 6])
def test_a_band_is_left_of_the_features(lengths: Tensor | None) -> None:
    spec = FeatureSpec.preset("fbank")
    unit = np.log(10) / 10
    x = 40 * unit * torch.rand(400, 30, 20) - 50
    draws = draws_of(mel_band=0.5)
    got = transmit(x, draws, torch.zeros(9, 20), spec, lengths).numpy()
    for clip in range(400):
        own = slice(0, 30 if lengths is None else int(lengths[clip]))
        low, high, less = (float(d[clip]) for d in draws[7:10])
        band = np.arange(20) / 20
        outside = (band < low) | (band >= high)
        expected = x[clip, own].numpy().copy()
        quietest = expected.min()
        expected[:, outside] = np.maximum(expected[:, outside] - unit * less, quietest)
        np.testing.assert_allclose(got[clip, own], expected, atol=1e-4)
    limited = draws.band_db.numpy() > 0
    assert 0.4 < limited.mean() < 0.6
    assert draws.band_db[limited].min() > 20


@pytest.mark.parametrize("lengths", [None, torch.arange(401) % 25 + 6])
def test_styles_are_mixed_in_pairs(lengths: Tensor | None) -> None:
    """Mean and deviation of every band become those between the two of a pair."""
    x = 5 * torch.randn(401, 30, 20) + 3
    draws = draws_of(401, mixstyle=0.5)
    styled = augment(x, draws, MEAN, lengths).numpy()
    share = draws.style.numpy()
    assert 0.4 < (share > 0).mean() < 0.6
    for i in range(401):
        j = min(i ^ 1, 400)
        own, other = (x[k, : 30 if lengths is None else int(lengths[k])].numpy() for k in (i, j))
        got = styled[i, : len(own)]
        for what in (np.mean, np.std):
            wanted = (1 - share[i]) * what(own, axis=0) + share[i] * what(other, axis=0)
            np.testing.assert_allclose(what(got, axis=0), wanted, atol=1e-3)
        if share[i] == 0:
            np.testing.assert_allclose(got, own, atol=1e-4)


@pytest.mark.parametrize("lengths", [None, torch.arange(400) % 25 + 6])
@pytest.mark.parametrize("name", ["mel", "fbank", "whisper"])
def test_noise_is_added_as_power(name: str, lengths: Tensor | None) -> None:
    """In decibels, natural logarithm, and a tenth's logarithm that is scaled."""
    spec = FeatureSpec.preset(name)
    unit = {"mel": 1, "fbank": np.log(10) / 10, "whisper": 0.1 / 4}[name]
    x = 10 * unit * torch.randn(400, 30, 20)
    draws = draws_of(mel_noise=0.5)
    noise = draw_noise(20, make_generator(0, 1, Purpose.ORDER))
    got = transmit(x, draws, noise, spec, lengths).numpy() / unit
    expected, at = x.numpy() / unit, noise.numpy()
    for clip in range(400):
        if draws.noise_db[clip].isinf():
            np.testing.assert_allclose(got[clip], expected[clip], atol=1e-3)
            continue
        own = 30 if lengths is None else int(lengths[clip])
        first = int(draws.noise_start[clip] * len(noise))
        level = expected[clip, :own].max() - float(draws.noise_db[clip])
        tilt = float(draws.noise_tilt[clip]) * (np.arange(20) / 19 - 0.5)
        added = level + tilt + at[(first + np.arange(own)) % len(at)]
        power = 10 ** (expected[clip, :own] / 10) + 10 ** (added / 10)
        np.testing.assert_allclose(got[clip, :own], 10 * np.log10(power), rtol=1e-3, atol=1e-3)
    assert 0.4 < np.isinf(draws.noise_db.numpy()).mean() < 0.6
    assert 15 <= draws.noise_db.min() < 20


def test_a_part_of_a_batch_is_changed_as_in_the_whole() -> None:
    """As several processes share a batch."""
    spec, x = FeatureSpec.preset("mel"), torch.randn(15, 30, 20)
    draws = draws_of(15, mel_band=0.5, mel_noise=0.5, mel_shift=0.2)
    noise = draw_noise(20, make_generator(0, 1, Purpose.ORDER))

    def changed_part(rows: slice) -> Tensor:
        own = Draws(*(d[rows] for d in draws))
        return augment(transmit(x[rows], own, noise, spec), own, MEAN)

    parts = torch.cat([changed_part(slice(0, 8)), changed_part(slice(8, 15))])
    torch.testing.assert_close(parts, changed_part(slice(0, 15)))


def test_the_noise_is_that_of_white_noise_in_bands() -> None:
    """Its mean power is one, and its spread that of the mean of two bins of a periodogram."""
    noise = draw_noise(20, make_generator(0, 1, Purpose.ORDER)).numpy()
    power = 10 ** (noise / 10)
    assert power.mean() == pytest.approx(1, abs=0.01)
    bins = np.abs(np.fft.rfft(np.random.default_rng(0).standard_normal((9000, 64)))[:, 1:31]) ** 2
    pairs = bins.reshape(-1, 2).mean(axis=1)
    assert power.std() == pytest.approx((pairs / pairs.mean()).std(), abs=0.02)


def test_mixup_mixes_pairs() -> None:
    x = torch.randn(401, 3, 20)
    draws = draws_of(401, mixup=0.3)
    mixed = augment(x, draws, MEAN)
    share = draws.mix.numpy()
    for i in range(400):
        other = x[i + 1 if i % 2 == 0 else i - 1]
        torch.testing.assert_close(mixed[i], (1 - share[i]) * x[i] + share[i] * other)
    assert torch.equal(mixed[400], x[400]), "the odd one has no neighbour"
    assert (share[:400:2] == share[1:400:2]).all()
    # Of Beta(a, a) the mean distance to 0 or 1 whichever is nearer, by numpy's own draws.
    beta = np.random.default_rng(0).beta(0.3, 0.3, 100_000)
    assert share[:400].mean() == pytest.approx(np.minimum(beta, 1 - beta).mean(), abs=0.02)
    assert share.max() <= 0.5


def test_a_shorter_clip_is_mixed_as_silence_after_its_end() -> None:
    x, lengths = torch.randn(2, 6, 20), torch.tensor([6, 4])
    x[1, 4:] = 0  # as a batch is padded
    draws = draws_of(2)._replace(mix=torch.full((2,), 0.25))
    mixed = augment(x, draws, MEAN, lengths)
    torch.testing.assert_close(mixed[0, :4], 0.75 * x[0, :4] + 0.25 * x[1, :4])
    torch.testing.assert_close(mixed[0, 4:], 0.75 * x[0, 4:] + 0.25 * MEAN)


def test_a_recipe_without_augmentation_changes_nothing() -> None:
    x = torch.randn(7, 3, 20)
    assert augment(x, draws_of(7), MEAN) is x


def fresh(recipe: Recipe, model: str = "lstm") -> TrainState:
    store = tiny_store()
    trial = Trial(model, recipe)
    examples = split_examples(store, make_split(store.recordings), trial, CPU)[TRAIN]
    return new_state(trial, store, examples, CPU)


def test_the_loss_is_that_of_mixed_and_smoothed_labels() -> None:
    recipe = Recipe(mixup=0.5, label_smoothing=0.2, time_mask=0.0, freq_mask=0.0)
    state = fresh(recipe)
    x, y = torch.randn(9, 6, 5), torch.arange(9) % 3
    draws = draws_of(9, mixup=0.5)
    with torch.no_grad():
        before = copy.deepcopy(state.model)
        log_p = before(augment(x, draws, before.mean)).log_softmax(dim=1)
    numbers = make_generator(0, 1, Purpose.AUGMENTATION)
    augmentation = FeatureAugmentation(recipe, FeatureSpec(), numbers, CPU, stored=False)
    augmented = augmentation.batch(x, None, draws, state.model)
    loss, logits = _step(state, recipe, TrainingBatch(augmented, y, None), draws, 1e-3, 9, CPU)
    label = torch.nn.functional.one_hot(y, 3).double()
    pair = label[torch.tensor([1, 0, 3, 2, 5, 4, 7, 6, 8])]
    target = (1 - draws.mix[:, None]) * label + draws.mix[:, None] * pair
    target = 0.8 * target + 0.2 / 3
    torch.testing.assert_close(loss.double(), -(target * log_p).sum(dim=1), rtol=1e-5, atol=1e-6)
    assert torch.equal(logits.argmax(dim=1), log_p.argmax(dim=1))
    gap = before.network.state_dict()["classifier.4.bias"]
    assert not torch.equal(gap, state.model.network.state_dict()["classifier.4.bias"])


def test_averaged_weights_follow_the_formula() -> None:
    recipe = Recipe(ema=0.9)
    state = fresh(recipe, "compact")
    assert state.average is not None
    state.model.train()
    names = ("classifier.weight", "stem.1.running_mean", "stem.1.num_batches_tracked")
    average = {n: state.average.network.state_dict()[n].clone().double() for n in names}
    for step in range(1, 30):
        state.descend(state.model(torch.randn(4, 6, 5)).square().sum(), 1e-3)
        state.update_average(recipe.ema, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name in names:
            own = state.model.network.state_dict()[name].double()
            average[name] = decay * average[name] + (1 - decay) * own
    ours = state.average.network.state_dict()
    for name in names[:2]:
        torch.testing.assert_close(ours[name].double(), average[name], rtol=1e-5, atol=1e-6)
    assert ours[names[2]] == 29, "counts are taken over"
    assert state.eval_model is state.average


def test_training_ends_early() -> None:
    state = fresh(Recipe(epochs=10, patience=2))
    row = {"val_balanced_accuracy": 0.5, "val_loss": 1.0}
    for epoch, score in enumerate([0.5, 0.6, 0.6, 0.55], 1):
        state.finish_epoch(row | {"val_balanced_accuracy": score})
        assert state.is_over(Recipe(epochs=10, patience=2)) == (epoch == 4)
        assert not state.is_over(Recipe(epochs=10, patience=0))
    assert state.best_epoch == 2
    assert state.is_over(Recipe(epochs=4, patience=0))
