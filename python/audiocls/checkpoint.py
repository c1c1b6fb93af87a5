"""A trained model on disk: weights as safetensors, everything else as JSON. No pickle anywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights
from torch import Tensor, nn

from audiocls.errors import DataError
from audiocls.files import replace_file
from audiocls.models import MODELS, build_model

if TYPE_CHECKING:
    from audiocls.spec import FeatureSpec

FORMAT = 1


@dataclass(frozen=True)
class ModelInfo:
    """All that prediction needs besides the weights."""

    architecture: str
    input_shape: tuple[int, int]  # (frames, features) of a clip
    classes: list[str]
    spec: FeatureSpec  # how features are made
    clip_s: float
    hop_s: float
    mean: NDArray[np.float32]  # [features], of the training part
    std: NDArray[np.float32]  # [features], of the training part; never 0
    versions: dict[str, str]  # of what trained it


def save(folder: Path, weights: dict[str, Tensor], info: ModelInfo) -> None:
    """Write `weights.safetensors` and `model.json` into `folder`; each complete or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(
        folder / "weights.safetensors",
        save_weights({k: v.contiguous() for k, v in weights.items()}),
    )
    document = {
        "format": FORMAT,
        "architecture": info.architecture,
        "input_shape": list(info.input_shape),
        "classes": info.classes,
        "spec": info.spec.to_dict(),
        "clip_s": info.clip_s,
        "hop_s": info.hop_s,
        "mean": [float(x) for x in info.mean],
        "std": [float(x) for x in info.std],
        "versions": info.versions,
    }
    replace_file(folder / "model.json", (json.dumps(document, indent=1) + "\n").encode())


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[nn.Module, ModelInfo]:
    """Read a model from a run folder or its `model/` folder, ready to predict.

    Raises DataError where there is none, or where it is damaged or of a newer format.
    """
    folder = Path(path)
    if not (folder / "model.json").is_file():
        folder = folder / "model"
    if not (folder / "model.json").is_file():
        raise DataError(f"{str(path)!r} holds no model: there is no model.json")
    info = _read_info(folder / "model.json")
    model = build_model(info.architecture, len(info.classes), info.input_shape)
    weights = folder / "weights.safetensors"
    try:
        model.load_state_dict(load_weights(weights.read_bytes()))
    except FileNotFoundError:
        raise DataError(f"{str(weights)!r} is missing") from None
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{str(weights)!r} is damaged or of another model: {reason}") from None
    return model.to(device).eval(), info


def describe(path: str | Path) -> dict[str, Any]:
    """What a run folder or its `model/` folder contains, as plain data: the model, and the
    metrics.json beside it, None where the run was interrupted or only the model was kept.

    Raises DataError as `load` does, and for damaged metrics.
    """
    model, info = load(path)
    run = Path(path)
    metrics_file = (run.parent if (run / "model.json").is_file() else run) / "metrics.json"
    metrics = None
    if metrics_file.is_file():
        try:
            metrics = json.loads(metrics_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{str(metrics_file)!r} is damaged: {error}") from None
    return {
        "path": str(path),
        "architecture": info.architecture,
        "parameters": sum(p.numel() for p in model.parameters()),
        "input_shape": list(info.input_shape),
        "classes": info.classes,
        "spec": info.spec.to_dict(),
        "clip_s": info.clip_s,
        "hop_s": info.hop_s,
        "versions": info.versions,
        "metrics": metrics,
    }


def _read_info(path: Path) -> ModelInfo:
    from audiocls.spec import FeatureSpec

    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise DataError(
                f"{str(path)!r} has format {document['format']!r}; this version reads {FORMAT}"
            )
        if document["architecture"] not in MODELS:
            raise DataError(
                f"{str(path)!r} names an unknown architecture {document['architecture']!r}"
            )
        frames, features = document["input_shape"]
        return ModelInfo(
            architecture=document["architecture"],
            input_shape=(int(frames), int(features)),
            classes=[str(c) for c in document["classes"]],
            spec=FeatureSpec.from_dict(document["spec"]),
            clip_s=float(document["clip_s"]),
            hop_s=float(document["hop_s"]),
            mean=np.asarray(document["mean"], np.float32),
            std=np.asarray(document["std"], np.float32),
            versions=dict(document["versions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{str(path)!r} is damaged: {type(error).__name__} {error}") from None
