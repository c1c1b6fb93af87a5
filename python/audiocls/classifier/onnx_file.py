"""A reader of ONNX files that trusts nothing: the few kinds of message, field by field.

A graph is a program that a stranger may have written. A file with anything that this reader does
not know (functions, subgraphs, sparse tensors, foreign operators) is invalid, so nothing runs
unseen. The field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of TensorProto.DataType; bfloat16, text and what has less than a byte are not among them.
TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 9: np.dtype(bool),
    10: np.dtype("<f2"), 11: np.dtype("<f8"),
}  # fmt: skip
_EXTERNAL = 1
_Fields = dict[int, list[Any]]


@dataclass(frozen=True)
class Constant:
    """A constant: its numbers, or their place in another file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: NDArray[Any] | None
    external: dict[str, str] = field(default_factory=dict)  # location, offset, length


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]  # int, float, bytes, list[int], list[float] or Constant


@dataclass(frozen=True)
class Graph:
    """A whole program: its operations in the order in which they run."""

    nodes: list[Node]
    constants: dict[str, Constant]
    inputs: list[str]
    outputs: list[str]
    metadata: dict[str, str]


def read_graph(data: bytes) -> Graph:
    """Reads the graph of an ONNX file.

    Raises:
        ValueError: the file is damaged, or holds something that is not known.
    """
    model = _fields(data, {1, 2, 3, 4, 5, 6, 7, 8, 14}, "model")
    for opset in model.get(8, []):
        if _text(_fields(opset, {1, 2}, "opset"), 1) not in ("", "ai.onnx"):
            raise ValueError("it needs operators that are not ONNX's own")
    graph = _fields(_one(model, 7, b""), {1, 2, 5, 10, 11, 12, 13, 16}, "graph")
    constants = {}
    for encoded in graph.get(5, []):
        name, tensor = _tensor(encoded)
        if name in constants:
            raise ValueError(f"it has two constants {name!r}")
        constants[name] = tensor
    return Graph(
        [_node(encoded) for encoded in graph.get(1, [])],
        constants,
        [_text(_fields(v, {1, 2, 3, 4}, "input"), 1) for v in graph.get(11, [])],
        [_text(_fields(v, {1, 2, 3, 4}, "output"), 1) for v in graph.get(12, [])],
        _pairs(model.get(14, [])),
    )


def _node(data: bytes) -> Node:
    node = _fields(data, {1, 2, 3, 4, 5, 6, 7, 9}, "node")
    if _text(node, 7) not in ("", "ai.onnx"):
        raise ValueError(f"it has an operator of {_text(node, 7)!r}")
    attributes = dict(_attribute(encoded) for encoded in node.get(5, []))
    inputs, outputs = ([_decoded(name) for name in node.get(i, [])] for i in (1, 2))
    return Node(_text(node, 4), inputs, outputs, attributes)


def _attribute(data: bytes) -> tuple[str, Any]:
    # Neither a graph (6), nor many of one (11), nor what a function is called with (21).
    found = _fields(data, {1, 2, 3, 4, 5, 7, 8, 13, 20}, "attribute")
    kind = _one(found, 20, 0)
    value: Any
    if kind == 1:
        (value,) = struct.unpack("<f", _one(found, 2, bytes(4)))
    elif kind == 2:
        value = _signed(_one(found, 3, 0))
    elif kind == 3:
        value = _one(found, 4, b"")
    elif kind == 4:
        _, value = _tensor(_one(found, 5, b""))
    elif kind == 6:
        value = [struct.unpack_from("<f", part)[0] for part in found.get(7, [])]
    elif kind == 7:
        value = _integers(found.get(8, []))
    else:
        raise ValueError(f"it has an attribute of kind {kind}")
    return _text(found, 1), value


def _tensor(data: bytes) -> tuple[str, Constant]:
    found = _fields(data, {1, 2, 4, 5, 7, 8, 9, 12, 13, 14, 16}, "tensor")
    kind = _one(found, 2, 0)
    if kind not in TYPES:
        raise ValueError(f"it has a tensor of type {kind}")
    name, shape, dtype = _text(found, 8), tuple(_integers(found.get(1, []))), TYPES[kind]
    n = 1
    for size in shape:
        n *= size
        if size < 0 or n > 2**40:
            raise ValueError(f"the constant {name!r} has the shape {list(shape)}")
    if _one(found, 14, 0) == _EXTERNAL:
        return name, Constant(shape, dtype, None, _pairs(found.get(13, [])))
    if 9 in found:
        raw = _one(found, 9, b"")
    elif kind == 1:
        raw = b"".join(found.get(4, []))
    elif kind == 7:
        raw = np.array(_integers(found.get(7, [])), np.int64).tobytes()
    else:
        raw = np.array(_integers(found.get(5, [])), np.int32).astype(dtype).tobytes()
    if len(raw) != n * dtype.itemsize:
        raise ValueError(f"the constant {name!r} has {len(raw)} bytes for {list(shape)}")
    return name, Constant(shape, dtype, np.frombuffer(raw, dtype).reshape(shape))


def _pairs(encoded: list[bytes]) -> dict[str, str]:
    pairs = [_fields(pair, {1, 2}, "pair") for pair in encoded]
    return {_text(pair, 1): _text(pair, 2) for pair in pairs}


# --- the wire: https://protobuf.dev/programming-guides/encoding ---


def _fields(data: bytes, known: set[int], what: str) -> _Fields:
    """Returns what a message holds, by field number.

    Raises:
        ValueError: a number is not among `known`.
    """
    found: _Fields = {}
    if not isinstance(data, bytes):
        raise ValueError(f"a {what} is no message")
    for number, value in _read(data):
        if number not in known:
            raise ValueError(f"a {what} has field {number}, which is not known")
        found.setdefault(number, []).append(value)
    return found


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value: int | bytes
            value, at = _varint(data, at)
        else:
            if key & 7 == 2:
                size, at = _varint(data, at)
            elif key & 7 in (1, 5):
                size = 8 if key & 7 == 1 else 4
            else:
                raise ValueError(f"a field has wire type {key & 7}")
            value = data[at : at + size]
            if len(value) != size:
                raise ValueError("it is cut short")
            at += size
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it is cut short")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number has too many bytes")


def _one(found: _Fields, number: int, otherwise: Any) -> Any:
    """Returns the only value of a field; of several values, readers would take different ones."""
    values = found.get(number, [otherwise])
    if len(values) != 1 or type(values[0]) is not type(otherwise):
        raise ValueError(f"field {number} is there {len(values)} times, or of another type")
    return values[0]


def _text(found: _Fields, number: int) -> str:
    return _decoded(_one(found, number, b""))


def _decoded(value: Any) -> str:
    if not isinstance(value, bytes):
        raise ValueError("a name is no text")
    return value.decode()  # its error is a ValueError


def _integers(values: list[Any]) -> list[int]:
    """Returns whole numbers, which are stored one by one or packed."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_signed(number))
    return found


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
