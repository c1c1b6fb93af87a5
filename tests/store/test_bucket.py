"""Stores and parts behind URLs: the same bytes as on a disk, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from fsspec.implementations.memory import MemoryFileSystem
from small_stores import write

import audiocls
from audiocls.cli import main
from audiocls.errors import DataError, SettingError
from audiocls.store import place as bucket
from audiocls.store import planning
from audiocls.store.extraction import extract_part
from audiocls.store.parts import merge

URL = "memory://features/mel"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """An empty file system in memory, an empty cache, and shards of two recordings."""
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 2)
    monkeypatch.setenv("AUDIOCLS_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(6):
        write(tmp_path / f"data/class-{i % 2}/{i}.wav", i)
    (tmp_path / "data/class-0/broken.wav").write_bytes(b"")
    return tmp_path / "data"


def at(fs: MemoryFileSystem, root: str = "/features/mel") -> dict[str, bytes]:
    """The files at a URL."""
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}


def on_disk(store: Path) -> dict[str, bytes]:
    files = {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}
    return {name: contents for name, contents in files.items() if not name.endswith(".lock")}


def another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv("AUDIOCLS_CACHE", str(tmp_path / name))


def run(*command: object) -> Result:
    return CliRunner().invoke(main, list(map(str, command)))


def test_a_store_at_a_url_is_that_on_a_disk(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = audiocls.extract(data, "mel-16k", tmp_path / "store")
    made = audiocls.extract(data, "mel-16k", URL)
    assert at(memory) == on_disk(local.path)
    assert made.path.is_relative_to(tmp_path / "cache")
    another_machine(monkeypatch, tmp_path, "elsewhere")
    opened = audiocls.open_store(URL)
    assert opened.path.is_relative_to(tmp_path / "elsewhere")
    assert np.array_equal(opened.numpy(), local.numpy())
    assert [r.path for r in opened.recordings] == [r.path for r in local.recordings]


def counted(
    monkeypatch: pytest.MonkeyPatch, method: str, fault: Callable[[str], None] = lambda name: None
) -> list[str]:
    """The names of files that `get_file` or `put_file` moved."""
    moved: list[str] = []
    original = getattr(MemoryFileSystem, method)

    def move(self: Any, source: str, target: str, **kwargs: Any) -> Any:
        name = (source if method == "get_file" else target).partition("/mel/")[2]
        fault(name)
        result = original(self, source, target, **kwargs)
        moved.append(name)
        return result

    monkeypatch.setattr(MemoryFileSystem, method, move)
    return moved


def test_what_the_copy_has_is_not_fetched_again(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audiocls.extract(data, "mel-16k", URL)
    another_machine(monkeypatch, tmp_path, "elsewhere")
    fetched = counted(monkeypatch, "get_file")
    copy = audiocls.open_store(URL).path
    assert sorted(fetched) == sorted(set(at(memory)) - {"store.json", "failures.csv"})
    fetched.clear()
    audiocls.open_store(URL)
    assert fetched == []
    (copy / "shards/00001.npy").write_bytes(b"short")
    audiocls.open_store(URL)
    assert fetched == ["shards/00001.npy"]
    fetched.clear()
    # Another store there: what is the same in both is kept.
    write(data / "class-0" / "0.wav", 9)
    another_machine(monkeypatch, tmp_path, "third")
    store = audiocls.extract(data, "mel-16k", URL, restart=True)
    another_machine(monkeypatch, tmp_path, "elsewhere")
    fetched.clear()
    assert np.array_equal(audiocls.open_store(URL).numpy(), store.numpy())
    assert "shards/00000.npy" in fetched
    assert "shards/00002.npy" not in fetched


def gone_at_the_third_shard(name: str) -> None:
    if name == "shards/00002.npy":
        raise OSError("the network is gone")


def test_a_fetch_that_was_interrupted_goes_on(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audiocls.extract(data, "mel-16k", URL)
    another_machine(monkeypatch, tmp_path, "elsewhere")
    with monkeypatch.context() as patch:
        before = counted(patch, "get_file", gone_at_the_third_shard)
        with pytest.raises(DataError, match=rf"{URL}/shards/00002.npy: cannot be read: the netw"):
            audiocls.open_store(URL)
    after = counted(monkeypatch, "get_file")
    audiocls.open_store(URL)
    assert before
    assert set(before).isdisjoint(after)
    assert "shards/00002.npy" in after


def test_damage_behind_the_url_is_noticed(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audiocls.extract(data, "mel-16k", URL)
    contents = bytearray(memory.cat_file("/features/mel/shards/00001.npy"))
    contents[-7] ^= 1
    memory.pipe_file("/features/mel/shards/00001.npy", bytes(contents))
    another_machine(monkeypatch, tmp_path, "elsewhere")
    for _ in range(2):
        with pytest.raises(DataError, match=rf"{URL}/shards/00001.npy: has other contents"):
            audiocls.open_store(URL)
    memory.rm_file("/features/mel/shards/00001.npy")
    with pytest.raises(DataError, match=rf"{URL}/shards/00001.npy: is missing"):
        audiocls.open_store(URL)
    memory.pipe_file("/features/mel/store.json", b'{"format": "other"}')
    with pytest.raises(DataError, match="format"):
        audiocls.open_store(URL)


def test_a_store_is_whole_at_the_url_or_not_there(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = on_disk(audiocls.extract(data, "mel-16k", tmp_path / "store").path)
    with monkeypatch.context() as patch:
        before = counted(patch, "put_file", gone_at_the_third_shard)
        with pytest.raises(DataError, match=rf"{URL}: cannot be written: the network is gone"):
            audiocls.extract(data, "mel-16k", URL)
    assert "store.json" not in at(memory)
    with pytest.raises(SettingError, match=rf"{URL}' is invalid: there is no feature store"):
        audiocls.open_store(URL)
    after = counted(monkeypatch, "put_file")
    audiocls.extract(data, "mel-16k", URL)
    assert before
    assert set(before).isdisjoint(after)
    assert at(memory) == expected


def test_other_settings_are_refused(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audiocls.extract(data, "mel-16k", URL)
    there = at(memory)
    another_machine(monkeypatch, tmp_path, "elsewhere")
    with pytest.raises(SettingError, match=r"hop_s 0\.5, now 0\.25"):
        audiocls.extract(data, "mel-16k", URL, hop_s=0.25)
    assert at(memory) == there
    store = audiocls.extract(data, "mel-16k", URL, hop_s=0.25, restart=True)
    another_machine(monkeypatch, tmp_path, "third")
    assert np.array_equal(audiocls.open_store(URL).numpy(), store.numpy())


def test_machines_that_share_no_disk(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each makes a part at the URL, another joins them there."""
    expected = on_disk(audiocls.extract(data, "mel-16k", tmp_path / "store").path)
    for number in (2, 1):
        another_machine(monkeypatch, tmp_path, f"machine {number}")
        extract_part(data, "mel-16k", URL, shard=(number, 2))
        if number == 2:
            with pytest.raises(DataError, match="1 of 2 parts missing: 1"):
                merge(URL)
    another_machine(monkeypatch, tmp_path, "machine 3")
    merge(URL)
    made = {name: c for name, c in at(memory).items() if not name.startswith("parts/")}
    assert made == expected


def test_commands(
    memory: MemoryFileSystem, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("extract", data, "--feature", "mel-16k", "--out", URL)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{URL}: ")
    assert f"next: audiocls train --model best --features {URL}" in done.stderr
    shown = json.loads(run("info", URL, "--json").stdout)
    assert shown["recordings"] == 7
    assert run("info", URL, "--verify").exit_code == 0
    monkeypatch.chdir(tmp_path)
    quick = ["--epochs", 1, "--batch-size", 2, "--device", "cpu"]
    done = run("train", "--model", "lstm", "--features", URL, *quick)
    assert done.exit_code == 0, done.output
    model = tmp_path / "runs/mel-lstm-0"
    assert (model / "metrics.json").exists()
    done = run("evaluate", model, "--features", URL, "--json")
    assert done.exit_code == 0, done.output
    done = run("compare", "--features", URL, "--models", "lstm", *quick, "--json")
    assert [row["feature"] for row in json.loads(done.stdout)] == ["mel"]
    for command in (["info"], ["train", "--model", "lstm", "--features"]):
        done = run(*command, "memory://features/none")
        assert done.exit_code != 0
        assert "store 'memory://features/none' is invalid: there is no feature store" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert bucket.locate_cache() == tmp_path / "cache"
    monkeypatch.delenv("AUDIOCLS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bucket.locate_cache() == tmp_path / "audiocls"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert bucket.locate_cache() == Path.home() / ".cache" / "audiocls"
