"""From features to probabilities or embeddings, by onnxruntime or torch.

onnxruntime runs the graph of a model; torch runs a model without one.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.description import EMBEDDING, NETWORK, WEIGHTS, Description
from audiocls.classifier.onnx_file import Graph, read_graph
from audiocls.classifier.operators import check_cost
from audiocls.classifier.weights import read_weights
from audiocls.errors import DataError
from audiocls.files import read_regular
from audiocls.parallel import count_usable_cores

# float32 [n, frames, n_features] → a row a clip; any number of threads may call it at once.
Compute = Callable[[NDArray[np.float32]], NDArray[np.floating]]

# A graph without its weights is some tens of kB.
_LARGEST_GRAPH = 4 << 20
# Any number will do for the first look at a graph that takes clips of every length.
_SOME_FRAMES = 100


@dataclass(frozen=True)
class NetworkRunner:
    """What a model computes of the features of clips."""

    probabilities: Compute  # float [n, n_classes]
    embedder: Callable[[], Compute]  # what gives float [n, size]; raises DataError if it cannot

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.floating]:
        """Probabilities."""
        return self.probabilities(x)


def load_network(
    folder: Path, description: Description, threads: int | None = None
) -> NetworkRunner:
    """The network of a model folder.

    Raises:
        DataError: it is missing or damaged.
    """
    if (folder / NETWORK).exists():
        return _by_onnxruntime(folder, description, threads or count_usable_cores())
    return _by_torch(folder, f"has no {NETWORK}, and without it a model needs torch")


def _by_onnxruntime(folder: Path, description: Description, threads: int) -> NetworkRunner:
    file = folder / NETWORK
    header, weights = read_weights(folder / WEIGHTS)
    document = read_regular(file, _LARGEST_GRAPH)
    try:
        graph = read_graph(document)
        _check_constants(graph, len(weights))
        (features,), (probabilities, *further) = graph.inputs, graph.outputs
    except ValueError as error:
        raise DataError(f"{str(file)!r} is damaged or of another program: {error}") from None
    if graph.metadata.get("weights_header") != header.identity:
        raise DataError(f"{str(file)!r} belongs to other weights than those beside it")
    n_classes = len(description.classes)
    checked: dict[tuple[int, ...], list[tuple[int, ...]]] = {}

    def check(shape: tuple[int, ...]) -> None:
        """Checks the graph for this shape: its cost may depend on it."""
        if shape in checked:
            return
        try:
            gives = check_cost(graph, shape)
            if gives[0] != (shape[0], n_classes) or any(len(g) != 2 for g in gives):
                raise ValueError(f"it gives {gives} for {shape[0]} clips and {n_classes} classes")
        except ValueError as error:
            raise DataError(f"{str(file)!r} is not the network of this model: {error}") from None
        checked[shape] = gives

    frames, size = description.input_shape
    check((1, frames or _SOME_FRAMES, size))
    constants = _constants(graph, weights)
    session = _session(file, document, constants, threads)

    def compute(
        output: str, x: NDArray[np.float32], _held: dict[str, Any] = constants
    ) -> NDArray[np.floating]:
        check(x.shape)
        try:
            rows: NDArray[np.floating] = session.run([output], {features: x})[0]
        except Exception as error:
            raise DataError(f"{str(file)!r} cannot be computed: {_first_line(error)}") from None
        return _finite(rows, x, folder)

    def embedder() -> Compute:
        if EMBEDDING in further:
            return partial(compute, EMBEDDING)
        older = f"has a {NETWORK} of an earlier version: to embed with it needs torch"
        return _by_torch(folder, older).embedder()

    return NetworkRunner(partial(compute, probabilities), embedder)


def _constants(graph: Graph, weights: bytes) -> dict[str, Any]:
    """The graph's constants in the weights file, in onnxruntime's form.

    A session refers to them as long as it lives.
    """
    from onnxruntime import OrtValue

    arrays = {
        name: np.frombuffer(weights, t.dtype, math.prod(t.shape), int(t.external["offset"]))
        .reshape(t.shape)
        .copy()
        for name, t in graph.constants.items()
        if t.value is None
    }
    return {name: OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}


def _session(file: Path, document: bytes, constants: dict[str, Any], threads: int) -> Any:
    """A session of the checked graph; it reads nothing from the disk again."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Idle threads would take the cores from those that decode and extract.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_external_initializers([*constants], [*constants.values()])
    try:
        return onnxruntime.InferenceSession(document, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have no common base
        raise DataError(f"{str(file)!r} is damaged: {_first_line(error)}") from None


def _check_constants(graph: Graph, n_bytes: int) -> None:
    """Raises ValueError for a constant that does not lie in the weights, whole."""
    for name, tensor in graph.constants.items():
        if tensor.value is not None:
            continue
        place = tensor.external
        first, length = int(place.get("offset", -1)), int(place.get("length", -1))
        whole = math.prod(tensor.shape) * tensor.dtype.itemsize
        if place.get("location") != WEIGHTS or first < 0 or length != whole:
            raise ValueError(f"{name!r} is not in {WEIGHTS}")
        if first + length > n_bytes:
            raise ValueError(f"{name!r} lies behind the end of {WEIGHTS}")


def _finite(
    rows: NDArray[np.floating], x: NDArray[np.float32], folder: Path
) -> NDArray[np.floating]:
    """The rows, if all are finite: NaN has no place in an answer."""
    if np.isfinite(rows).all():
        return rows
    if not np.isfinite(x).all():
        raise DataError("gives features that are not finite: it is too loud for them")
    raise DataError(f"{str(folder / WEIGHTS)!r} is damaged: it gives values that are not finite")


def _by_torch(folder: Path, why: str) -> NetworkRunner:
    if importlib.util.find_spec("torch") is None:
        raise DataError(f"{str(folder)!r} {why}: pip install 'audiocls[train]'")
    import torch

    from audiocls.classifier.model import Model

    classifier = Model.load(folder)

    def compute(
        function: Callable[[torch.Tensor], torch.Tensor], x: NDArray[np.float32]
    ) -> NDArray[np.floating]:
        with torch.inference_mode():
            rows: NDArray[np.floating] = function(torch.from_numpy(x)).numpy()
        return _finite(rows, x, folder)

    embed = partial(compute, classifier.embed)
    return NetworkRunner(partial(compute, classifier.probabilities), lambda: embed)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
