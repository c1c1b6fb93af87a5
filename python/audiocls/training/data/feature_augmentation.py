"""Augmentation of features, on whole batches on the device.

Draws are made on the CPU for the whole batch, so they depend neither on the device nor on how many
processes share the batch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from audiocls.classifier.model import Model
from audiocls.engine.level import compute_decibel_step, holds_mel
from audiocls.engine.spec import FeatureSpec
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device

# As Freq-MixStyle draws its proportions.
MIXSTYLE_BETA = 0.3

# A band ends at a share of all mel bands; outside it is so many decibels less.
BAND_LOW = (0.0, 0.2)
BAND_HIGH = (0.55, 1.0)
BAND_DB = (20.0, 80.0)
# Noise lies so many decibels below the loudest cell of a clip, and rises or falls by so many from
# the lowest band to the highest: white noise rises over mel bands, which become wider, brown falls.
NOISE_DB = (15.0, 75.0)
NOISE_TILT_DB = (-24.0, 16.0)
# Frames of noise that an epoch's clips take theirs from.
NOISE_FRAMES = 4096


class Draws(NamedTuple):
    """What is done to each clip of a batch; each [batch]."""

    time_width: Tensor  # share of the frames that is masked
    time_start: Tensor  # where, as a share of what is left
    freq_width: Tensor
    freq_start: Tensor
    shift: Tensor  # share of the features, upwards
    style: Tensor  # share of the neighbour's mean and deviation
    mix: Tensor  # share of the neighbour that is mixed in
    band_low: Tensor  # share of the features below which, and from which on, a sound is
    band_high: Tensor
    band_db: Tensor  # less by so many decibels; 0 where it is not
    noise_db: Tensor  # decibels below the loudest cell; infinite where none is added
    noise_tilt: Tensor  # decibels from the lowest feature to the highest
    noise_start: Tensor  # where in the noise, as a share


class FeatureAugmentation:
    """All that a recipe does to the features of training clips, for one epoch.

    Args:
        recipe: what is done.
        spec: of the features.
        numbers: the generator of the epoch's draws.
        device: where batches are.
        stored: whether the features come from a store. The engine augments waveforms, so features
            computed from samples are neither shifted nor transmitted.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: FeatureSpec,
        numbers: torch.Generator,
        device: Device,
        *,
        stored: bool,
    ) -> None:
        self._recipe, self._spec, self._numbers, self._device = recipe, spec, numbers, device
        self._mel = stored and holds_mel(spec)
        self._noise: Tensor | None = None
        if self._mel and (recipe.mel_band > 0 or recipe.mel_noise > 0):
            self._noise = draw_noise(spec.n_mels, numbers).to(device.torch)

    def draw(self, n: int) -> Draws:
        """Draws what is done to this process's part of the next batch of n clips."""
        whole = draw(self._recipe, n, self._numbers, mel=self._mel)
        return Draws(*map(self._device.take_share, whole))

    def batch(self, x: Tensor, lengths: Tensor | None, draws: Draws, model: Model) -> Tensor:
        """Returns augmented features, without their level if the model is trained so.

        Args:
            x: float32 [batch, frames, features].
            lengths: int64 [batch], frames before padding if clips differ in length.
            draws: of `draw`.
            model: that trains.

        Returns:
            float32 [batch, frames, features].
        """
        if self._noise is not None:
            x = transmit(x, draws, self._noise, self._spec, lengths)
        return augment(model.subtract_level(x, lengths), draws, model.mean, lengths)


def draw(recipe: Recipe, n: int, numbers: torch.Generator, *, mel: bool = True) -> Draws:
    """Makes the draws for a batch.

    Args:
        recipe: what is done.
        n: clips of the batch.
        numbers: the generator.
        mel: whether the features are mel bands of a store, which are shifted and transmitted.
    """
    uniform = torch.rand(7, n, generator=numbers)  # [4] is of an operation that is gone
    time, freq = recipe.time_mask, recipe.freq_mask
    style = _shares(MIXSTYLE_BETA, n, numbers) * (uniform[6] < recipe.mixstyle)
    return Draws(
        uniform[0] * time,
        uniform[1],
        uniform[2] * freq,
        uniform[3],
        (2 * uniform[5] - 1) * (recipe.mel_shift if mel else 0.0),
        style,
        _shares(recipe.mixup, n, numbers) if recipe.mixup > 0 else torch.zeros(n),
        *_channel(recipe, n, numbers),
    )


def _channel(recipe: Recipe, n: int, numbers: torch.Generator) -> tuple[Tensor, ...]:
    ranges = torch.tensor((BAND_LOW, BAND_HIGH, BAND_DB, NOISE_DB, NOISE_TILT_DB, (0.0, 1.0)))
    low, high = ranges.T[:, :, None]
    draws = low + (high - low) * torch.rand(6, n, generator=numbers)
    limited, noisy = torch.rand(2, n, generator=numbers)
    draws[2].masked_fill_(limited >= recipe.mel_band, 0.0)
    draws[3].masked_fill_(noisy >= recipe.mel_noise, torch.inf)
    return tuple(draws)


def _shares(beta: float, n: int, numbers: torch.Generator) -> Tensor:
    """Returns the share of the neighbour in each of n clips that are mixed in pairs.

    It is the smaller one, the same for both of a pair, from Beta(beta, beta) by two gammas (Devroye
    1986, IX.3).
    """
    gammas = torch._standard_gamma(torch.full((2, -(-n // 2)), beta), generator=numbers)
    share = gammas[0] / gammas.sum(dim=0).clamp(min=1e-12)
    shares = torch.minimum(share, 1 - share).repeat_interleave(2)[:n]
    shares[n - n % 2 :] = 0  # the last of an odd batch has no neighbour
    return shares


def draw_noise(n_features: int, numbers: torch.Generator) -> Tensor:
    """Draws stationary noise in decibels around its mean power, float32 [frames, features].

    A band is the mean of several bins, whose power is exponential: here of two.
    """
    uniform = torch.rand(2, NOISE_FRAMES, n_features, generator=numbers)
    return 10 * torch.log10(-(1 - uniform).log().mean(dim=0) + 1e-4)


def transmit(
    x: Tensor, draws: Draws, noise: Tensor, spec: FeatureSpec, lengths: Tensor | None = None
) -> Tensor:
    """Returns logarithmic mel features as a channel passes them on.

    A band of them is left, no cell is below the clip's quietest, and noise is added as the powers
    of two sounds add.

    Args:
        x: [batch, frames, features].
        draws: of `draw`.
        noise: of `draw_noise`.
        spec: of the features.
        lengths: int64 [batch], frames before padding if clips differ in length.
    """
    unit = compute_decibel_step(spec)
    assert unit is not None
    n_frames, n_features = x.shape[1:]
    ended = torch.arange(n_frames) >= (n_frames if lengths is None else lengths[:, None])
    ended = ended.to(x.device).expand(x.shape[:2])[..., None]
    if draws.band_db.any():
        band = torch.arange(n_features) / n_features
        outside = (band < draws.band_low[:, None]) | (band >= draws.band_high[:, None])
        less = (unit * draws.band_db[:, None] * outside).to(x)[:, None]
        quietest = x.masked_fill(ended, torch.inf).amin(dim=(1, 2), keepdim=True)
        x = torch.maximum(x - less, quietest)
    if not draws.noise_db.isinf().all():
        first = (draws.noise_start * len(noise)).long()[:, None]
        at = ((first + torch.arange(n_frames)) % len(noise)).to(x.device)
        slope = torch.linspace(-0.5, 0.5, n_features)
        level = draws.noise_tilt[:, None] * slope - draws.noise_db[:, None]
        loudest = x.masked_fill(ended, -torch.inf).amax(dim=(1, 2), keepdim=True)
        noise = loudest + unit * (level.to(x)[:, None] + noise[at])
        folds = unit * 10 / math.log(10)  # a power e times as large
        x = folds * torch.logaddexp(x / folds, noise / folds)
    return x


def augment(x: Tensor, draws: Draws, mean: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Shifts, masks and mixes a batch of features.

    Features are shifted, and their `mean` fills the gap. Mean and deviation of every band over the
    frames are mixed with those of the neighbour (Freq-MixStyle, Schmid et al. 2022,
    arXiv:2206.12513). A masked cell gets its feature's `mean` (SpecAugment, Park et al. 2019,
    arXiv:1904.08779). Then clips 0 and 1, 2 and 3 … are mixed (mixup, Zhang et al. 2018,
    arXiv:1710.09412); the shorter of a pair continues as `mean`.

    Args:
        x: float32 [batch, frames, features].
        draws: of `draw`.
        mean: of each feature over the training part, [features].
        lengths: int64 [batch], frames before padding if clips differ in length.
    """
    if draws.shift.any():
        at = torch.arange(x.shape[2]) - (draws.shift * x.shape[2]).round().long()[:, None]
        inside = ((at >= 0) & (at < x.shape[2])).to(x.device)[:, None]
        at = at.clamp(0, x.shape[2] - 1).to(x.device)[:, None].expand_as(x)
        x = torch.where(inside, x.gather(2, at), mean)
    if draws.style.any():
        x = _restyled(x, draws.style.to(x)[:, None, None], lengths)
    if draws.time_width.any():
        n = x.new_tensor(x.shape[1]) if lengths is None else lengths.to(x)
        mask = _stripes(draws.time_width, draws.time_start, n, x, 1)[..., None]
        x = torch.where(mask, mean, x)
    if draws.freq_width.any():
        n = x.new_tensor(x.shape[2])
        mask = _stripes(draws.freq_width, draws.freq_start, n, x, 2)[:, None]
        x = torch.where(mask, mean, x)
    if draws.mix.any():
        if lengths is not None:
            ended = torch.arange(x.shape[1]) >= lengths[:, None]
            x = torch.where(ended.to(x.device)[..., None], mean, x)
        share = draws.mix.to(x)[:, None, None]
        x = (1 - share) * x + share * x[neighbours(len(x), x.device)]
    return x


def neighbours(n: int, device: torch.device) -> Tensor:
    """Returns the clip that each is mixed with: 1, 0, 3, 2 …; an odd last one with itself."""
    return (torch.arange(n, device=device) ^ 1).clamp(max=n - 1)


def _restyled(x: Tensor, share: Tensor, lengths: Tensor | None) -> Tensor:
    """Mixes mean and deviation of every band with those of the neighbour."""
    if lengths is None:
        deviation, mean = torch.std_mean(x, dim=1, correction=0, keepdim=True)
    else:
        inside = (torch.arange(x.shape[1]) < lengths[:, None]).to(x)[..., None]
        n = lengths.to(x)[:, None, None]
        mean = (x * inside).sum(dim=1, keepdim=True) / n
        deviation = (((x - mean) ** 2 * inside).sum(dim=1, keepdim=True) / n).sqrt()
    other = neighbours(len(x), x.device)
    deviation = deviation + 1e-6
    new_mean = torch.lerp(mean, mean[other], share)
    new_deviation = torch.lerp(deviation, deviation[other], share)
    return (x - mean) / deviation * new_deviation + new_mean


def _stripes(width: Tensor, start: Tensor, n: Tensor, x: Tensor, dim: int) -> Tensor:
    """Returns bool [batch, size of dim]: true inside each clip's stripe of `width` · n cells."""
    cells = (width.to(x) * n).round()
    first = (start.to(x) * (n - cells)).floor()
    at = torch.arange(x.shape[dim], device=x.device)
    return (at >= first[:, None]) & (at < (first + cells)[:, None])
