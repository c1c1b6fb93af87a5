"""`resnet`: ResNet-18 for one channel.

He et al. 2015, "Deep residual learning for image recognition", arXiv:1512.03385, table 1 and
section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from audiocls.models.layers.convolution import Convolution
from audiocls.models.layers.padding import as_picture, mask, mean, stride_lengths
from audiocls.models.network import Network

Stride = tuple[int, int]  # over features, over frames


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut: the identity if shapes agree (option B)."""

    turned = False

    def __init__(self, n_in: int, n_out: int, stride: Stride) -> None:
        super().__init__()
        self.stride = stride
        self.residual = nn.Sequential(
            Convolution(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            Convolution(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != (1, 1) or n_in != n_out:
            self.shortcut = nn.Sequential(
                Convolution(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns maps; `lengths` are those of the clips in the result."""
        y = mask(self.residual[:3](x), lengths, self.turned)
        return mask(self.relu(self.residual[3:](y) + self.shortcut(x)), lengths, self.turned)


class Residual(Network):
    """Clips as pictures, through a strided convolution and stages of basic blocks.

    The last maps are the smallest and have the most channels. If they have more features than
    frames, pictures go through turned (`Convolution`).

    Args:
        input_shape: (frames, features) of a clip; frames None for any.
        width: channels of the first convolution.
        size: its kernel.
        stride: its steps.
        widths: channels of each stage.
        blocks: how many blocks each stage has.
        strides: steps of the first block of each stage.
        pooled: whether 3×3/2 max pooling follows the first convolution.
    """

    def __init__(
        self,
        input_shape: tuple[int | None, int],
        width: int,
        size: Stride,
        stride: Stride,
        widths: Sequence[int],
        blocks: Sequence[int],
        strides: Sequence[Stride],
        pooled: bool = False,
    ) -> None:
        super().__init__()
        padding = (size[0] // 2, size[1] // 2)
        self.stem = nn.Sequential(
            Convolution(1, width, size, stride, padding, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.steps, self.pooled = stride[1], pooled
        if pooled:
            self.stem.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.Sequential()
        for n_in, n_out, n, first in zip([width, *widths], widths, blocks, strides, strict=False):
            stage = [BasicBlock(n_in, n_out, first)]
            stage += [BasicBlock(n_out, n_out, (1, 1)) for _ in range(n - 1)]
            self.stages.append(nn.Sequential(*stage))
        steps = [stride, *strides]
        frames, features = input_shape
        self.turned = frames is not None and (
            features * prod(step[1] for step in steps) > frames * prod(step[0] for step in steps)
        )
        for module in self.modules():
            if isinstance(module, Convolution):
                # He et al. 2015, arXiv:1502.01852, as the reference implementation starts.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Convolution | BasicBlock):
                module.turned = self.turned

    def maps(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns masked maps [batch, channels, features', frames'] of clips, and their lengths."""
        x = as_picture(x, lengths)
        x = self.stem[:3](x.transpose(2, 3) if self.turned else x)
        lengths = stride_lengths(lengths, self.steps)
        x = mask(x, lengths, self.turned)
        if self.pooled:  # of what is not negative: zeros after the end change nothing
            lengths = stride_lengths(lengths, 2)
            x = mask(self.stem[3](x), lengths, self.turned)
        for stage in self.stages.children():
            for block in stage.children():
                assert isinstance(block, BasicBlock)
                lengths = stride_lengths(lengths, block.stride[1])
                x = block(x, lengths)
        return x.transpose(2, 3) if self.turned else x, lengths


class ResNet18(Residual):
    """A 7×7/2 convolution and 3×3/2 max pooling, four stages of two blocks, mean, Linear n.

    11,177,422 parameters for 14 classes. Everything is padded, and the mean is over the whole map:
    any clip length and number of features is taken.

    Input [batch, frames, features]; the picture it sees is features × frames.
    """

    def __init__(self, n_classes: int, input_shape: tuple[int | None, int]) -> None:
        widths, strides = (64, 128, 256, 512), [(1, 1), (2, 2), (2, 2), (2, 2)]
        super().__init__(input_shape, 64, (7, 7), (2, 2), widths, (2, 2, 2, 2), strides, True)
        self.classifier = nn.Linear(512, n_classes)

    def body(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns [batch, 512]."""
        return mean(*self.maps(x, lengths))
