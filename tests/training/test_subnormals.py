"""Numbers too small to be computed with quickly are zeros while something is trained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_store import tiny_store

from audiocls.compare.grid import compare
from audiocls.training import Recipe, train

# In a process of its own, in which torch has started no thread yet.
SCRIPT = """
import numpy as np, torch
from audiocls.training.runtime.subnormals import flush_subnormals

torch.set_num_threads(2)
x = torch.from_numpy(np.full(1 << 22, 1e-39, np.float32))

def left():
    return int(np.count_nonzero((x * 1.0).numpy()))

try:
    with flush_subnormals():
        print(left())
        if FAILS:
            raise ValueError
except ValueError:
    pass
torch.set_num_threads(1)
print(left() - len(x))
"""


@pytest.mark.parametrize("fails", [False, True])
def test_every_thread_takes_them_for_zeros_until_the_end(fails: bool) -> None:
    script = f"FAILS = {fails}\n{SCRIPT}"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "0"]


def test_training_takes_them_for_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocls.compare.grid.open_features", lambda *_: tiny_store())
    monkeypatch.setattr("audiocls.training.loop.open_features", lambda *_: tiny_store())
    left: list[float] = []

    def progress(*_: object) -> None:
        left.append((torch.tensor(1e-39) * 1.0).item())

    recipe = Recipe(epochs=1, batch_size=16)
    train("tiny", "lstm", tmp_path / "run", recipe=recipe, device="cpu", progress=progress)
    n = len(left)
    compare(
        ["tiny"], ["lstm"], recipe=recipe, device="cpu", out=tmp_path / "grid",
        announce=lambda *_: progress,
    )  # fmt: skip
    assert len(left) == 2 * n > 0
    assert not any(left)
    assert (torch.tensor(1e-39) * 1.0).item() > 0
