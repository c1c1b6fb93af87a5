"""Recordings behind URLs: the store is that of a copy on the disk, and what fails says so."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from small_stores import equal

import audiocls
from audiocls.cli import main
from audiocls.data.listing import list_recordings
from audiocls.errors import DataError, SettingError
from audiocls.store.extraction import extract_part
from audiocls.store.parts import merge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for name in ("train/a/1.wav", "train/a/x y/ü.wav", "train/b/2.WAV", "test/b/3.flac"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(name))
        samples = rng.uniform(-0.5, 0.5, 16000).astype(np.float32)
        soundfile.write(data / name, samples, 16000)
    (data / "train/a/empty.wav").write_bytes(b"")
    (data / "train/a/notes.txt").write_text("no recording")
    (data / "train/a/.hidden.wav").write_bytes(b"")
    return data


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The same files in a file system in memory."""
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/bucket/data", recursive=True)
    yield "memory://bucket/data"
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder(folder: Path, url: str, tmp_path: Path, end: str) -> None:
    local = audiocls.extract(folder, "mel-16k", tmp_path / "local", threads=2)
    remote = audiocls.extract(url + end, "mel-16k", tmp_path / "remote", threads=2)
    assert equal(remote, local)
    assert remote.about["data"] == "memory:///bucket/data"
    assert [r.split for r in remote.recordings] == ["test", *4 * ["train"]]
    listed = [list_recordings(data) for data in (folder, url)]
    assert listed[0].others == listed[1].others
    assert len(listed[0].others) == 1
    assert listed[0].notices == listed[1].notices


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "list.csv", "list.jsonl"])
def test_a_manifest(folder: Path, url: str, tmp_path: Path, name: str) -> None:
    files = ["train/b/2.WAV", "train/a/x y/ü.wav", "gone.wav", "train/a/1.wav", "../data/test.wav"]
    rows = [{"file_name": file, "label": file[6], "room": "barn"} for file in files]
    text = "\n".join(json.dumps(row) for row in rows)
    if name.endswith("csv"):
        text = "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
    (folder / name).write_text(text)
    fsspec.filesystem("memory").pipe(f"/bucket/data/{name}", text.encode())
    end = f"/{name}" if name.startswith("list") else ""
    local = audiocls.extract(f"{folder}{end}", "mel-16k", tmp_path / "local", accept_failures=True)
    remote = audiocls.extract(url + end, "mel-16k", tmp_path / "remote", accept_failures=True)
    assert equal(remote, local)
    assert [r.error for r in remote.recordings if r.error] == ["no such file", "no such file"]


def test_resumed_and_in_parts(url: str, tmp_path: Path) -> None:
    whole = audiocls.extract(url, "mel-16k", tmp_path / "whole")
    before = (whole.path / "store.json").stat().st_mtime_ns
    audiocls.extract(url, "mel-16k", tmp_path / "whole")
    assert (whole.path / "store.json").stat().st_mtime_ns == before
    for number in (3, 1, 2):
        extract_part(url, "mel-16k", tmp_path / "parts", shard=(number, 3))
    merged = merge(tmp_path / "parts")
    assert merged.about == whole.about
    fsspec.filesystem("memory").pipe("/bucket/data/train/a/1.wav", b"changed")
    with pytest.raises(DataError, match=r"1 changed \(train/a/1.wav\)"):
        audiocls.extract(url, "mel-16k", tmp_path / "whole")


def test_what_fails_in_mid_run(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that can't be read is a failure with its reason; others are kept."""
    cat_file = MemoryFileSystem.cat_file

    def failing(self: Any, path: str, *args: Any, **kwargs: Any) -> bytes:
        if path.endswith("2.WAV"):
            raise RuntimeError("slow down:\n503")
        data: bytes = cat_file(self, path, *args, **kwargs)
        return data[:-1] if path.endswith("3.flac") else data

    monkeypatch.setattr(MemoryFileSystem, "cat_file", failing)
    store = audiocls.extract(url, "mel-16k", tmp_path / "store", accept_failures=True)
    errors = {r.path: r.error for r in store.recordings if r.error}
    assert errors["train/b/2.WAV"] == "cannot be read: slow down: 503"
    assert errors["test/b/3.flac"] == "changed after it was listed"
    assert "is empty" in errors["train/a/empty.wav"]
    assert store.counts["ok"] == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_one_at_a_time_unless_the_file_system_serves_many(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    cat_file, meeting = MemoryFileSystem.cat_file, threading.Barrier(2)
    running = []

    def met(self: Any, path: str, *args: Any, **kwargs: Any) -> bytes:
        running.append(1)
        assert at_once or len(running) == 1
        if at_once and path.endswith(("1.wav", "ü.wav")):
            meeting.wait(60)
        data: bytes = cat_file(self, path, *args, **kwargs)
        running.pop()
        return data

    monkeypatch.setattr(MemoryFileSystem, "async_impl", at_once)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", met)
    store = audiocls.extract(url, "mel-16k", tmp_path / "store", threads=4)
    assert store.counts["ok"] == 4


def run(url: str, tmp_path: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["extract", url, "--out", str(tmp_path / "store")])
    assert not (tmp_path / "store").exists()
    assert result.stderr.count("\n") == 1, result.stderr
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://no-bucket/data", "DATA 'memory://no-bucket/data' is invalid: there is nothing"),
        ("memory://no-bucket/list.csv", "there is nothing"),
        ("nothing-such://bucket", "Protocol not known: nothing-such"),
        ("file:///dev/no such folder", "there is nothing"),
    ],
)
def test_urls_of_nothing(url: str, message: str, tmp_path: Path) -> None:
    code, text = run(url, tmp_path)
    assert code == 2
    assert message in text


def test_a_refusal_is_one_line(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "find", refused)
    assert run(url, tmp_path) == (1, f"audiocls extract: {url}: cannot be listed: Access Denied\n")


def test_without_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "fsspec":
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"pip install 'audiocls\[remote\]'"):
        list_recordings("memory://bucket/data")
