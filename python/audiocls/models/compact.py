"""`compact`: a small residual network for short clips on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiocls.models.layers.padding import time_mean
from audiocls.models.resnet import Residual


class Compact(Residual):
    """A 7×7/4 convolution with 32 channels, residual blocks 32, 64, 128, 128, pooling, Linear n.

    Pooled are the mean over frames, then of that the mean and maximum over features. On a CPU the
    large first maps cost most, hence their stride of 4. The maximum over features finds a pattern
    at any pitch. Any clip length and number of features is taken.

    Input [batch, frames, features]; the picture it sees is features × frames.
    """

    def __init__(self, n_classes: int, input_shape: tuple[int | None, int]) -> None:
        strides = [(1, 1), (2, 2), (2, 2)]
        super().__init__(input_shape, 32, (7, 7), (4, 4), (32, 64, 128), (1, 1, 2), strides)
        self.classifier = nn.Linear(2 * 128, n_classes)

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns [batch, 256]."""
        pooled = time_mean(*self.maps(x, lengths))
        return torch.cat([pooled.mean(dim=2), pooled.amax(dim=2)], dim=1)
