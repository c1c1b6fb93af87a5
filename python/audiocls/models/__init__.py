"""The architectures: one a file, all with one calling convention.

A network takes normalised features [batch, frames, features] as the extractor makes them, and
returns logits [batch, n_classes]. Softmax belongs to the loss and to prediction.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from audiocls.errors import ChoiceError, SettingError

if TYPE_CHECKING:
    from torch import nn

    from audiocls.models.network import Network

# Name → where it is. A new architecture is one new file and one line here; its module is imported
# when it is built, so that to list the names costs no torch.
MODELS = {
    "cnn": "cnn.CNN",
    "newcnn": "newcnn.NewCNN",
    "resnet": "resnet.ResNet18",
    "lstm": "lstm.LSTM",
    "lstm-large": "lstm.lstm_large",
    "crnn": "crnn.CRNN",
    "compact": "compact.Compact",
}
# Other names for some of them.
ALIASES = {"best": "compact"}

__all__ = ["MODELS", "build_model", "count_parameters", "resolve_architecture"]


def resolve_architecture(name: str) -> str:
    """Returns the name in `MODELS` that `name` stands for.

    Raises:
        SettingError: the name is unknown.
    """
    name = ALIASES.get(name, name)
    if name not in MODELS:
        raise ChoiceError("model", name, MODELS)
    return name


def build_model(name: str, n_classes: int, input_shape: tuple[int | None, int]) -> Network:
    """Builds a network with fresh weights from torch's global random generator.

    Args:
        name: one of `MODELS`, or `best`.
        n_classes: at least two.
        input_shape: (frames, features) of a clip, e.g. (44, 128) for the preset `mel`; frames None
            for clips of any length.

    Raises:
        SettingError: the name is unknown, there are fewer than two classes, or the input is too
            small for the architecture.
    """
    name = resolve_architecture(name)
    if n_classes < 2:
        raise SettingError("n_classes", n_classes, "a classifier needs at least 2 classes")
    frames, features = input_shape
    if (frames is not None and frames < 1) or features < 1:
        rule = "must be (frames, features), both >= 1; frames None: clips of any length"
        raise SettingError("input_shape", input_shape, rule)
    module, _, build = MODELS[name].partition(".")
    home = importlib.import_module(f"audiocls.models.{module}")
    network: Network = getattr(home, build)(n_classes, input_shape)
    return network


def count_parameters(model: nn.Module) -> int:
    """Returns the number of trained parameters; running statistics do not count."""
    return sum(p.numel() for p in model.parameters())
