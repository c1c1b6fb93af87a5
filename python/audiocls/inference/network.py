"""From features to probabilities: onnxruntime on a model's graph, or torch where it has none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.description import NETWORK, WEIGHTS, Description, WeightsHeader
from audiocls.errors import DataError
from audiocls.parallel import usable_cores

# float32 [n, frames, n_features] → float [n, n_classes]; any number of threads may call it at once.
Network = Callable[[NDArray[np.float32]], NDArray[np.floating]]


def load_network(folder: Path, description: Description, threads: int | None = None) -> Network:
    """The network of a model folder. Raises DataError where it is missing or damaged."""
    if (folder / NETWORK).is_file():
        return _by_onnxruntime(folder, description, threads or usable_cores())
    if importlib.util.find_spec("torch") is None:
        raise DataError(
            f"{str(folder)!r} has no {NETWORK}, and without it a model needs torch: "
            "pip install 'audiocls[train]'"
        )
    return _by_torch(folder)


def _by_onnxruntime(folder: Path, description: Description, threads: int) -> Network:
    import onnxruntime

    file = folder / NETWORK
    header = WeightsHeader.read(folder / WEIGHTS)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Idle threads would take the cores from those that decode and extract.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes have no common base
        raise DataError(f"{str(file)!r} is damaged: {_first_line(error)}") from None
    if session.get_modelmeta().custom_metadata_map.get("weights_header") != header.identity:
        raise DataError(f"{str(file)!r} belongs to other weights than those beside it")
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    takes, gives = given.shape[-1], result.shape[-1]
    if (takes, gives) != (description.input_shape[1], len(description.classes)):
        raise DataError(
            f"{str(file)!r} takes {takes} features and gives {gives} classes; "
            f"the model has {description.input_shape[1]} and {len(description.classes)}"
        )

    def network(x: NDArray[np.float32]) -> NDArray[np.floating]:
        probabilities: NDArray[np.floating] = session.run(None, {given.name: x})[0]
        return probabilities

    return network


def _by_torch(folder: Path) -> Network:
    import torch

    from audiocls.classifier.model import Classifier

    classifier = Classifier.load(folder)

    def network(x: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.inference_mode():
            probabilities: NDArray[np.floating] = classifier.probabilities(
                torch.from_numpy(x)
            ).numpy()
        return probabilities

    return network


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
