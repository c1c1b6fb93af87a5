"""A network as anyone writes it, to compare with one that is computed in another way."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from audiocls.models.layers.convolution import Convolution
from audiocls.models.newcnn import POOLED, NewCNN


def plain(network: nn.Module) -> nn.Module:
    """A copy with the same weights, of torch's own convolutions and pooling.

    Its pictures are features × frames.
    """
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if hasattr(module, "turned"):
            module.turned = False
        if isinstance(module, Convolution):
            module.__class__ = nn.Conv2d
        elif isinstance(module, NewCNN):
            module.__class__ = _PlainNewCNN
    return copied


class _PlainNewCNN(NewCNN):
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        assert lengths is None
        maps = self.convolutions(x.transpose(1, 2).unsqueeze(1))
        logits: Tensor = self.classifier(adaptive_avg_pool2d(maps, POOLED))
        return logits
