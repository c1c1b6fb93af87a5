"""Documents, tables, arrays and arguments of any content: success, or one of our errors.

Each command runs as on the command line, and what it says is the oracle: exit code 0, or 1 or 2
with a message; an exception of another type would show a traceback. What Rust reads is fuzzed in
`fuzz/`.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_model import saved

import audiocls
from audiocls.cli import COMMANDS, main
from audiocls.data.listing import list_recordings
from audiocls.errors import AudioclsError

RATE = 16_000

NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63, 10**400, 0.5, -0.0, 1e300]) | st.floats()
TEXTS = st.text(max_size=4) | st.sampled_from(["", "\r", "\0", "../x", "/dev/zero", "\ud800", "0"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)


def run(*arguments: str | Path) -> int:
    """Exit code of a command, which has ended as a command may."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if not (result.exception is None or isinstance(result.exception, SystemExit)):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    assert result.exit_code == 0 or result.stderr, "a failure says why"
    return result.exit_code


@contextlib.contextmanager
def replaced(file: Path, content: bytes) -> Iterator[None]:
    """The file with another content for a while."""
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


def places(document: Any) -> list[list[Any]]:
    """The keys that lead to each member of a document, at any depth."""
    if isinstance(document, dict):
        members = [*document.items()]
    elif isinstance(document, list):
        members = [*enumerate(document)]
    else:
        return []
    return [[key, *rest] for key, value in members for rest in [[], *places(value)]]


def changed(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """JSON of the document with a member, at any depth, of any value, or without it."""

    def change(place: list[Any], value: Any, *, remove: bool) -> bytes:
        copy = json.loads(json.dumps(document))
        *path, last = place
        inner = copy
        for key in path:
            inner = inner[key]
        if remove:
            del inner[last]
        else:
            inner[last] = value
        return json.dumps(copy).encode()

    return st.builds(change, st.sampled_from(places(document)), VALUES, remove=st.booleans())


def damaged(content: bytes, first: int | None = None) -> st.SearchStrategy[bytes]:
    """The content, of whose `first` bytes some are others, or cut short."""
    end = min(first or len(content), len(content)) - 1

    def damage(changes: list[tuple[int, int]], cut: int | None) -> bytes:
        copy = bytearray(content)
        for at, value in changes:
            copy[at] = value
        return bytes(copy[:cut])

    change = st.tuples(st.integers(0, end), st.integers(0, 255))
    return st.builds(
        damage, st.lists(change, min_size=1, max_size=5), st.none() | st.integers(0, end)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two classes, their store, and a model that knows them."""
    folder = tmp_path_factory.mktemp("fuzz")
    noise = np.random.default_rng(0)
    for i in range(4):
        (folder / f"data/{i % 2}").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"data/{i % 2}/{i}.wav", noise.uniform(-0.5, 0.5, RATE), RATE)
    store = audiocls.extract(folder / "data", "mel-16k", folder / "store")
    saved(folder / "model", store)
    return folder


def read_store(path: Path) -> None:
    """All that reads a store."""
    run("info", path, "--json")
    run("info", path, "--verify")
    with contextlib.suppress(AudioclsError, OSError):
        store = audiocls.open_store(path)
        _ = store.numpy(), store.labels, store.groups, store[0]


@settings(max_examples=60)
@given(data=st.data())
def test_a_store_description(folder: Path, data: st.DataObject) -> None:
    file = folder / "store/store.json"
    with replaced(file, data.draw(changed(json.loads(file.read_bytes())))):
        read_store(folder / "store")


@settings(max_examples=60)
@given(data=st.data())
def test_files_of_a_store(folder: Path, data: st.DataObject) -> None:
    files = sorted(f for f in (folder / "store").rglob("*") if f.suffix in (".npy", ".csv"))
    assert len(files) >= 3
    file = data.draw(st.sampled_from(files))
    with replaced(file, data.draw(damaged(file.read_bytes(), 200))):
        read_store(folder / "store")


@settings(max_examples=50)
@given(data=st.data())
def test_a_model_description(folder: Path, data: st.DataObject) -> None:
    file = folder / "model/model.json"
    with replaced(file, data.draw(changed(json.loads(file.read_bytes())))):
        run("info", folder / "model", "--json")
        run("predict", folder / "model", folder / "data/0/0.wav", "--json")


@settings(max_examples=30)
@given(data=st.data())
def test_weights(folder: Path, data: st.DataObject) -> None:
    file = folder / "model/weights.safetensors"
    with replaced(file, data.draw(damaged(file.read_bytes(), 600))):
        run("info", folder / "model", "--json")
        run("predict", folder / "model", folder / "data/0/0.wav", "--json")


ROWS = st.lists(
    st.dictionaries(st.sampled_from(["path", "label", "group", "x"]) | TEXTS, VALUES), max_size=4
)


@settings(max_examples=100)
@given(name=st.sampled_from(["metadata.csv", "metadata.jsonl"]), data=st.data())
def test_a_manifest(folder: Path, name: str, data: st.DataObject) -> None:
    if name == "metadata.csv":
        piece = st.sampled_from(["path", "label", ",", '"', "\n", "\r", "0/0.wav", "\0", "\ufeff"])
        text = "path,label\n" * data.draw(st.booleans()) + "".join(
            data.draw(st.lists(piece | TEXTS, max_size=20))
        )
    else:
        text = "\n".join(map(json.dumps, data.draw(ROWS)))
    file = folder / "data" / name
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        run("info", folder / "data", "--json")
        with contextlib.suppress(AudioclsError, OSError):
            list_recordings(folder / "data", inside_only=True)
    finally:
        file.unlink()


@pytest.fixture(scope="module")
def parquet() -> bytes:
    """A table with a recording within and one beside it, as Hugging Face writes it."""
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(100), RATE, format="WAV")
    table = pa.table(
        {
            "audio": [{"bytes": sound.getvalue(), "path": "a.wav"}, {"bytes": None, "path": "b"}],
            "label": [0, 1],
        }
    )
    names = {"label": {"names": ["x", "y"], "_type": "ClassLabel"}}
    about = json.dumps({"info": {"features": names}})
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), file)
    return file.getvalue()


@settings(max_examples=60)
@given(data=st.data())
def test_a_parquet_file(folder: Path, parquet: bytes, data: st.DataObject) -> None:
    file = folder / "table.parquet"
    file.write_bytes(data.draw(damaged(parquet)))
    run("info", file, "--json")


@settings(max_examples=40)
@given(data=st.data())
def test_metadata_of_a_parquet_file(folder: Path, parquet: bytes, data: st.DataObject) -> None:
    table = pq.read_table(io.BytesIO(parquet))
    about = json.loads(table.schema.metadata[b"huggingface"])
    table = table.replace_schema_metadata({"huggingface": data.draw(changed(about))})
    pq.write_table(table, folder / "table.parquet")
    run("info", folder / "table.parquet", "--json")


@settings(max_examples=100)
@given(data=st.data())
def test_arguments(folder: Path, data: st.DataObject) -> None:
    """Of commands that read what there is not, or ask for what no run can honour."""
    name = data.draw(st.sampled_from(COMMANDS))
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    flags = [flag for parameter in command.params for flag in parameter.opts if flag[0] == "-"]
    words = st.sampled_from(["", "-", "-1", "nan", "1e400", "a,b", "n_fft=-1", "0", "\udcff"])
    absent = st.sampled_from([str(folder / "absent"), "/dev/null", str(folder / "table.parquet/x")])
    # Not --debug, whose traceback is asked for; no path that is there, so that nothing long begins.
    piece = st.sampled_from(sorted({*flags, "--help"} - {"--debug"})) | words | absent
    run(name, data.draw(absent), *data.draw(st.lists(piece, max_size=6)))
