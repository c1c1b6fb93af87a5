"""`resnet`: ResNet-18 for one channel (He et al. 2015, "Deep residual learning for image
recognition", arXiv:1512.03385, table 1 and section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from audiocls.models.padding import halved, masked, mean


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut: the identity where shapes agree (option B)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """lengths: of the clips in the result."""
        y = masked(self.residual[:3](x), lengths)
        return masked(self.relu(self.residual[3:](y) + self.shortcut(x)), lengths)


class ResNet18(nn.Module):
    """A 7×7/2 convolution and 3×3/2 max pooling, four stages of two blocks, mean, Linear n.

    11,177,422 parameters for 14 classes. Everything is padded, and the mean is over the whole
    map: any clip length and number of features is taken.

    Input [batch, frames, features]; the picture it sees is features × frames.
    """

    def __init__(self, n_classes: int, _input_shape: tuple[int | None, int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        widths = (64, 64, 128, 256, 512)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(BasicBlock(n_in, n_out, stride), BasicBlock(n_out, n_out, 1))
                for n_in, n_out, stride in zip(widths, widths[1:], (1, 2, 2, 2), strict=False)
            )
        )
        self.classifier = nn.Linear(512, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al. 2015, arXiv:1502.01852, as the reference implementation starts.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = x.transpose(1, 2).unsqueeze(1)  # [batch, 1, features, frames]
        if lengths is None:
            x = self.stages(self.stem(x))
        else:
            x, lengths = self._padded(x, lengths)
        logits: Tensor = self.classifier(mean(x, lengths))
        return logits

    def _padded(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same of clips that are padded: zeros after their ends before every convolution."""
        x = self.stem[:3](masked(x, lengths))
        lengths = halved(lengths)
        x = masked(x, lengths)
        lengths = halved(lengths)
        x = masked(self.stem[3](x), lengths)
        for number, stage in enumerate(self.stages.children()):
            lengths = halved(lengths) if number else lengths
            for block in stage.children():
                x = block(x, lengths)
        return x, lengths
