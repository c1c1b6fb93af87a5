"""Any file that a command reads, damaged in any way: one readable line, or success.

Never a traceback, a hang, or a line that says nothing. A file is chosen, given other bytes or made
something that is no regular file, and the commands that read it run as on the command line. The
choices are the same every time; AUDIOCLS_FUZZ=20 draws twenty times as many.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import audiocls
from audiocls.cli import main
from audiocls.store.extraction import extract_part
from audiocls.training import Device, Recipe, Run, Trial, fit, make_split

RATE = 16_000
TIMES = int(os.environ.get("AUDIOCLS_FUZZ", "1"))
SECONDS = 60  # that a command may take: a hang is for ever
TOKEN = re.compile(rb'"[^"\n]*"|-?[0-9][0-9.e+-]*|[A-Za-z_]+')
VALUES = (
    b"-1", b"0", b"1e999", b"NaN", b"null", b"true", b'"x"', b'""', b"{}", b"[]", b"[[]]", b"\xff",
    b"99999999999999999999",
    b"9007199254740993", b"=1+1", b"../../x", b'"\\ud800"', b"\0", b",", b"\n",
)  # fmt: skip


def sound(path: Path, hz: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.02, RATE // 2)
    tone = 0.3 * np.sin(2 * np.pi * hz * np.arange(RATE // 2) / RATE)
    soundfile.write(path, tone + noise, RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of everything: recordings with tables, a store, parts, a run, and one left half way."""
    folder = tmp_path_factory.mktemp("files")
    for i in range(12):
        sound(folder / f"data/{'ab'[i % 2]}/{i}.wav", 300 + 900 * (i % 2), i)
    rows = "".join(f"{'ab'[i % 2]}/{i}.wav,{'ab'[i % 2]},0.0,0.4\n" for i in range(12))
    (folder / "data/table.csv").write_text("file_name,label,start_s,end_s\n" + rows)
    table = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
    shutil.copytree(folder / "data/a", folder / "heard")
    for file in list((folder / "heard").iterdir()):
        text = f"{table}1\tSpectrogram 1\t1\t0.1\t0.4\towl\n"
        file.with_suffix(".Table.1.selections.txt").write_text(text)
        file.with_suffix(".txt").write_text("0.1\t0.4\towl\n")
    how = {"clip_s": 0.25, "hop_s": 0.25, "threads": 1}
    store = audiocls.extract(folder / "data", "mel-16k", folder / "store", **how)
    extract_part(folder / "data", "mel-16k", folder / "parts", shard=(1, 1), **how)
    trial, split = Trial("lstm", Recipe(epochs=2)), make_split(store.recordings)

    def stop(_done: int, _total: int, row: dict[str, float] | None) -> None:
        if row is not None:
            raise KeyboardInterrupt

    cpu = Device.pick("cpu")
    fit(trial, store, split, Run(folder / "run"), cpu)
    with pytest.raises(KeyboardInterrupt):
        fit(trial, store, split, Run(folder / "half"), cpu, stop)
    return folder


# What is damaged: its folder, and the commands that read it, with how often each is drawn in a
# hundred. Those that train are dear.
TRAIN = "train --model lstm --epochs 2 --features store --device cpu --out"
READERS: dict[str, dict[str, int]] = {
    "store": {
        "info store --json": 100,
        "info store --verify": 100,
        "evaluate run --features store --json": 60,
        "extract data --feature mel-16k --clip-s 0.25 --hop-s 0.25 --out store": 40,
        f"{TRAIN} new": 5,
    },
    "parts": {"merge parts": 100},
    "run": {
        "info run --json": 100,
        "predict run heard --format jsonl": 60,
        "embed run heard/0.wav --out vectors.npz": 30,
        "evaluate run data": 20,
        "export run --out new.onnx": 3,
        f"{TRAIN} run": 10,
        f"{TRAIN} run --resume": 5,
    },
    "half": {f"{TRAIN} half --resume": 60, "info half": 60, "predict half heard": 40},
    "data/table.csv": {
        "info data --table data/table.csv": 0,
        "extract data --table data/table.csv --clip-s 0.25 --out new": 100,
    },
    "heard": {
        "extract heard --annotations raven --clip-s 0.25 --out new": 50,
        "extract heard --annotations audacity --clip-s 0.25 --out new": 50,
    },
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut, mixed up, or with other words and numbers."""
    copy = bytearray(content)
    how = draw.randrange(9)
    if how == 0:
        return b""
    if how == 1:
        return bytes(copy[: draw.randrange(len(copy) + 1)])
    if how == 2:
        for _ in range(draw.choice([1, 5, 50])):
            copy[draw.randrange(len(copy))] ^= 1 << draw.randrange(8)
    elif how == 3:
        copy[draw.randrange(len(copy)) :][:0] = draw.randbytes(40)
        copy += draw.randbytes(40)
    elif how == 4:
        return draw.choice([b"[", b'{"a":', b"\xff\xfe", b"\xef\xbb\xbf", b"x,"]) * 50_000
    elif how == 5:
        lines = bytes(copy).split(b"\n")
        at = draw.randrange(len(lines))
        lines[at : at + 1] = [lines[at]] * draw.choice([0, 2])
        return b"\n".join(lines)
    else:
        tokens = list(TOKEN.finditer(bytes(copy[:20_000])))
        for token in sorted(
            draw.sample(tokens, min(len(tokens), how - 5)), key=lambda t: -t.start()
        ):
            copy[token.start() : token.end()] = draw.choice(VALUES)
    return bytes(copy)


def damage(file: Path, draw: random.Random) -> str:
    """Changes the file; what was done."""
    content = file.read_bytes()
    if content and draw.random() < 0.8:
        file.write_bytes(damaged(content, draw))
        return "other bytes"
    file.unlink()
    what = draw.choice(["pipe", "folder", "/dev/zero", "loop", "giant", "missing"])
    if what == "pipe":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
    elif what == "giant":
        file.touch()
        os.truncate(file, 1 << 40)
    elif what != "missing":
        file.symlink_to(file.name if what == "loop" else what)
    return what


@pytest.fixture
def no_hang() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise TimeoutError("a command hangs")

    before = signal.signal(signal.SIGALRM, end)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(command: str) -> None:
    """A command, which has to end as one may."""
    signal.alarm(SECONDS)
    result = CliRunner().invoke(main, command.split())
    signal.alarm(0)
    if not (result.exception is None or isinstance(result.exception, SystemExit)):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.output
    if result.exit_code:
        *_, last = result.stderr.splitlines()
        said = ("audiocls ", "Error: ", "the same `audiocls extract`")  # the last by --verify
        assert last.startswith(said), result.stderr
        assert len(last) < 2000, last
        assert last.isprintable(), last
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize(("place", "times"), [
    ("store", 40), ("parts", 15), ("run", 40), ("half", 5), ("data/table.csv", 5), ("heard", 10)
])  # fmt: skip
def test_damaged_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, times: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "heard", "store", "run", "half", "parts"):
        if not place.startswith(name):
            (tmp_path / name).symlink_to(folder / name)
    whole, top = folder / place.partition("/")[0], tmp_path / place.partition("/")[0]
    victims = sorted(
        f for f in whole.rglob("*") if f.is_file() and f.suffix not in (".wav", ".png")
    )
    if "/" in place:
        victims = [folder / place]
    for number in range(times * TIMES):
        draw = random.Random(f"{place} {number}")
        shutil.copytree(whole, top)
        victim = top / draw.choice(victims).relative_to(whole)
        what = damage(victim, draw)
        for command, share in READERS[place].items():
            if draw.random() * 100 < share:
                try:
                    run(command)
                except BaseException as error:
                    error.add_note(f"{place} {number}: {victim}, {what}; {command}")
                    raise
        shutil.rmtree(top)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
