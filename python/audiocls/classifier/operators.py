"""How much a graph computes, found without computing it: shapes follow from shapes.

So a graph that would fill the memory or never end is refused before it runs. Numbers that decide
shapes are followed through the graph (`Shape` → `Concat` → `Reshape`). Numbers that come from
features are not known, and may decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.onnx_file import TYPES, Constant, Graph, Node

# The numbers of larger tensors are not followed: no shape has so many.
_FOLLOWED = 1 << 12
# For each number of a graph's input, at most so many numbers in all results, and products: several
# times what any of our networks needs.
CELLS = 2_000
PRODUCTS = 1_000_000
_LEAST = 1 << 22  # small inputs may have so many anyway
_MOST_NODES = 10_000

Shape = tuple[int, ...]


class Known(NamedTuple):
    """What is known of a result: its shape, and its numbers if they may decide a shape."""

    shape: Shape
    value: NDArray[Any] | None = None


ShapeRule = Callable[[Node, list[Any]], Any]


def check_cost(
    graph: Graph, shape: Shape, most_cells: int = CELLS, most_products: int = PRODUCTS
) -> list[Shape]:
    """Returns the shapes of what a graph gives for float32 features of some shape.

    Args:
        graph: the program.
        shape: of the features.
        most_cells: numbers in all results together, for each number of the features.
        most_products: products, for each number of the features.

    Raises:
        ValueError: the graph has an unknown operator, an impossible shape or one that is not known
            before it runs, or more work than that.
    """
    if len(graph.inputs) != 1 or graph.inputs[0] in graph.constants:
        raise ValueError(f"it takes {len(graph.inputs)} inputs, features are one")
    if len(graph.nodes) > _MOST_NODES:
        raise ValueError(f"it has more than {_MOST_NODES} operations")
    known: dict[str, Any] = {name: _constant(t) for name, t in graph.constants.items()}
    known[graph.inputs[0]] = Known(shape)
    size = math.prod(shape)
    # Weights may be cast, or put in another order, first.
    weights = _LEAST + 8 * sum(math.prod(t.shape) for t in graph.constants.values())
    cells = products = 0
    for node in graph.nodes:
        names = [name for name in node.outputs if name]
        if len(names) > len(set(names)) or not known.keys().isdisjoint(names):
            raise ValueError("it gives one name to two results")
        inputs = [_input(known, name) for name in node.inputs]
        results = _results(node, inputs)
        for part in (p for r in results for p in (r if isinstance(r, list) else [r])):
            if any(n < 0 for n in part.shape):
                raise ValueError(f"{node.operator} gives the shape {list(part.shape)}")
            cells += math.prod(part.shape)
        products += _products(node, inputs, results[0])
        if cells > most_cells * size + weights or products > most_products * size + weights:
            raise ValueError(f"it takes more memory or time than a network for {list(shape)} needs")
        known.update((n, r) for n, r in zip(node.outputs, results, strict=False) if n)
    found = [known.get(name) for name in graph.outputs]
    if not all(isinstance(f, Known) for f in found):
        raise ValueError(f"it does not give {' and '.join(map(repr, graph.outputs))}")
    return [f.shape for f in found if f is not None]


def _input(known: dict[str, Any], name: str) -> Any:
    """Returns what an earlier node gave; None for an input that is left out."""
    if name and name not in known:
        raise ValueError(f"nothing before gives {name!r}")
    return known.get(name)


def _results(node: Node, inputs: list[Any]) -> list[Any]:
    """Returns what a node gives: one result or several; a list is a sequence."""
    if node.operator not in _RULES:
        raise ValueError(f"it has the operator {node.operator!r}, which no network here needs")
    try:
        result = _RULES[node.operator](node, inputs)
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{node.operator} lacks an input or attribute ({error!r})") from None
    return [*result] if type(result) is tuple else [result]


def _constant(tensor: Constant) -> Known:
    small = tensor.value is not None and tensor.value.size <= _FOLLOWED
    return Known(tensor.shape, tensor.value if small else None)


def _products(node: Node, inputs: list[Any], result: Any) -> int:
    """Returns the number of multiplications, or of operations that take as long."""
    if node.operator in ("Conv", "MatMul", "Gemm"):
        of = inputs[0].shape[-1] if node.operator == "MatMul" else math.prod(inputs[1].shape[1:])
        of = math.prod(inputs[1].shape) if node.operator == "Gemm" else of
        rows = result.shape[0] if node.operator == "Gemm" else math.prod(result.shape)
        return int(rows * of)
    if node.operator == "LSTM":
        steps, batch = inputs[0].shape[:2]
        return int(steps * batch * (math.prod(inputs[1].shape) + math.prod(inputs[2].shape)))
    if node.operator in ("MaxPool", "AveragePool"):
        return int(math.prod(result.shape) * math.prod(node.attributes["kernel_shape"]))
    return sum(math.prod(i.shape) for i in inputs if isinstance(i, Known))


def _numbers(known: Known | None, what: str) -> list[int]:
    if known is None or known.value is None:
        raise ValueError(f"{what} is not known before it runs")
    return [int(n) for n in known.value.ravel()]


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"there is no axis {axis} of {rank}")
    return axis % rank


# --- a rule for each operator ---


def _with_value(shape: Shape, inputs: list[Any], compute: Callable[..., Any]) -> Known:
    """Returns a result; its numbers follow if those of the inputs are known and few."""
    if math.prod(shape) > _FOLLOWED or any(i is None or i.value is None for i in inputs):
        return Known(shape)
    with np.errstate(all="ignore"):
        return Known(shape, np.asarray(compute(*(i.value for i in inputs))).reshape(shape))


def _each(compute: Callable[..., Any] | None = None) -> ShapeRule:
    """Returns the rule of an operation number by number, inputs stretched to one shape."""

    def rule(node: Node, inputs: list[Any]) -> Known:
        shape = np.broadcast_shapes(*(i.shape for i in inputs if i is not None))
        return Known(shape) if compute is None else _with_value(shape, inputs, compute)

    return rule


def _divide(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    if a.dtype.kind != "i":
        quotient: NDArray[Any] = np.divide(a, b)
        return quotient
    whole: NDArray[Any] = np.trunc(np.divide(a, np.where(b == 0, 1, b)))
    found: NDArray[Any] = np.where(b == 0, 0, whole).astype(np.int64)
    return found


def _first(node: Node, inputs: list[Any]) -> Known:
    return Known(inputs[0].shape)


def _number(node: Node, inputs: list[Any]) -> Known:
    ((name, value),) = node.attributes.items()
    if isinstance(value, Constant):
        return _constant(value)
    if name not in ("value_int", "value_ints", "value_float", "value_floats"):
        raise ValueError(f"a constant is given as {name!r}")
    dtype = np.int64 if "int" in name else np.float32
    array = np.array(value, dtype)
    return Known(array.shape, array)


def _cast(node: Node, inputs: list[Any]) -> Known:
    dtype = TYPES[node.attributes["to"]]
    return _with_value(inputs[0].shape, inputs, lambda x: x.astype(dtype))


def _cast_like(node: Node, inputs: list[Any]) -> Known:
    given, like = inputs
    if like.value is None:
        return Known(given.shape)
    return _with_value(given.shape, [given], lambda x: x.astype(like.value.dtype))


def _shape(node: Node, inputs: list[Any]) -> Known:
    first, last = node.attributes.get("start", 0), node.attributes.get("end")
    value = np.array(inputs[0].shape[first:last], np.int64)
    return Known(value.shape, value)


def _transpose(node: Node, inputs: list[Any]) -> Known:
    shape = inputs[0].shape
    order = node.attributes.get("perm", list(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"{order} is no order of {len(shape)} axes")
    return _with_value(tuple(shape[i] for i in order), inputs, lambda x: np.transpose(x, order))


def _reshape(node: Node, inputs: list[Any]) -> Known:
    given, wanted = inputs[0].shape, _numbers(inputs[1], "a shape")
    if not node.attributes.get("allowzero", 0):
        wanted = [given[i] if n == 0 else n for i, n in enumerate(wanted)]
    n, rest = math.prod(given), math.prod(n for n in wanted if n != -1)
    shape = tuple((n // rest if rest else 0) if size == -1 else size for size in wanted)
    if wanted.count(-1) > 1 or math.prod(shape) != n:
        raise ValueError(f"{list(given)} cannot be {wanted}")
    return _with_value(shape, inputs[:1], lambda x: x)


def _flatten(node: Node, inputs: list[Any]) -> Known:
    shape = inputs[0].shape
    axis = node.attributes.get("axis", 1) % (len(shape) + 1)
    return Known((math.prod(shape[:axis]), math.prod(shape[axis:])))


def _expand(node: Node, inputs: list[Any]) -> Known:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(_numbers(inputs[1], "a shape")))
    return _with_value(shape, inputs[:1], lambda x: np.broadcast_to(x, shape))


def _concat(node: Node, inputs: list[Any]) -> Known:
    shapes = [list(i.shape) for i in inputs]
    axis = _axis(node.attributes["axis"], len(shapes[0]))
    along = sum(shape.pop(axis) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("what is put together does not fit")
    shape = (*shapes[0][:axis], along, *shapes[0][axis:])
    return _with_value(shape, inputs, lambda *x: np.concatenate(x, axis))


def _unsqueeze(node: Node, inputs: list[Any]) -> Known:
    axes = _numbers(inputs[1], "an axis")
    shape, rank = list(inputs[0].shape), len(inputs[0].shape) + len(axes)
    for axis in sorted(_axis(axis, rank) for axis in axes):
        shape.insert(axis, 1)
    return _with_value(tuple(shape), inputs[:1], lambda x: x)


def _squeeze(node: Node, inputs: list[Any]) -> Known:
    shape = inputs[0].shape
    if len(inputs) > 1:
        axes = {_axis(axis, len(shape)) for axis in _numbers(inputs[1], "an axis")}
    else:
        axes = {i for i, n in enumerate(shape) if n == 1}
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError("an axis that is left out has more than one place")
    kept = tuple(n for i, n in enumerate(shape) if i not in axes)
    return _with_value(kept, inputs[:1], lambda x: x)


def _gather(node: Node, inputs: list[Any]) -> Known:
    given, at = inputs
    axis = _axis(node.attributes.get("axis", 0), len(given.shape))
    shape = (*given.shape[:axis], *at.shape, *given.shape[axis + 1 :])
    return _with_value(shape, inputs, lambda x, i: np.take(x, i, axis, mode="clip"))


def _slice(node: Node, inputs: list[Any]) -> Known:
    starts, ends = (_numbers(i, "where a slice is") for i in inputs[1:3])
    given = inputs[0].shape
    more = [_numbers(i, "where a slice is") for i in inputs[3:] if i is not None]
    axes = more[0] if more else list(range(len(starts)))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    cut = [slice(None)] * len(given)
    for first, last, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[_axis(axis, len(given))] = slice(first, last, step)
    shape = tuple(len(range(n)[part]) for n, part in zip(given, cut, strict=True))
    return _with_value(shape, inputs[:1], lambda x: x[tuple(cut)])


def _range(node: Node, inputs: list[Any]) -> Known:
    if any(i.value is None for i in inputs):
        raise ValueError("a range is not known before it runs")
    first, last, step = (i.value.item() for i in inputs)
    n = max(0, math.ceil((last - first) / step)) if step else 0
    dtype = inputs[0].value.dtype
    return _with_value((n,), inputs, lambda a, b, c: (a + c * np.arange(n)).astype(dtype))


def _gemm(node: Node, inputs: list[Any]) -> Known:
    a, b = inputs[0].shape, inputs[1].shape
    a = a[::-1] if node.attributes.get("transA", 0) else a
    b = b[::-1] if node.attributes.get("transB", 0) else b
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        raise ValueError(f"matrices {list(a)} and {list(b)} do not fit")
    return Known((a[0], b[1]))


def _matmul(node: Node, inputs: list[Any]) -> Known:
    a, b = inputs[0].shape, inputs[1].shape
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(f"matrices {list(a)} and {list(b)} do not fit")
    return Known((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]))


def _places(node: Node, given: Shape, kernel: list[int]) -> Shape:
    """Where a kernel is put."""
    n, of = len(given), node.attributes
    if of.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError("padding must be given in numbers")
    strides, holes = of.get("strides", [1] * n), of.get("dilations", [1] * n)
    pads = of.get("pads", [0] * 2 * n)
    if not (len(kernel) == len(strides) == len(holes) == n == len(pads) / 2):
        raise ValueError("a kernel has another number of axes than what it is for")
    if min([*kernel, *strides, *holes]) < 1 or min(pads) < 0:
        raise ValueError("sizes of a kernel must be >= 1")
    over = int(of.get("ceil_mode", 0))  # at most one place more
    room = [given[i] + pads[i] + pads[n + i] - holes[i] * (kernel[i] - 1) - 1 for i in range(n)]
    return tuple(max(0, room[i] // strides[i] + 1) + over for i in range(n))


def _conv(node: Node, inputs: list[Any]) -> Known:
    x, kernel = inputs[0].shape, inputs[1].shape
    if len(x) < 3 or x[1] != kernel[1] * node.attributes.get("group", 1):
        raise ValueError(f"a kernel {list(kernel)} does not fit {list(x)}")
    return Known((x[0], kernel[0], *_places(node, x[2:], list(kernel[2:]))))


def _pool(node: Node, inputs: list[Any]) -> Known:
    x = inputs[0].shape
    if len(node.outputs) > 1:
        raise ValueError("the places of maxima are not needed")
    return Known((*x[:2], *_places(node, x[2:], node.attributes["kernel_shape"])))


def _global_pool(node: Node, inputs: list[Any]) -> Known:
    x = inputs[0].shape
    return Known((*x[:2], *[1] * (len(x) - 2)))


def _reduce(node: Node, inputs: list[Any]) -> Known:
    shape = inputs[0].shape
    given = _numbers(inputs[1], "an axis") if len(inputs) > 1 and inputs[1] is not None else []
    axes = {_axis(axis, len(shape)) for axis in given} or set(range(len(shape)))
    if not given and node.attributes.get("noop_with_empty_axes", 0):
        axes = set()
    keep = node.attributes.get("keepdims", 1)
    return Known(tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes))


def _lstm(node: Node, inputs: list[Any]) -> tuple[Known, Known, Known]:
    (steps, batch, size), (ways, gates, takes) = inputs[0].shape, inputs[1].shape
    hidden = node.attributes["hidden_size"]
    both = node.attributes.get("direction", b"forward") == b"bidirectional"
    fits = (ways, gates, takes) == (1 + both, 4 * hidden, size) and inputs[2].shape == (
        ways, gates, hidden,
    )  # fmt: skip
    if not fits or node.attributes.get("layout", 0):
        raise ValueError("the weights of an LSTM do not fit")
    last = Known((ways, batch, hidden))
    return Known((steps, ways, batch, hidden)), last, last


def _split(node: Node, inputs: list[Any]) -> list[Known]:
    shape = inputs[0].shape
    axis = _axis(node.attributes.get("axis", 0), len(shape))
    if len(inputs) > 1 and inputs[1].shape:
        sizes = _numbers(inputs[1], "how to split")
    else:
        each = _numbers(inputs[1], "how to split")[0] if len(inputs) > 1 else 1
        if each < 1 or shape[axis] // each > _FOLLOWED:
            raise ValueError(f"{shape[axis]} cannot be split by {each}")
        sizes = [min(each, shape[axis] - i) for i in range(0, shape[axis], each)]
    if sum(sizes) != shape[axis] or not node.attributes.get("keepdims", 1):
        raise ValueError("parts are not the whole")
    return [Known((*shape[:axis], n, *shape[axis + 1 :])) for n in sizes]


def _part(node: Node, inputs: list[Any]) -> Known:
    (at,) = _numbers(inputs[1], "which part")
    found: Known = inputs[0][at]
    return found


_RULES: dict[str, ShapeRule] = {
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Softmax", "LogSoftmax", "Sigmoid", "Tanh", "Elu", "Selu", "Erf",
         "Gelu", "HardSigmoid", "HardSwish", "Softplus", "BatchNormalization",
         "InstanceNormalization", "LayerNormalization"), _first),
    **dict.fromkeys(("Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Clip", "Pow", "Where"),
                    _each()),
    "Identity": _each(lambda x: x), "Floor": _each(np.floor), "Ceil": _each(np.ceil),
    "Add": _each(np.add), "Sub": _each(np.subtract), "Mul": _each(np.multiply),
    "Div": _each(_divide), "Max": _each(lambda *x: np.maximum.reduce(x)),
    "Min": _each(lambda *x: np.minimum.reduce(x)), "And": _each(np.logical_and),
    "Or": _each(np.logical_or), "Not": _each(np.logical_not), "Equal": _each(np.equal),
    "Less": _each(np.less), "LessOrEqual": _each(np.less_equal),
    "Greater": _each(np.greater), "GreaterOrEqual": _each(np.greater_equal),
    "Constant": _number,
    "Cast": _cast, "CastLike": _cast_like, "Shape": _shape, "Transpose": _transpose,
    "Reshape": _reshape, "Flatten": _flatten, "Expand": _expand, "Concat": _concat,
    "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Gather": _gather, "Slice": _slice,
    "Range": _range, "Gemm": _gemm, "MatMul": _matmul, "Conv": _conv, "MaxPool": _pool,
    "AveragePool": _pool, "GlobalAveragePool": _global_pool, "GlobalMaxPool": _global_pool,
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin"), _reduce),
    "LSTM": _lstm, "SplitToSequence": _split, "SequenceAt": _part,
}  # fmt: skip
