"""Every architecture: a body, which turns a clip into numbers, and a head, which names it."""

from __future__ import annotations

from torch import Tensor, nn


class Network(nn.Module):
    """Normalised features → logits.

    An architecture sets `classifier`, a linear layer or several, of which the last is the head. It
    defines `body`, which gives what `classifier` takes.
    """

    classifier: nn.Module

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns [batch, n] for features [batch, frames, features].

        Args:
            x: normalised features.
            lengths: as in `layers.padding`.
        """
        raise NotImplementedError

    @property
    def head(self) -> nn.Linear:
        """The last layer: an embedding → logits, a row of weights a class."""
        head = self._layers()[-1]
        assert isinstance(head, nn.Linear)
        return head

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns what the head is given, [batch, size]."""
        x = self.body(x, lengths)
        for layer in self._layers()[:-1]:
            x = layer(x)
        return x

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns logits [batch, n_classes]."""
        logits: Tensor = self.head(self.embed(x, lengths))
        return logits

    def _layers(self) -> list[nn.Module]:
        last = self.classifier
        return [*last] if isinstance(last, nn.Sequential) else [last]
