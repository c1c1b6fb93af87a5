"""`crnn`: convolutions for what is local, a recurrent network for what spans the clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from audiocls.models.resnet import Residual

HIDDEN = 128


class CRNN(Residual):
    """A 7×5 convolution, three residual blocks, a bidirectional LSTM of 128, Linear n.

    The blocks halve the features but not the frames. Linear takes the last states of both
    directions.

    Çakır et al. 2017, "Convolutional recurrent neural networks for polyphonic sound event
    detection", arXiv:1702.06286: pooling over frequency only, all channels of a frame to the
    recurrent layer. Here with residual blocks, and one answer a clip. Clips of any length are
    taken; the number of features is fixed.

    Input [batch, frames, features]; the picture it sees is features × frames.
    """

    def __init__(self, n_classes: int, input_shape: tuple[int | None, int]) -> None:
        widths, strides = (32, 64, 128), [(2, 1)] * 3
        super().__init__(input_shape, 32, (7, 5), (4, 2), widths, (1, 1, 1), strides)
        _, features = input_shape
        for step in (4, 2, 2, 2):
            features = -(-features // step)
        self.lstm = nn.LSTM(features * widths[-1], HIDDEN, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * HIDDEN, n_classes)

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns [batch, 256]."""
        x, lengths = self.maps(x, lengths)
        x = x.permute(0, 3, 1, 2).flatten(2)  # [batch, frames, channels · features]
        if lengths is None:
            _, (last, _) = self.lstm(x)  # last: [directions, batch, hidden]
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            _, (last, _) = self.lstm(packed)
        return torch.cat([last[0], last[1]], dim=1)
