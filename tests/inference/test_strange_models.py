"""Models of strangers: graphs that hang, fill or crash, damaged weights, files that are none."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import audiocls
from audiocls.classifier.description import Description
from audiocls.classifier.graph import write_graph
from audiocls.classifier.model import Model, installed_versions
from audiocls.cli import main
from audiocls.engine.cut import Cut
from audiocls.errors import DataError
from audiocls.models import MODELS

CLASSES, FEATURES = ["a", "b", "c"], 13
CLIP = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is sound."""
    spec = audiocls.FeatureSpec.preset("mfcc")
    description = Description(
        "lstm", (49, FEATURES), CLASSES, spec, Cut(clip_s=0.5, hop_s=0.5), installed_versions()
    )
    folder = tmp_path_factory.mktemp("sound")
    Model(description).eval().save(folder)
    write_graph(folder)
    return folder


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return shutil.copytree(sound, tmp_path / "model")


def refused(model: Path, match: str) -> None:
    """The library says so in a DataError, the command line in one line."""
    with pytest.raises(DataError, match=match):
        audiocls.Classifier.load(model).predict([CLIP])
    done = CliRunner().invoke(main, ["predict", str(model), str(model / "model.json")])
    assert done.exit_code == 1
    assert done.stderr.count("\n") + done.stdout.count("\n") <= 2


# --- graphs ---


def constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


LOOP = helper.make_graph(
    [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["x"], ["x2"])],
    "body",
    [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
    ],
    [
        helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x2", TensorProto.FLOAT, None),
    ],
)
BEGIN = [
    helper.make_node("ReduceMean", ["features", "ax"], ["m"], keepdims=0),
    helper.make_node("Gather", ["m", "ix"], ["g"], axis=1),
]
GIVEN = [constant("ax", np.array([1])), constant("ix", np.arange(len(CLASSES)))]
DOUBLINGS = [
    helper.make_node("Concat", [f"d{i}" if i else "features"] * 2, [f"d{i + 1}"], axis=0)
    for i in range(40)
]
MATRICES = [
    helper.make_node("MatMul", [f"p{i}" if i else "big", "big"], [f"p{i + 1}"]) for i in range(900)
]
NODE = helper.make_node
# Nodes after BEGIN, further constants, and what is said of them.
GRAPHS: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto], str]] = {
    "endless": (
        [NODE("Loop", ["M", "T", "g"], ["probabilities"], body=LOOP)],
        [constant("M", np.int64(2**63 - 1)), constant("T", np.array(True))],
        "attribute",
    ),
    "34 GB": (
        [NODE("ConstantOfShape", ["big"], ["c"])],
        [constant("big", np.array([2**33]))],
        "operator 'ConstantOfShape'",
    ),
    "34 GB by stretching": (
        [NODE("Expand", ["g0", "big"], ["probabilities"])],
        [constant("big", np.array([2**33, 3])), constant("g0", np.float32([[1, 2, 3]]))],
        "more memory or time",
    ),
    "a range": (
        [NODE("Range", ["a", "b", "c"], ["probabilities"])],
        [constant("a", np.int64(0)), constant("b", np.int64(2**62)), constant("c", np.int64(1))],
        "more memory or time",
    ),
    "of the clips' number": (
        [
            NODE("Shape", ["features"], ["s"]),
            NODE("Mul", ["s", "k"], ["s2"]),
            NODE("Reshape", ["features", "s2"], ["probabilities"]),
        ],
        [constant("k", np.array([2**20]))],
        "cannot be",
    ),
    "doubled": ([*DOUBLINGS, NODE("Identity", ["d40"], ["probabilities"])], [], "more memory"),
    "products": (
        [*MATRICES, NODE("Identity", ["p900"], ["probabilities"])],
        [constant("big", np.zeros((700, 700), np.float32))],
        "more memory or time",
    ),
    "shape of features": (
        [NODE("Cast", ["g"], ["i"], to=7), NODE("Expand", ["g", "i"], ["probabilities"])],
        [],
        "not known before it runs",
    ),
    "scalar": ([NODE("ReduceMean", ["features"], ["probabilities"], keepdims=0)], [], "it gives"),
    "rank 3": (
        [NODE("Unsqueeze", ["g", "zero"], ["probabilities"])],
        [constant("zero", np.array([0]))],
        "it gives",
    ),
    "no rows": (
        [NODE("Identity", ["s"], ["probabilities"])],
        [constant("s", np.zeros((0, len(CLASSES)), np.float32))],
        "it gives",
    ),
    "reshape fails": (
        [NODE("Reshape", ["features", "to"], ["probabilities"])],
        [constant("to", np.array([7, len(CLASSES)]))],
        "cannot be",
    ),
    "of others": ([NODE("Gelu", ["g"], ["probabilities"], domain="com.microsoft")], [], "com.mic"),
    "nothing": ([], [], "does not give"),
    "text": ([NODE("Cast", ["g"], ["probabilities"], to=8)], [], "Cast lacks"),
    "whole numbers": ([NODE("Cast", ["g"], ["probabilities"], to=7)], [], "damaged|computed"),
    "not a number": (
        [NODE("Div", ["g", "none"], ["h"]), NODE("Sub", ["h", "h"], ["probabilities"])],
        [constant("none", np.float32(0))],
        "not finite",
    ),
}


def write(model: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> Any:
    old = onnx.load(model / "network.onnx", load_external_data=False)
    graph = helper.make_graph(
        [*BEGIN, *nodes],
        "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["b", "f", FEATURES])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)],
        [*GIVEN, *constants],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    made.ir_version = 10
    made.metadata_props.extend(old.metadata_props)
    (model / "network.onnx").write_bytes(made.SerializeToString())
    return made


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_of_strangers_are_refused(model: Path, name: str) -> None:
    nodes, constants, said = GRAPHS[name]
    write(model, nodes, constants)
    refused(model, said)


def test_a_small_graph_of_a_stranger_runs(model: Path) -> None:
    """Not who wrote a graph decides, but what it does."""
    write(model, [NODE("Softmax", ["g"], ["probabilities"])], [])
    p = audiocls.Classifier.load(model).predict_proba([CLIP])
    assert p.sum() == pytest.approx(1)


def hidden_function(made: Any) -> None:
    body = helper.make_function("", "F", ["x"], ["y"], [NODE("Relu", ["x"], ["y"])], [])
    made.functions.append(body)


def second_input(made: Any) -> None:
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["b"]))


def elsewhere(made: Any) -> None:
    tensor = made.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=1)
    for key, value in (("location", "../../secret"), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)


def behind_the_end(made: Any) -> None:
    tensor = made.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=1)
    place = {"location": "weights.safetensors", "offset": str(2**40), "length": "4"}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (hidden_function, "field 25"),
        (second_input, "2 inputs|too many values"),
        (elsewhere, "is not in weights"),
        (behind_the_end, "behind the end"),
    ],
)
def test_what_hides_in_a_graph(model: Path, change: Callable[[Any], None], said: str) -> None:
    made = write(model, [NODE("Softmax", ["g"], ["probabilities"])], [])
    change(made)
    (model / "network.onnx").write_bytes(made.SerializeToString())
    refused(model, said)


def test_two_graphs_in_one_file(model: Path) -> None:
    """Protobuf joins them; what was looked at must be what runs."""
    file = model / "network.onnx"
    file.write_bytes(file.read_bytes() * 2)
    refused(model, "2 times")


def test_any_bytes_are_a_graph_or_refused(model: Path) -> None:
    """300 mutations of a sound one: one line, or an answer."""
    sound = (model / "network.onnx").read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        mutant = bytearray(sound)
        for _ in range(rng.choice([1, 2, 20])):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        if rng.random() < 0.2:
            del mutant[rng.randrange(len(mutant)) :]
        (model / "network.onnx").write_bytes(mutant)
        try:
            p = audiocls.Classifier.load(model).predict_proba([CLIP])
        except DataError:
            continue
        assert np.isfinite(p).all()


@pytest.mark.parametrize("architecture", MODELS)
def test_our_own_graphs_are_taken(tmp_path: Path, architecture: str) -> None:
    """With room: half of what is allowed at most."""
    from audiocls.classifier import operators
    from audiocls.classifier.onnx_file import read_graph

    spec = audiocls.FeatureSpec.preset("mel")
    description = Description(
        architecture, (44, 128), CLASSES, spec, Cut(clip_s=0.5, hop_s=0.5), {}
    )
    Model(description).eval().save(tmp_path)
    write_graph(tmp_path)
    graph = read_graph((tmp_path / "network.onnx").read_bytes())
    for batch in (1, 64):
        gives = operators.check_cost(graph, (batch, 44, 128), 1_000, 500_000)
        assert gives[0] == (batch, len(CLASSES))


# --- weights ---


def damage(model: Path, how: str) -> None:
    file = model / "weights.safetensors"
    data = bytearray(file.read_bytes())
    at = 8 + struct.unpack("<Q", data[:8])[0]
    if how == "one bit":
        data[random.Random(5).randrange(at, len(data))] ^= 16
    else:
        data[at:] = (b"\0" if how == "zeros" else b"\xff") * (len(data) - at)
    file.write_bytes(data)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("how", ["one bit", "zeros", "nan"])
def test_damaged_weights_are_noticed(model: Path, how: str, graph: bool) -> None:
    damage(model, how)
    if not graph:
        (model / "network.onnx").unlink()
    refused(model, "weights.safetensors' is damaged: its data has another checksum")


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("how", ["zeros", "nan"])
def test_weights_without_a_checksum_give_no_nan(model: Path, how: str, graph: bool) -> None:
    """As earlier versions wrote them."""
    file = model / "weights.safetensors"
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = {}
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    file.write_bytes(data[:8] + text + data[8 + size :])
    if graph:
        write_graph(model)
    else:
        (model / "network.onnx").unlink()
    assert len(audiocls.Classifier.load(model).predict([CLIP])) == 1
    damage(model, how)
    refused(model, "is damaged")


# --- files that are none ---


@pytest.mark.parametrize("name", ["weights.safetensors", "network.onnx", "model.json"])
@pytest.mark.parametrize("how", ["pipe", "/dev/zero", "giant"])
def test_odd_files_are_refused(model: Path, name: str, how: str) -> None:
    file = model / name
    if how == "giant":
        os.truncate(file, 30 << 30)
    else:
        file.unlink()
        os.mkfifo(file) if how == "pipe" else file.symlink_to(how)
    done = CliRunner().invoke(main, ["predict", str(model), "x.wav"])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.output
    if name == "weights.safetensors":
        done = CliRunner().invoke(main, ["info", str(model)])
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.output


def test_links_are_followed(model: Path, tmp_path: Path) -> None:
    """As git-annex, DVC and the cache of Hugging Face keep files."""
    expected = audiocls.Classifier.load(model).predict_proba([CLIP])
    for name in ("weights.safetensors", "model.json", "network.onnx"):
        shutil.move(model / name, tmp_path / f"blob-{name[:3]}")
        (model / name).symlink_to(tmp_path / f"blob-{name[:3]}")
    assert np.array_equal(audiocls.Classifier.load(model).predict_proba([CLIP]), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"quiet_db": -3}, "quiet_db -3 .*must be >= 0"), ({"hop_s": 1e-4}, "hop_s 0.0001 must be")],
)
def test_settings_that_make_no_sense(model: Path, change: dict[str, float], said: str) -> None:
    about = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps(about | change))
    refused(model, said)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"train": 5}', '{"test": null}', "[" * 100_000]
)
def test_metrics_that_are_none(model: Path, tmp_path: Path, text: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(model, run / "model")
    (run / "metrics.json").write_text(text)
    done = CliRunner().invoke(main, ["info", str(run)])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.output
    assert "metrics.json" in done.stderr


@pytest.mark.parametrize("threshold", ["nan", "a=nan", "-nan"])
def test_a_threshold_is_a_number(model: Path, threshold: str) -> None:
    done = CliRunner().invoke(main, ["predict", str(model), "x.wav", f"--threshold={threshold}"])
    assert done.exit_code == 2
    assert "must be a number" in done.stderr
