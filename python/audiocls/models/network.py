"""What every architecture is: a body, which describes a clip by numbers, and a head, which names
it."""

from __future__ import annotations

from torch import Tensor, nn


class Network(nn.Module):
    """Normalised features → logits.

    An architecture sets `classifier`, a linear layer or several, of which the last is the head;
    and defines `body`, which gives what `classifier` takes.
    """

    classifier: nn.Module

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, n] of features [batch, frames, features]; `lengths` as `layers.padding` says."""
        raise NotImplementedError

    @property
    def head(self) -> nn.Linear:
        """The last layer: an embedding → logits, a row of weights a class."""
        head = self._layers()[-1]
        assert isinstance(head, nn.Linear)
        return head

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the head is given, [batch, size]."""
        x = self.body(x, lengths)
        for layer in self._layers()[:-1]:
            x = layer(x)
        return x

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [batch, n_classes]."""
        logits: Tensor = self.head(self.embed(x, lengths))
        return logits

    def _layers(self) -> list[nn.Module]:
        last = self.classifier
        return [*last] if isinstance(last, nn.Sequential) else [last]
