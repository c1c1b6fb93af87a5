"""Convolutions as a CPU computes them fastest; weights and results are those of `nn.Conv2d`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class Convolution(nn.Conv2d):
    """`nn.Conv2d` for pictures whose two axes may be exchanged.

    A CPU works along the last axis, which should be the longer one: on maps of 4 × 2 the same
    convolution takes twice as long as on 2 × 4. If a map is smaller than the kernel, weights that
    meet only padding are left out.

    turned: whether pictures come with their axes exchanged. The weights stay as they are.
    """

    turned = False

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps [batch, channels, height, width]."""
        stride, padding = list(self.stride), [int(p) for p in self.padding]
        order = (0, 2, 3, 1)
        if self.turned:
            stride, padding, order = stride[::-1], padding[::-1], (0, 3, 2, 1)
        # As `use_channels_last` lays the weights out, so that their gradient is laid out alike.
        weight = self.weight.permute(order)
        tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if not (tracing or torch.compiler.is_exporting()):  # there a size may be unknown
            for axis in (0, 1):
                size, kernel = x.shape[axis + 2], weight.shape[axis + 1]
                first, n, padding[axis] = _needed(size, kernel, stride[axis], padding[axis])
                if n < kernel:
                    weight = weight.narrow(axis + 1, first, n)
        return conv2d(x, weight.permute(0, 3, 1, 2), self.bias, stride, padding)


def _needed(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int]:
    """Returns the part of a kernel over `size` cells that meets a cell.

    Returns:
        Its first weight, how many weights there are from it, and the padding for these alone.
    """

    def outputs(kernel: int, padding: int) -> int:
        return (size + 2 * padding - kernel) // stride + 1

    n = outputs(kernel, padding)
    first = max(0, padding - (n - 1) * stride)
    needed = min(kernel, size + padding) - first
    if outputs(needed, padding - first) != n:  # as much padding is not needed at both ends
        return 0, kernel, padding
    return first, needed, padding - first


def use_channels_last(network: nn.Module) -> None:
    """Lays the weights out in memory as they are computed with, channels last."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in network.modules():
        if isinstance(layer, Convolution) and layer.turned:
            turned = layer.weight.data.transpose(2, 3).contiguous(memory_format=torch.channels_last)
            layer.weight.data = turned.transpose(2, 3)
