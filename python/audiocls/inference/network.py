"""From features to probabilities or embeddings: onnxruntime on a model's graph, or torch where it
has none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.description import (
    EMBEDDING,
    NETWORK,
    WEIGHTS,
    Description,
    WeightsHeader,
)
from audiocls.errors import DataError
from audiocls.parallel import usable_cores

# float32 [n, frames, n_features] → a row a clip; any number of threads may call it at once.
Compute = Callable[[NDArray[np.float32]], NDArray[np.floating]]


@dataclass(frozen=True)
class Network:
    """What a model computes of the features of clips."""

    probabilities: Compute  # float [n, n_classes]
    embedder: Callable[[], Compute]  # what gives float [n, size]; raises DataError if it cannot

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.floating]:
        """Probabilities."""
        return self.probabilities(x)


def load_network(folder: Path, description: Description, threads: int | None = None) -> Network:
    """The network of a model folder. Raises DataError where it is missing or damaged."""
    if (folder / NETWORK).is_file():
        return _by_onnxruntime(folder, description, threads or usable_cores())
    return _by_torch(folder, f"has no {NETWORK}, and without it a model needs torch")


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
    (given,), (result, *further) = session.get_inputs(), session.get_outputs()
    takes, gives = given.shape[-1], result.shape[-1]
    if (takes, gives) != (description.input_shape[1], len(description.classes)):
        raise DataError(
            f"{str(file)!r} takes {takes} features and gives {gives} classes; "
            f"the model has {description.input_shape[1]} and {len(description.classes)}"
        )

    def compute(output: str, x: NDArray[np.float32]) -> NDArray[np.floating]:
        rows: NDArray[np.floating] = session.run([output], {given.name: x})[0]
        return rows

    def embedder() -> Compute:
        if any(output.name == EMBEDDING for output in further):
            return partial(compute, EMBEDDING)
        older = f"has a {NETWORK} of an earlier version: to embed with it needs torch"
        return _by_torch(folder, older).embedder()

    return Network(partial(compute, result.name), embedder)


def _by_torch(folder: Path, why: str) -> Network:
    if importlib.util.find_spec("torch") is None:
        raise DataError(f"{str(folder)!r} {why}: pip install 'audiocls[train]'")
    import torch

    from audiocls.classifier.model import Classifier

    classifier = Classifier.load(folder)

    def compute(
        function: Callable[[torch.Tensor], torch.Tensor], x: NDArray[np.float32]
    ) -> NDArray[np.floating]:
        with torch.inference_mode():
            rows: NDArray[np.floating] = function(torch.from_numpy(x)).numpy()
        return rows

    embed = partial(compute, classifier.embed)
    return Network(partial(compute, classifier.probabilities), lambda: embed)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
