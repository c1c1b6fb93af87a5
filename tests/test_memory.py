"""Memory of training: what is freed is used again, and given back at the end."""

from __future__ import annotations

import platform
import resource

import pytest

from audiocls.training.memory import reused_memory

N_BYTES = 200 << 20  # more than glibc ever keeps by itself
PAGES = N_BYTES / resource.getpagesize()


def pages_cleared() -> float:
    """The share of the pages of a new large block that the system had to make."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert len(b"1" * N_BYTES) == N_BYTES
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / PAGES


@pytest.mark.parametrize("fails", [False, True])
def test_large_blocks_are_used_again_until_the_end(fails: bool) -> None:
    assert platform.libc_ver()[0] == "glibc", "elsewhere it does nothing"
    try:
        with reused_memory():
            pages_cleared()
            assert pages_cleared() < 0.01
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert pages_cleared() > 0.9
    assert pages_cleared() > 0.9
