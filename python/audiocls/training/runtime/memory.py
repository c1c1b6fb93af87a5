"""Memory that one step of training frees is used by the next."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

# Parameters of mallopt, as glibc's malloc.h numbers them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MIB = 1 << 20


@contextlib.contextmanager
def reuse_memory() -> Iterator[None]:
    """Lets the C library keep what is freed, however large, for what is asked for next.

    By default glibc maps every block above 32 MiB anew, and the system clears it page by page: two
    fifths of a step of `cnn` on `mel`. With other C libraries nothing changes.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        # As they are in a process that has freed large blocks: mallopt(3), M_MMAP_THRESHOLD.
        libc.mallopt(_MMAP_MAX, 65_536)
        libc.mallopt(_MMAP_THRESHOLD, 32 * _MIB)
        libc.mallopt(_TRIM_THRESHOLD, 64 * _MIB)
        libc.malloc_trim(ctypes.c_size_t(0))


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
