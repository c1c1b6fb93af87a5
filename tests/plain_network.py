"""A network as anyone writes it, to compare one with that is computed in another way."""

from __future__ import annotations

import copy

from torch import nn

from audiocls.models.convolution import Convolution


def plain(network: nn.Module) -> nn.Module:
    """A copy with the same weights in `nn.Conv2d`s, over pictures features × frames."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if hasattr(module, "turned"):
            module.turned = False
        if isinstance(module, Convolution):
            module.__class__ = nn.Conv2d
    return copied
