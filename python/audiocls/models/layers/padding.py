"""Clips of different lengths in one batch: what lies after a clip's end must change nothing.

Pictures are [batch, channels, features, frames], or turned: frames × features. `lengths`, int64
[batch], count frames; None if all clips fill the batch. A convolution sees zeros beyond the edge of
a picture, so a shorter clip must have zeros there before every convolution, not only at the input.
"""

from __future__ import annotations

import torch
from torch import Tensor


def as_picture(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Returns clips [batch, frames, features] as masked pictures of one channel."""
    return mask(x.transpose(1, 2).unsqueeze(1), lengths)


def mask(x: Tensor, lengths: Tensor | None, turned: bool = False) -> Tensor:
    """Returns the picture with zeros after the end of each clip."""
    if lengths is None:
        return x
    n_frames = x.shape[2 if turned else 3]
    inside = torch.arange(n_frames, device=x.device) < lengths.to(x.device)[:, None]
    return x * (inside[:, None, :, None] if turned else inside[:, None, None, :])


def stride_lengths(lengths: Tensor | None, stride: int) -> Tensor | None:
    """Returns the frames left by a stride, with the padding that keeps the size at stride 1."""
    return None if lengths is None else (lengths + stride - 1) // stride


def time_mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Returns the mean over the frames of a masked picture, [batch, channels, features]."""
    if lengths is None:
        return x.mean(dim=3)
    return x.sum(dim=3) / _counts(lengths, x)[:, None, None]


def mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Returns the mean over features and frames of a masked picture, [batch, channels]."""
    if lengths is None:
        return x.mean(dim=(2, 3))
    return x.sum(dim=(2, 3)) / (_counts(lengths, x)[:, None] * x.shape[2])


def grid_mean(x: Tensor, size: int, lengths: Tensor | None) -> Tensor:
    """Returns means over a grid of size × size cells, of each clip's own frames.

    As `nn.AdaptiveAvgPool2d`: cell i of n rows is the mean of rows floor(i·n/size) to
    ceil((i + 1)·n/size).
    """
    # Not `torch.tensor`: in an exported graph a length is a value, not a number.
    n = torch.full((1,), x.shape[2], device=x.device)
    rows, n_rows = _cells(n, size, x.shape[2])
    n = torch.full((1,), x.shape[3], device=x.device) if lengths is None else lengths.to(x.device)
    columns, n_columns = _cells(n, size, x.shape[3])
    # As matrix products, channels last: a fifth of the time of torch's pooling and its gradient.
    sums = rows.to(x) @ x.permute(0, 2, 3, 1).flatten(2)
    sums = columns.to(x)[:, None] @ sums.view(*sums.shape[:2], x.shape[3], x.shape[1])
    return sums.permute(0, 3, 1, 2) / (n_rows[:, :, None] * n_columns[:, None, :])[:, None]


def _cells(n: Tensor, size: int, width: int) -> tuple[Tensor, Tensor]:
    """Returns which of `width` places each cell covers, and how many they are.

    Returns:
        bool [len(n), size, width], and float32 [len(n), size].
    """
    cell = torch.arange(size, device=n.device)
    first = (cell * n[:, None]).div(size, rounding_mode="floor")[..., None]
    last = (((cell + 1) * n[:, None]) + size - 1).div(size, rounding_mode="floor")[..., None]
    at = torch.arange(width, device=n.device)
    return (at >= first) & (at < last), (last - first)[..., 0].float()


def _counts(lengths: Tensor, x: Tensor) -> Tensor:
    """Returns lengths as float32, because bfloat16 counts to 256 only."""
    return lengths.to(x.device, torch.float32)
