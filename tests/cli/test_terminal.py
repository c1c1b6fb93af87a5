"""What a terminal obeys reaches none: names and labels of strangers are shown."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from saved_model import saved
from sounds import tone, write

import audiocls
from audiocls import cli
from audiocls.files import make_printable

# It sets the title of a terminal; the second turns the direction of text.
TITLE, TURN = "\x1b]0;PWN\x07", "\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, a store and a model, all of whose names are hostile."""
    folder = tmp_path_factory.mktemp("terminal")
    for k, label in enumerate(("a", "b")):
        for i in range(3):
            file = folder / f"data/{TITLE}{label}/{TURN}{i}\n.wav"
            write(file, tone(1.2, 300 + 400 * k, seed=i))
    (folder / f"data/{TITLE}a/{TITLE}broken.wav").write_bytes(b"RIFF")
    (folder / "table.csv").write_text(f"file_name,label{TITLE}\n{TITLE}.wav,b\n")
    store = audiocls.extract(folder / "data", "mfcc", folder / "store")
    saved(folder / "model", store)
    about = json.loads((folder / "model/model.json").read_text())
    about["versions"] = {f"x{TITLE}": TITLE}
    (folder / "model/model.json").write_text(json.dumps(about))
    return folder


def under_a_terminal(*command: str, cwd: Path) -> str:
    """What a command writes to its terminal."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "audiocls", *command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=secondary,
        stderr=secondary,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(secondary)
    found = b""
    try:
        while piece := os.read(primary, 1 << 16):
            found += piece
    except OSError:  # Linux says so at the end
        pass
    os.close(primary)
    process.wait()
    return found.decode()


@pytest.mark.parametrize(
    "command",
    [
        "info data",
        "info store",
        "info model",
        "info table.csv",
        "predict model data",
        "predict model data --format csv",
        "predict model data --format json",
        "evaluate model data",
        "evaluate model store",
        "extract data --feature mfcc --out again",
    ],
)
def test_nothing_reaches_a_terminal(folder: Path, command: str) -> None:
    found = under_a_terminal(*command.split(), cwd=folder)
    assert "PWN" in found or command.startswith("extract"), found
    assert "\x1b]" not in found
    assert "\x07" not in found
    assert TURN not in found


def test_printable() -> None:
    shown = {TITLE: r"\x1b]0;PWN\x07", TURN: r"\u202e", "a\nb\t": r"a\nb\t", "\udcf6": r"\xf6"}
    for text, wanted in shown.items():
        assert make_printable(text) == wanted
    for text in ("C:\\tmp", "Flöte 🎻", "한글", ""):
        assert make_printable(text) == text


def test_all_that_is_printed_goes_through_one_writer() -> None:
    """JSON in ASCII has no control characters; all else is written by `say`, or shown by rich. The
    formats of `predict` escape each value, for their line ends and tabs are their own.
    """
    own = ("__init__.py", "completion.py", "formats.py", "predict.py")
    for file in Path(cli.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("click.echo", "print"):
                text = ast.unparse(call)
                good = "json.dumps(" in text or file.name in own
                assert good, f"{file.name}: {text}"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("predict orchestra flöte.wav", "<&- >&- 2>&-"),
        ("predict orchestra flöte.wav", "2>&-"),
        ("predict orchestra flöte.wav", ">/dev/full"),
        ("--help", ">/dev/full"),
        ("predict --help", ">/dev/full"),
    ],
)
def test_closed_and_full_streams(tmp_path: Path, command: str, how: str) -> None:
    """One line or success, whatever stdin, stdout and stderr are, and where all is ASCII."""
    write(tmp_path / "flöte.wav", tone(1.2, 300))
    done = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m audiocls {command} {how}"],
        cwd=tmp_path, env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    full = how == ">/dev/full"
    assert done.returncode == full, done.stderr
    assert re.fullmatch("audiocls.*: .*No space left on device\n" * full, done.stderr)


def test_a_rate_that_no_stream_has() -> None:
    result = CliRunner().invoke(cli.main, ["stream", "orchestra", "--rate", "99999999999"])
    assert result.exit_code == 2
    assert "99999999999" in result.stderr.splitlines()[-1]
