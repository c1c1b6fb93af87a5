"""`audiocls train` and `audiocls compare` on a store that `audiocls extract` made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from audiocls.classifier.model import Model
from audiocls.cli import main
from audiocls.cli.progress import EpochLines
from audiocls.data.synth import write_dataset
from audiocls.store.store import open_store

GROUPS = r"([^/]+)/[^/]+?_([A-G]s?[0-9])_"


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stores features/mfcc and features/mel of four synthetic instruments."""
    folder = tmp_path_factory.mktemp("place")
    write_dataset(folder / "data", clips_per_class=14, n_classes=4)
    for name in ("mel", "mfcc"):
        out = folder / "features" / name
        made = call("extract", folder / "data", "--feature", name, "--out", out)
        assert made.exit_code == 0, made.stderr
    return folder


@pytest.fixture
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    torch.set_num_threads(1)
    return place


def test_train_takes_the_newest_store_and_prints_its_metrics(there: Path) -> None:
    run = call("train", "--model", "lstm", "--epochs", "2", "--group-by", GROUPS, "--json")
    assert run.exit_code == 0, run.stderr
    metrics = json.loads(run.stdout)
    folder = there / "runs/mfcc-lstm-0"
    assert metrics == json.loads((folder / "metrics.json").read_text())
    assert run.stderr.count("val balanced accuracy") == 2, "a line an epoch"
    info = Model.load(folder).description
    store = open_store(there / "features/mfcc")
    assert info.spec == store.spec
    assert (info.cut.clip_s, info.cut.hop_s, info.input_shape) == (0.5, 0.5, (49, 13))
    assert info.classes == store.classes


def test_recordings_as_they_are_train_from_files_to_scores(there: Path) -> None:
    made = call("extract", "data", "--feature", "mfcc", "--clip-s", "0", "--out", "whole")
    assert made.exit_code == 0, made.stderr
    store = open_store("whole")
    assert len(set(np.diff(store.features.offsets))) > 3, "clips of several lengths"
    args = ("train", "--features", "whole", "--epochs", "1", "--group-by", GROUPS, "--json")
    for model in ("lstm", "best"):
        run = call(*args, "--model", model, "--out", f"whole-{model}")
        assert run.exit_code == 0, run.stderr
        metrics = json.loads(run.stdout)
        assert metrics["test"]["n"] == metrics["test_recording"]["n"], "a recording is a clip"
    assert Model.load(there / "whole-best").description.architecture == "compact"
    assert Model.load(there / "whole-best").description.input_shape == (None, 13)
    refused = call(*args, "--model", "cnn", "--out", "whole-cnn")
    assert refused.exit_code == 2
    assert "cnn takes clips of one length only" in refused.stderr
    assert not Path("whole-cnn").exists()


def test_training_without_a_terminal_says_a_line_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with EpochLines(epochs=2) as lines:
        for batch in range(1, 101):  # a batch a second
            now += 1
            lines(batch, 200, None)
    said = capsys.readouterr().err.splitlines()
    assert said == ["31 of 200 batches", "62 of 200 batches", "93 of 200 batches"]


def test_a_run_is_not_overwritten(there: Path) -> None:
    args = (
        "train",
        "--model",
        "lstm",
        "--epochs",
        "1",
        "--seed",
        "7",
        "--features",
        "features/mel",
    )
    assert call(*args).exit_code == 0
    before = (there / "runs/mel-lstm-7/metrics.json").read_bytes()
    again = call(*args)
    assert again.exit_code == 2
    assert "holds a finished run; --restart replaces it" in again.stderr
    assert (there / "runs/mel-lstm-7/metrics.json").read_bytes() == before
    assert call(*args, "--restart").exit_code == 0


def test_folds_have_folders_of_their_own(there: Path) -> None:
    for fold in ("2/3", "1/logo"):
        run = call(
            "train", "--model", "lstm", "--epochs", "1", "--fold", fold, "--group-by", GROUPS
        )
        assert run.exit_code == 0, run.stderr
    assert (there / "runs/mfcc-lstm-0-fold2of3/metrics.json").exists()
    metrics = json.loads((there / "runs/mfcc-lstm-0-fold1oflogo/metrics.json").read_text())
    assert metrics["split"]["parts"]["test"]["groups"] == 1


def test_compare_ends_with_a_table_and_the_report(there: Path) -> None:
    args = ("compare", "--features", "mel,features/mfcc", "--models", "lstm", "--epochs", "1")
    run = call(*args, "--group-by", GROUPS, "--seeds", "2", "--out", "compared")
    assert run.exit_code == 0, run.stderr
    assert "[4/4] mfcc-lstm-1" in run.stderr
    assert run.stdout.splitlines()[-1].split() == ["report:", "compared/report.html"]
    assert "±" in run.stdout
    again = call(*args, "--group-by", GROUPS, "--seeds", "2", "--out", "compared", "--json")
    assert "epoch" not in again.stderr
    rows: list[dict[str, Any]] = json.loads(again.stdout)
    assert [(r["feature"], r["seed"]) for r in rows] == [
        ("mel", 0), ("mfcc", 0), ("mel", 1), ("mfcc", 1)
    ]  # fmt: skip
    other = call(*args, "--group-by", GROUPS, "--out", "compared", "--lr", "0.1")
    assert other.exit_code == 2
    assert "--lr was 0.003, is 0.1 now" in other.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("train --model resnt", 2, "audiocls train: --model 'resnt' is invalid: did you mean"),
        ("train --model lstm --sampler sqr", 2, "did you mean 'sqrt'"),
        ("train --model lstm --device tpu", 2, "choose from auto, cpu, cuda"),
        ("train --model lstm --fold 4/3", 2, "K must be 1 to 3"),
        ("train --model lstm --seed 9 --group-by pitch", 2, "'pitch' is invalid"),
        ("train --model lstm --seed 9 --group-by pitch_(.*)", 1, "does not match"),
        ("train --model lstm --seed 9 --group-by synthetic-", 1, "1 group(s) (synthetic-)"),
        ("train --model lstm --features nowhere", 2, "'nowhere'"),
        ("train --model lstm --features a-file", 2, "'a-file'"),
        ("train --model lstm --out a-file", 2, "'a-file'"),
        ("train --model lstm --out data", 2, "'data'"),
        (
            "train --model lstm --resume --restart",
            2,
            "--resume True is invalid: cannot be together",
        ),
        ("compare --models lstm,cn", 2, "did you mean 'cnn'"),
        ("compare --features mell", 2, "features/mell"),
        ("compare --out a-file --models lstm", 2, "'a-file'"),
    ],
)
def test_bad_input_is_one_line(there: Path, args: str, code: int, message: str) -> None:
    (there / "a-file").write_text("")
    run = call(*args.split())
    assert (run.exit_code, message in run.stderr) == (code, True), run.stderr
    assert run.stderr.count("\n") == 1
    assert not (there / "runs/mfcc-lstm-0-fold4of3").exists()


@pytest.mark.filterwarnings("default:precision bfloat16")
def test_a_warning_is_one_line(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "audiocls.training.runtime.device._why_not_bfloat16", lambda _: "is slow with it"
    )
    warning = "precision bfloat16: cpu is slow with it here, float32 is faster"
    given = ("--model", "lstm", "--epochs", "1", "--device", "cpu", "--precision", "bfloat16")
    done = call("train", *given, "--out", "warned")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0] == f"warning: {warning}"
    assert done.stderr.count(warning) == 1
    with pytest.warns(UserWarning, match=warning):
        call("train", *given, "--out", "warned-too", "--debug")


def test_no_store_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for args in (("train", "--model", "lstm"), ("compare",)):
        run = call(*args)
        assert run.exit_code == 1
        assert "no feature store" in run.stderr


def test_ctrl_c_keeps_the_best_model_so_far(there: Path) -> None:
    args = ["train", "--model", "lstm", "--epochs", "100000", "--out", "stopped"]
    process = subprocess.Popen(
        [sys.executable, "-m", "audiocls", *args],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "epoch 2/" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        code = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert code == 130
    assert "everything finished so far is kept" in rest
    assert not (there / "stopped/metrics.json").exists()
    assert Model.load(there / "stopped").training is False
