"""`newcnn`: five convolutions and adaptive pooling, for clips of any length."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from audiocls.models.layers.padding import as_picture, grid_mean, mask
from audiocls.models.network import Network

HIDDEN = 64
POOLED = 4  # rows and columns left by the pooling, whatever the input


class NewCNN(Network):
    """Five times [Conv 3×3 with 64 channels, LeakyReLU], adaptive pooling, Linear 256, 64, n.

    The convolutions are padded and the average pooling always leaves 4 × 4, so the same weights
    take clips of any length and any number of features. LeakyReLU: Maas et al. 2013, "Rectifier
    nonlinearities improve neural network acoustic models".

    Input [batch, frames, features]; the picture it sees is features × frames.
    """

    def __init__(self, n_classes: int, _input_shape: tuple[int | None, int]) -> None:
        super().__init__()
        channels = [1] + [HIDDEN] * 5
        self.convolutions = nn.Sequential()
        for n_in, n_out in pairwise(channels):
            self.convolutions.append(nn.Conv2d(n_in, n_out, 3, padding=1))
            self.convolutions.append(nn.LeakyReLU(inplace=True))
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(HIDDEN * POOLED * POOLED, 256),
            nn.LeakyReLU(),
            nn.Linear(256, 64),
            nn.LeakyReLU(),
            nn.Linear(64, n_classes),
        )

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns [batch, 64, 4, 4]."""
        x = as_picture(x, lengths)
        for layer in self.convolutions:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                x = mask(x, lengths)
        return grid_mean(x, POOLED, lengths)
