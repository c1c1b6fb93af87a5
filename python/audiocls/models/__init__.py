"""The architectures: one a file, all with one calling convention.

A network takes float features [batch, frames, features] as the extractor makes them, normalised,
and returns logits [batch, n_classes]. Softmax belongs to the loss and to prediction.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from audiocls.errors import SettingError, unknown
from audiocls.models.cnn import CNN
from audiocls.models.lstm import LSTM, lstm_large
from audiocls.models.newcnn import NewCNN
from audiocls.models.resnet import ResNet18

# A new architecture is one new file and one line here.
MODELS: dict[str, Callable[[int, tuple[int, int]], nn.Module]] = {
    "cnn": CNN,
    "newcnn": NewCNN,
    "resnet": ResNet18,
    "lstm": LSTM,
    "lstm-large": lstm_large,
}

__all__ = ["MODELS", "build_model", "count_parameters"]


def build_model(name: str, n_classes: int, input_shape: tuple[int, int]) -> nn.Module:
    """Build the network `name` with fresh weights from torch's global random generator.

    input_shape: (frames, features) of a clip, e.g. (44, 128) for the preset `mel`.

    Raises SettingError for an unknown name, fewer than two classes, or an input that is too small
    for the architecture.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    if n_classes < 2:
        raise SettingError("n_classes", n_classes, "a classifier needs at least 2 classes")
    frames, features = input_shape
    if frames < 1 or features < 1:
        raise SettingError("input_shape", input_shape, "must be (frames, features), both >= 1")
    return MODELS[name](n_classes, (int(frames), int(features)))


def count_parameters(model: nn.Module) -> int:
    """Number of trained parameters; running statistics of batch normalisation do not count."""
    return sum(p.numel() for p in model.parameters())
