"""What holds for every command: help with an example, one line for an error, no torch for help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from audiocls.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name: str) -> None:
    run = CliRunner().invoke(main, [name, "--help"])
    assert run.exit_code == 0
    assert f"audiocls {name}" in run.stdout, "the help needs an example"
    assert "--json" in run.stdout or name == "completion"
    assert "--debug" in run.stdout


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['audiocls', 'train', '--help']\n"
        "from audiocls.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_an_unknown_command_is_wrong_usage() -> None:
    run = CliRunner().invoke(main, ["extrakt"])
    assert run.exit_code == 2
    assert "extrakt" in run.stderr
    assert "extract" in run.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("")
    base = [sys.executable, "-m", "audiocls", "synth", str(tmp_path)]
    plain = subprocess.run(base, capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stderr.count("\n")) == (2, 1)
    assert "Traceback" not in plain.stderr
    debug = subprocess.run([*base, "--debug"], capture_output=True, text=True, check=False)
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr
