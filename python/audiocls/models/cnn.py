"""`cnn`: two unpadded convolutions and a large dense layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiocls.errors import SettingError
from audiocls.models.network import Network


class CNN(Network):
    """Conv 1→16 3×3, BatchNorm, ReLU, Conv 16→32 3×3, BatchNorm, ReLU, Linear 512, 64, n.

    There is no padding, pooling or dropout. So nearly all weights are in the first dense layer, and
    the network is bound to one clip length. Batch normalisation: Ioffe & Szegedy 2015,
    arXiv:1502.03167.

    Input [batch, frames, features]; the picture it sees is features × frames. Both must be >= 5.
    """

    def __init__(self, n_classes: int, input_shape: tuple[int | None, int]) -> None:
        super().__init__()
        frames, features = input_shape
        if frames is None:
            rule = "cnn takes clips of one length only: extract with `clip_s` greater than 0"
            raise SettingError("input_shape", input_shape, rule)
        if frames < 5 or features < 5:
            rule = "cnn has two unpadded 3×3 convolutions: (frames, features) must both be >= 5"
            raise SettingError("input_shape", input_shape, rule)
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * (features - 4) * (frames - 4), 512),
            nn.ReLU(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, n_classes),
        )

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns maps [batch, 32, features - 4, frames - 4]."""
        x = x.transpose(1, 2).unsqueeze(1)  # [batch, 1, features, frames]
        maps: Tensor = self.convolutions(x)
        if maps.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):
            # The dense layer's gradient lies in another order, in which the one of ReLU takes
            # twenty times as long.
            maps.register_hook(  # type: ignore[no-untyped-call]
                lambda grad: grad.contiguous(memory_format=torch.channels_last)
            )
        return maps
