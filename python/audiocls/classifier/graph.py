"""network.onnx: the graph of a model, which onnxruntime runs without torch.

It gives probabilities and embeddings for features. Its weights are external data in
weights.safetensors, so they exist once, and the graph itself has some tens of kB.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocls.classifier.description import (
    EMBEDDING,
    NETWORK,
    WEIGHTS,
    Description,
    model_folder,
    read_description,
)
from audiocls.classifier.model import Model
from audiocls.classifier.onnx_file import read_graph
from audiocls.classifier.operators import check_cost
from audiocls.classifier.weights import read_header
from audiocls.engine.cut import Cut
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import DataError
from audiocls.files import replace_file

OPSET = 20
# What the graph's names of the weights have before those of the file.
_OURS = "classifier."
# Which network a graph is of: all else that a description says is not in it.
# The last two say of what kind of features the level is removed, if it is, and the task.
_Shape = tuple[str, tuple[int | None, int], int, str | None, str]


def write_graph(path: str | Path) -> None:
    """Writes network.onnx beside the weights of a saved model.

    Raises:
        DataError: the network cannot be exported, or the model is damaged.
    """
    import onnx

    folder = model_folder(path)
    description = read_description(folder)
    header = read_header(folder / WEIGHTS)
    levelled = description.spec.kind if description.remove_level else None
    own = description.architecture, description.input_shape, len(description.classes)
    shape = (*own, levelled, description.task)
    graph = onnx.ModelProto.FromString(_graph(shape))
    casts = []
    for tensor in graph.graph.initializer:
        entry = header.entries.get(tensor.name.removeprefix(_OURS))
        if entry is None:
            continue  # a constant of the graph itself
        if entry["dtype"] == "F16":
            # Half as many bytes on disk; computed in float32.
            whole = tensor.name
            tensor.name, tensor.data_type = f"{whole}.float16", onnx.TensorProto.FLOAT16
            casts.append(
                onnx.helper.make_node("Cast", [tensor.name], [whole], to=onnx.TensorProto.FLOAT)
            )
        first, last = entry["data_offsets"]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        place = {"location": WEIGHTS, "offset": header.start + first, "length": last - first}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.metadata_props.add(key="weights_header", value=header.identity)
    document = graph.SerializeToString()
    frames, features = description.input_shape
    try:
        check_cost(read_graph(document), (2, 32 if frames is None else frames, features))
    except ValueError as error:
        raise DataError(f"the graph would not be taken back: {error}") from None
    replace_file(folder / NETWORK, document)


@functools.lru_cache(maxsize=16)
def _graph(shape: _Shape) -> bytes:
    """Returns the graph of a network with any weights.

    It is traced as TorchScript, in a twentieth of the time that `to_onnx` takes. What Python
    computes from a size becomes a constant there; the tests of graphs with other lengths find that.
    """
    import onnx

    architecture, input_shape, n_classes, levelled, task = shape
    classes = [str(i) for i in range(n_classes)]
    spec = FeatureSpec.preset("mfcc") if levelled == "mfcc" else FeatureSpec()
    description = Description(
        architecture,
        input_shape,
        classes,
        spec,
        Cut(clip_s=0),
        {},
        levelled is not None,
        task=task,
    )
    with torch.random.fork_rng(devices=[]):
        model = Model(description)
        free = takes_any_length(model)
        for values in model.state_dict().values():
            if values.is_floating_point():
                values.normal_()  # Weights that are equal would become one.
    frames, features = input_shape
    names, axes = ("features", "probabilities", EMBEDDING), ("batch", "frames")[: 1 + free]
    traced = io.BytesIO()
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            _Answers(model).eval(),
            (torch.zeros(2, 32 if frames is None else frames, features),),
            traced,  # type: ignore[arg-type]  # It takes a file as well.
            dynamo=False,
            # As they are: nothing is computed from weights beforehand, or put into one.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            opset_version=OPSET,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={
                name: dict(enumerate(axes if name == names[0] else axes[:1])) for name in names
            },
        )
    document = _bare(onnx.ModelProto.FromString(traced.getvalue()), axes)
    _expand(document.graph)
    for tensor in document.graph.initializer:
        if tensor.name.startswith(_OURS):
            tensor.ClearField("raw_data")
    return bytes(document.SerializeToString())


@torch.no_grad()
def takes_any_length(model: Model) -> bool:
    """Returns whether the network takes clips of any length."""
    frames, features = model.description.input_shape
    if frames is None:
        return True
    try:
        model.eval()(torch.zeros(1, 2 * frames, features))
    except RuntimeError:
        return False
    return True


class _Answers(nn.Module):
    """The outputs of the graph: probabilities, and what the head of the network is given.

    Float32 [batch, n_classes], as other programs expect them, and float32 [batch, size].
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.classifier = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns both for features [batch, frames, features]."""
        embedding = self.classifier.embed(x)
        logits = self.classifier.network.head(embedding)
        return self.classifier.calibrate(logits).float(), embedding


def to_onnx(module: nn.Module, example: Tensor, names: tuple[str, ...], axes: Sequence[str]) -> Any:
    """Exports a module with one input to ONNX.

    Args:
        module: what is exported.
        example: an input of it.
        names: of the input, then of each output.
        axes: names of the first axes of the input, which may have any length.

    Returns:
        An onnx.ModelProto.

    Raises:
        DataError: torch cannot export the module.
    """
    dims = [torch.export.Dim.DYNAMIC if i < len(axes) else torch.export.Dim.STATIC
            for i in range(example.ndim)]  # fmt: skip
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                module.eval(), (example,), dynamic_shapes=(dims,), strict=False
            )
            converted = torch.onnx.export(
                program,
                (),
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=OPSET,
                input_names=names[:1],
                output_names=names[1:],
            )
    except Exception as error:  # whatever torch's tracing comes upon
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"torch cannot export the network: {reason}") from error
    assert converted is not None
    return _bare(converted.model_proto, axes)


def _bare(model: Any, axes: Sequence[str]) -> Any:
    """Removes what tracing leaves in a model: stack traces with the paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        for dim, name in zip(value.type.tensor_type.shape.dim, axes, strict=False):
            if dim.dim_param:
                dim.dim_param = name
    return model


def _expand(graph: Any) -> None:
    """Makes of each ConstantOfShape an Expand, which `operators` allows a graph."""
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            value = graph.initializer.add()
            value.CopyFrom(node.attribute[0].t)
            value.name = f"{node.output[0]}.value"
            node.op_type = "Expand"
            node.input.insert(0, value.name)
            del node.attribute[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporter says about missing packages and its own future."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# --- the layer that torch does not export over a length that is not fixed ---


def replace_lstms(model: Model) -> Model:
    """Returns a copy of a model, same weights, whose LSTM layers torch can export."""
    replaced = copy.deepcopy(model)
    for parent in list(replaced.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.LSTM):
                setattr(parent, name, _LSTM(child))
    return replaced


class _LSTM(nn.Module):
    """`nn.LSTM`, batch first, as the operator LSTM of ONNX.

    The gates of ONNX stand in the order input, output, forget, cell; those of torch in the order
    input, forget, cell, output.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        if lstm.proj_size or not (lstm.bias and lstm.batch_first):
            raise DataError("only an LSTM with biases, batch first, unprojected can be exported")
        self.num_layers, self.hidden_size = lstm.num_layers, lstm.hidden_size
        self.ways = ("", "_reverse") if lstm.bidirectional else ("",)
        for name, parameter in lstm.named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Returns outputs and last states, as `nn.LSTM`, for float32 [batch, frames, size]."""
        n, ways = self.hidden_size, len(self.ways)
        x = x.transpose(0, 1)
        lasts, cells = [], []
        for layer in range(self.num_layers):
            weights = [
                torch.stack([self._gates(f"{name}_l{layer}{way}") for way in self.ways])
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            frames, batch = x.shape[:2]
            # Without GPU memory or weights of its own: only the shape of the result is said here.
            x, last, cell = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                (x, weights[0], weights[1], torch.cat(weights[2:], dim=1)),
                {"hidden_size": n, "direction": "bidirectional" if ways == 2 else "forward"},
                dtypes=(torch.float32,) * 3,
                shapes=((frames, ways, batch, n), (ways, batch, n), (ways, batch, n)),
                version=OPSET,
            )
            x = x.transpose(1, 2).flatten(2)  # [frames, batch, ways · hidden]
            lasts.append(last)
            cells.append(cell)
        return x.transpose(0, 1), (torch.cat(lasts), torch.cat(cells))

    def _gates(self, name: str) -> Tensor:
        i, f, c, o = getattr(self, name).chunk(4)
        return torch.cat([i, o, f, c])
