"""Several processes train as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import audiocls
from audiocls.data.synth import write_dataset
from audiocls.training import Run, train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    write_dataset(folder / "data", clips_per_class=9, n_classes=3)
    audiocls.extract(folder / "data", feature="mfcc", out=folder / "mfcc")
    return folder / "mfcc"


# An odd batch size: the processes get 8 and 7 clips of each batch.
RECIPE: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 15,
    "lr": 1e-3,
    "precision": "float32",
    "mixup": 0.2,
    "time_mask": 0.2,
    "ema": 0.9,
}


@pytest.mark.parametrize("model", ["lstm", "compact"])
def test_two_processes_train_as_one(store: Path, tmp_path: Path, model: str) -> None:
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    alone = train(store, model, one.folder, device="cpu", **RECIPE)
    options = [f"--{k.replace('_', '-')}={v}" for k, v in RECIPE.items()]
    # --standalone: torchrun finds a free port.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = ["--model", model, "--features", str(store), "--out", str(two.folder), "--device", "cpu"]
    finished = subprocess.run(
        [sys.executable, *launch, "-m", "audiocls", "train", *told, *options, "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    together = json.loads(finished.stdout)  # so one process printed it, and only one
    assert finished.stderr.count("val balanced accuracy") == RECIPE["epochs"]
    assert together["device"].endswith("2 processes)")
    for part in ("train", "val", "test", "test_recording"):
        assert together[part]["n"] == alone[part]["n"], "each clip once"
        moved = np.abs(np.subtract(together[part]["confusion"], alone[part]["confusion"])).sum()
        assert moved <= 2, "at most one clip, between two classes of equal probability"
        assert together[part]["nll"] == pytest.approx(alone[part]["nll"], rel=1e-4)
    for a, b in zip(one.read_history(), two.read_history(), strict=True):
        for key in a.keys() - {"seconds"}:
            assert b[key] == pytest.approx(a[key], rel=1e-4), key
    # Sums over 15 clips in another order. Not weight by weight: Adam divides a gradient by its own
    # size, so that where it is nearly 0 rounding decides the step.
    weights = [load_file(run.model / "weights.safetensors") for run in (one, two)]
    for name, value in weights[0].items():
        away = np.linalg.norm(weights[1][name] - value)
        assert away <= 1e-4 * np.linalg.norm(value), name
