"""The same for many things, on all cores, so that Ctrl-C is answered whatever a call waits for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Calls that are handed out before progress is told: what waits is bounded.
_AT_ONCE = 256


def count_usable_cores() -> int:
    """Counts the cores that this process may use.

    They are fewer than the machine has in a container or under taskset, if the system can tell.
    """
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


def ahead(function: Callable[[T], R], items: Iterable[T], n: int, threads: int = 1) -> Iterator[R]:
    """Call a function for each item on other threads, ahead of what the caller takes.

    Args:
        function: called once for each item.
        items: read as the calls are handed out, so there may be any number of them.
        n: most results and calls that wait for the caller, so that memory is bounded.
        threads: calls that run at a time.

    Yields:
        The results, in the order of the items. A call that fails raises when its turn comes.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
