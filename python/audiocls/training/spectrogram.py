"""Augmentation of features, on whole batches on the device.

Draws are made on the CPU for the whole batch, so that they do not depend on the device, nor on how
many processes share the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from audiocls.training.recipe import Recipe


class Draws(NamedTuple):
    """What is done to each clip of a batch; each [batch]."""

    time_width: Tensor  # share of the frames that is masked
    time_start: Tensor  # where, as a share of what is left
    freq_width: Tensor
    freq_start: Tensor
    mix: Tensor  # share of the neighbour that is mixed in


def draw(recipe: Recipe, n: int, numbers: torch.Generator) -> Draws:
    """The draws for a batch of n clips."""
    uniform = torch.rand(4, n, generator=numbers)
    mix = torch.zeros(n)
    if recipe.mixup > 0:
        # Both clips of a pair get the same proportion. Beta by two gammas (Devroye 1986, IX.3).
        pairs = -(-n // 2)
        a = torch.full((2, pairs), recipe.mixup)
        gammas = torch._standard_gamma(a, generator=numbers)
        share = gammas[0] / gammas.sum(dim=0).clamp(min=1e-12)
        mix = torch.minimum(share, 1 - share).repeat_interleave(2)[:n]
        mix[n - n % 2 :] = 0  # the last of an odd batch has no neighbour
    time, freq = recipe.time_mask, recipe.freq_mask
    return Draws(uniform[0] * time, uniform[1], uniform[2] * freq, uniform[3], mix)


def augment(x: Tensor, draws: Draws, mean: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Masks and mixes a batch of features, float32 [batch, frames, features].

    A masked cell gets its feature's `mean` (SpecAugment, Park et al. 2019, arXiv:1904.08779); then
    clips 0 and 1, 2 and 3 … are mixed (mixup, Zhang et al. 2018, arXiv:1710.09412). Where clips
    differ in length, lengths int64 [batch], the shorter of a pair goes on as `mean`.
    """
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
    """The clip that each of a batch is mixed with: 1, 0, 3, 2 …; an odd last one with itself."""
    return (torch.arange(n, device=device) ^ 1).clamp(max=n - 1)


def _stripes(width: Tensor, start: Tensor, n: Tensor, x: Tensor, dim: int) -> Tensor:
    """bool [batch, size of dim]: true inside each clip's stripe of `width` · n cells."""
    cells = (width.to(x) * n).round()
    first = (start.to(x) * (n - cells)).floor()
    at = torch.arange(x.shape[dim], device=x.device)
    return (at >= first[:, None]) & (at < (first + cells)[:, None])
