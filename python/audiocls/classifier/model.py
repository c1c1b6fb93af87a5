"""The model that is trained, saved and exported: normalisation, network, calibration.

On disk it is a folder with weights as safetensors and everything else as JSON, without pickle.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights
from torch import Tensor, nn

from audiocls import __version__
from audiocls.classifier.description import (
    DESCRIPTION,
    FORMAT,
    NETWORK,
    WEIGHTS,
    Description,
    model_folder,
    parse_description,
    read_document,
)
from audiocls.classifier.task import TASKS
from audiocls.classifier.weights import add_checksum, read_weights
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import DataError
from audiocls.files import replace_file, write_json
from audiocls.models import build_model
from audiocls.models.layers.convolution import use_channels_last


class Model(nn.Module):
    """Features → logits and probabilities: normalisation, network and calibration.

    Args:
        description: architecture, shapes, classes, spec.
        mean: of each feature over the training part, [features].
        deviation: of each feature over the training part, [features].
    """

    mean: Tensor
    deviation: Tensor
    temperature: Tensor
    offset: Tensor | None

    def __init__(
        self, description: Description, mean: ArrayLike = 0.0, deviation: ArrayLike = 1.0
    ) -> None:
        super().__init__()
        self.description = description
        self.network = build_model(
            description.architecture, len(description.classes), description.input_shape
        )
        n_features = description.input_shape[1]
        for name, values in (("mean", mean), ("deviation", deviation)):
            row = np.broadcast_to(np.asarray(values, np.float32), n_features)
            self.register_buffer(name, torch.from_numpy(row.copy()))
        self.task = TASKS[description.task]
        # Of one label a temperature for all; of several one a class, and what is added to it.
        own = len(description.classes) if description.task == "several" else None
        self.register_buffer("temperature", torch.ones(() if own is None else own))
        self.register_buffer("offset", None if own is None else torch.zeros(own))

    @property
    def classes_(self) -> list[str]:
        """The labels, in the order of the columns of `probabilities`."""
        return self.description.classes

    def normalise(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns features as the network sees them: mean 0, deviation 1 over the training part."""
        return (self.subtract_level(x.float(), lengths) - self.mean) / self.deviation

    def subtract_level(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns features without the level of each clip, if the model was trained so."""
        description = self.description
        return subtract_level(x, description.spec, lengths) if description.remove_level else x

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns logits, float32 [batch, n_classes].

        Args:
            x: features [batch, frames, n_features], any floating type.
            lengths: int64 [batch], the frames of each clip if shorter ones are padded at their end;
                the padding changes nothing.
        """
        logits: Tensor = self.network(self.normalise(x, lengths), lengths)
        return logits.float()

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns what the head of the network is given, float32 [batch, size]."""
        return self.network.embed(self.normalise(x, lengths), lengths).float()

    def probabilities(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns probabilities, float64 [batch, n_classes]."""
        return self.calibrate(self(x, lengths))

    def calibrate_array(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probabilities of an array of logits [n, n_classes]."""
        offset = 0.0 if self.offset is None else self.offset.double().cpu().numpy()
        temperature = self.temperature.double().cpu().numpy()
        return self.task.calibrate_array(logits, temperature, offset)

    def calibrate(self, logits: Tensor) -> Tensor:
        """Returns the probabilities of logits, float64 [batch, n_classes]."""
        return self.task.calibrate(logits, self.temperature, self.offset)

    def save(self, folder: str | Path) -> None:
        """Writes the model into a folder; each of its two files is complete or absent.

        A graph of other weights that is there is deleted; `graph.write_graph` makes the next.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NETWORK).unlink(missing_ok=True)
        weights = {
            name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()
        }
        replace_file(folder / WEIGHTS, add_checksum(save_weights(weights)))
        write_json(folder / DESCRIPTION, {"format": FORMAT} | self.description.to_dict())

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Model:
        """Reads a model from a run folder or its `model/` folder, ready to predict.

        Raises:
            DataError: there is no model, or it is damaged or has a newer format.
        """
        folder = model_folder(path)
        document = read_document(folder / DESCRIPTION)
        description = parse_description(folder / DESCRIPTION, document)
        with torch.device("meta"):  # No memory is taken for what the file only claims.
            model = cls(description)
        try:
            weights = load_weights(read_weights(folder / WEIGHTS)[1])
            if document["format"] == 1:
                weights = _convert_format_1(document, weights)
            model._take(weights)
        except DataError:
            raise
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{str(folder / WEIGHTS)!r} is damaged or of another model: {reason}"
            ) from None
        use_channels_last(model.to(device))
        return model.eval()

    def _take(self, weights: dict[str, Tensor]) -> None:
        """Loads weights of any floating type.

        Raises:
            RuntimeError: the weights are of another network.
            ValueError: no model could have these values.
        """
        own = self.state_dict()
        for name, value in weights.items():
            if name in own and value.is_floating_point() != own[name].is_floating_point():
                raise ValueError(f"{name} is {value.dtype}")
            if value.is_floating_point():
                weights[name] = value.float()
                if not weights[name].isfinite().all():
                    raise ValueError(f"{name} is not finite")
        self.load_state_dict(weights, assign=True)
        for name in ("deviation", "temperature"):
            if not (getattr(self, name) > 0).all():
                raise ValueError(f"{name} must be > 0")


def subtract_level(x: Tensor, spec: FeatureSpec, lengths: Tensor | None = None) -> Tensor:
    """Returns logarithmic features without the level of each clip.

    A gain adds the same number to all bands of a spectrum, and to the first cepstral coefficient
    alone.

    Args:
        x: [batch, frames, features].
        spec: of the features.
        lengths: int64 [batch], frames before padding if clips differ in length.
    """
    of = x[..., :1] if spec.kind == "mfcc" else x
    if lengths is None:
        level = of.mean(dim=(1, 2), keepdim=True)
    else:
        inside = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
        level = (of * inside[..., None]).sum(dim=(1, 2), keepdim=True)
        level = level / (lengths.to(x)[:, None, None] * of.shape[2])
    return torch.cat([of - level, x[..., 1:]], dim=2) if spec.kind == "mfcc" else x - level


def installed_versions() -> dict[str, str]:
    """Returns the versions of what trains or predicts here."""
    return {
        "audiocls": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _convert_format_1(document: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Converts weights of format 1, which had mean and deviation as JSON, no temperature."""
    return {
        "mean": torch.tensor(document["mean"], dtype=torch.float32),
        "deviation": torch.tensor(document["std"], dtype=torch.float32),
        "temperature": torch.ones(()),
        **{f"network.{name}": value for name, value in weights.items()},
    }
