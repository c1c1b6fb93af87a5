"""Clips of different lengths in one batch: what lies after a clip's end must change nothing.

Pictures are [batch, channels, features, frames]; lengths int64 [batch] count frames, or None where
all clips fill the batch. A convolution sees zeros beyond the edge of a picture; so a shorter clip
must have zeros there before every convolution, not only at the input.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The picture with zeros after the end of each clip."""
    if lengths is None:
        return x
    inside = torch.arange(x.shape[-1], device=x.device) < lengths.to(x.device)[:, None]
    return x * inside[:, None, None, :]


def halved(lengths: Tensor) -> Tensor:
    """Frames left by a stride of 2 with the padding that keeps size at stride 1."""
    return (lengths + 1) // 2


def mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over features and frames of a masked picture, [batch, channels]."""
    if lengths is None:
        return x.mean(dim=(2, 3))
    cells = lengths.to(x)[:, None] * x.shape[2]
    return x.sum(dim=(2, 3)) / cells


def grid_mean(x: Tensor, size: int, lengths: Tensor | None) -> Tensor:
    """Means over a grid of size × size cells, as `nn.AdaptiveAvgPool2d`, of each clip's own frames.

    Cell i of n rows is the mean of rows floor(i·n/size) to ceil((i + 1)·n/size).
    """
    # Not `torch.tensor`: in an exported graph a length is a value, not a number.
    over_features = _averaging(torch.full((1,), x.shape[2], device=x.device), size, x)
    n = torch.full((1,), x.shape[3]) if lengths is None else lengths
    over_frames = _averaging(n.to(x.device), size, x, x.shape[3])
    return over_features[:, None] @ x @ over_frames[:, None].transpose(2, 3)


def _averaging(n: Tensor, size: int, x: Tensor, width: int | None = None) -> Tensor:
    """[len(n), size, width]: rows of weights that average."""
    cell = torch.arange(size, device=x.device)
    first = (cell * n[:, None]).div(size, rounding_mode="floor")[..., None]
    last = (((cell + 1) * n[:, None]) + size - 1).div(size, rounding_mode="floor")[..., None]
    at = torch.arange(x.shape[2] if width is None else width, device=x.device)
    inside = (at >= first) & (at < last)
    return inside.to(x) / (last - first).to(x)
