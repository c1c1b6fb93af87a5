"""Memory of training: what is freed is used again, and given back at the end."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: how a heap is cut up by then decides what the C library does with it.
SCRIPT = """
import resource
from audiocls.training.runtime.memory import reuse_memory

N_BYTES = 200 << 20  # more than glibc ever keeps by itself

def pages_cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert len(b"1" * N_BYTES) == N_BYTES
    made = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return made * resource.getpagesize() / N_BYTES

try:
    with reuse_memory():
        first = pages_cleared()
        again = pages_cleared()
        if FAILS:
            raise ValueError
except ValueError:
    pass
print(first, again, pages_cleared(), pages_cleared())
"""


@pytest.mark.parametrize("fails", [False, True])
def test_large_blocks_are_used_again_until_the_end(fails: bool) -> None:
    script = f"FAILS = {fails}\n{SCRIPT}"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, again, *after = map(float, run.stdout.split())
    assert first > 0.9
    assert again < 0.01
    assert min(after) > 0.9
