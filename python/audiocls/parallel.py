"""The same for many things, on all cores, so that Ctrl-C is answered whatever a call waits for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Calls that are handed out before progress is told: what waits is bounded.
_AT_ONCE = 256


def count_usable_cores() -> int:
    """Cores that this process may use: fewer than the machine has, in a container or under taskset,
    where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def for_each(
    function: Callable[[T], R],
    items: Sequence[T],
    progress: Callable[[int, int], None] | None = None,
) -> list[R]:
    """`function` of every item, in their order; `progress` is called with how many, of how many.

    The calling thread never waits for a thread that cannot end, in a read from a dead network share
    for instance: it leaves it behind.
    """
    results: list[R] = []
    pool = ThreadPoolExecutor(count_usable_cores())
    try:
        for start in range(0, len(items), _AT_ONCE):
            results += pool.map(function, items[start : start + _AT_ONCE])
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return results
