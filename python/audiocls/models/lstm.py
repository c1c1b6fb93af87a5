"""`lstm` and `lstm-large`: recurrent networks over time (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from audiocls.models.network import Network


class LSTM(Network):
    """Stacked LSTM; the last hidden states of all layers, flattened → Linear 128 → 64 → n.

    The default, 3 layers of 16, gives the classifier 48 values. Clips of any length are taken; the
    number of features is fixed.

    Input [batch, frames, features].
    """

    def __init__(
        self, n_classes: int, input_shape: tuple[int | None, int], hidden: int = 16, layers: int = 3
    ) -> None:
        super().__init__()
        _, features = input_shape
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True)
        self.classifier = nn.Sequential(
            nn.Linear(layers * hidden, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, n_classes),
        )

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns [batch, layers · hidden]."""
        if lengths is None:
            _, (last, _) = self.lstm(x)  # last: [layers, batch, hidden]
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            _, (last, _) = self.lstm(packed)
        states: Tensor = last.transpose(0, 1).flatten(1)
        return states


def lstm_large(n_classes: int, input_shape: tuple[int | None, int]) -> LSTM:
    """Builds `lstm` with 8 layers of 128: 1,024 values for the classifier."""
    return LSTM(n_classes, input_shape, hidden=128, layers=8)
