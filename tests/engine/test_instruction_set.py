"""AUDIOCLS_ISA: the whole engine as on a machine that has no more than these instructions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_stores import write

import audiocls
from audiocls.engine.features import list_instruction_sets


def run(isa: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, args)],
        env={**os.environ, "AUDIOCLS_ISA": isa}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("isa", list_instruction_sets())
def test_nothing_faster_is_used(isa: str, tmp_path: Path) -> None:
    """sse2 is what every x86-64 has: no AVX. Decoding and resampling go with it."""
    for i in range(3):
        write(tmp_path / f"data/a/{i}.wav", i)
    code = "from audiocls.engine import features; print(*features.list_instruction_sets())"
    everything = list_instruction_sets()
    expected = everything[everything.index(isa) :]
    assert run(isa, "-c", code).stdout.split() == expected
    out = tmp_path / "forced"
    made = run(
        isa, "-m", "audiocls", "extract", tmp_path / "data", "--feature", "mel", "--out", out
    )
    assert made.returncode == 0, made.stderr
    free = audiocls.extract(tmp_path / "data", "mel", tmp_path / "free").numpy()
    # In dB; docs/evidence/parity.md bounds what instruction sets may differ by.
    np.testing.assert_allclose(audiocls.open_store(out).numpy(), free, atol=1e-3)


def test_what_this_machine_lacks_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "data/a/1.wav", 1)
    made = run("avx9", "-m", "audiocls", "extract", tmp_path / "data", "--out", tmp_path / "store")
    assert (made.returncode, made.stderr.count("\n")) == (2, 1), made.stderr
    assert "AUDIOCLS_ISA 'avx9' is invalid: this machine has " in made.stderr
