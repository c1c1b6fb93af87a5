"""`train DATA`: from recordings to a model; and `evaluate` knows which recordings trained it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sounds import tone, write

from audiocls.cli import main
from audiocls.store.store import open_store

FAST = ["--model", "lstm", "--epochs", "1", "--feature", "mel-16k", "--device", "cpu"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three digits by six speakers, in names of files in one folder."""
    for digit in range(3):
        for speaker in "abcdef":
            name = f"{digit}_{speaker}_0.wav"
            write(tmp_path / "digits" / name, tone(0.6, 300 * (digit + 1), seed=ord(speaker)))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "digits"


def test_one_command_from_recordings_to_a_model(digits: Path) -> None:
    flat = run("train", "digits", *FAST)
    assert flat.exit_code == 1
    assert "--label-by '^([^_]+)_'" in flat.stderr
    labels = ["--label-by", "^([0-9])_", "--group-by", "_([a-z])_"]
    sampled = [*FAST, "--store", "samples"]
    made = run("train", "digits", *labels, *sampled)
    assert made.exit_code == 0, made.output
    samples = open_store("features/digits-samples-16000")
    assert samples.classes == ["0", "1", "2"]
    assert Path("runs/digits-samples-16000-mel-16k-lstm-0/metrics.json").exists()
    # The store that is there is gone on with, with other features of the same rate, too.
    before = Path("features/digits-samples-16000/store.json").stat().st_mtime_ns
    again = run("train", "digits", *labels, *sampled, "--seed", "1")
    assert again.exit_code == 0, again.output
    assert Path("features/digits-samples-16000/store.json").stat().st_mtime_ns == before
    kept = run("train", "digits", *labels, *FAST, "--clip-s", "0.25")
    assert kept.exit_code == 0, kept.output
    assert open_store("features/digits-mel-16k").cut.clip_s == 0.25
    # Other labels are another store: said, or with --restart made anew.
    other = ["--label-by", "_([a-z])_", "--group-by", "recording"]
    refused = run("train", "digits", *other, *sampled, "--seed", "2")
    assert refused.exit_code == 1
    assert "was made from other data" in refused.stderr
    assert "18 changed" in refused.stderr


def test_wrong_usage_is_one_line(digits: Path) -> None:
    for arguments, text in (
        (["digits", "--features", "features/x"], "give DATA or a store, one of the two"),
        (["--label-by", "x"], "--label-by 'x' is invalid: is for recordings; a store has its"),
        (["digits", "--store", "clips"], "choose from features, samples"),
        (["nowhere"], "there is no such file or folder"),
    ):
        found = run("train", *arguments, *FAST)
        assert found.exit_code == 2, found.output
        assert text in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_a_score_on_what_trained_the_model_is_said_to_be_none(digits: Path, tmp_path: Path) -> None:
    labels = ["--label-by", "^([0-9])_"]
    made = run("train", "digits", *labels, "--group-by", "_([a-z])_", *FAST)
    assert made.exit_code == 0, made.output
    model = Path("runs/digits-mel-16k-lstm-0")
    n_test = json.loads((model / "metrics.json").read_text())["test_recording"]["n"]
    own = run("evaluate", model, "digits", *labels, "--json")
    assert own.exit_code == 0, own.output
    said = f"{18 - n_test} of 18 recordings trained this model: its score on them is no evidence"
    assert said in own.stderr
    assert len(json.loads(own.stdout)["heard"]) == 18 - n_test
    # So are copies under other names, and a store of them.
    shutil.copytree("digits", "copies")
    for i, file in enumerate(sorted(Path("copies").iterdir())):
        file.rename(file.with_name(f"{file.name[0]}_{i}.wav"))
    assert said in run("evaluate", model, "copies", *labels).stderr
    assert run("extract", "copies", *labels, "--feature", "mel-16k", "--out", "st").exit_code == 0
    assert said in run("evaluate", model, "--features", "st").stderr
    for digit in range(3):
        write(tmp_path / f"new/{digit}_z.wav", tone(0.6, 300 * (digit + 1), seed=7))
    assert "trained this model" not in run("evaluate", model, "new", *labels).stderr
