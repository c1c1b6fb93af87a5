"""What workers of a Ray cluster run in tests in place of `audiocls.store.cluster.send_part`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from audiocls.store import cluster, planning


def small(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    planning.SHARD_RECORDINGS = 2
    yield from cluster.send_part(task, number)


def _stop(mark: Path, where: str) -> None:
    """Tells the test where, in one piece, and goes on only when all is over."""
    mark.with_suffix(".tmp").write_text(where)
    mark.with_suffix(".tmp").rename(mark)
    time.sleep(600)


def stuck(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    """Part 3 stops when half of its files are sent, the first time that it is made."""
    files = small(task, number)
    yield next(files)
    yield next(files)
    mark = Path(task.data).parent / "stuck"
    if number == 3 and not mark.exists():
        _stop(mark, str(os.getpid()))
    yield from files


def stuck_on_a_node(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    """The first part that is made on another node than the head stops after a file.

    Those on the head wait for it, for the head alone may be done before the other has a worker.
    """
    files = small(task, number)
    yield next(files)
    folder = Path(task.data).parent
    here, mark = ray.get_runtime_context().get_node_id(), folder / "node"
    if here == (folder / "head").read_text():
        deadline = time.monotonic() + 120
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    elif not mark.exists():
        _stop(mark, here)
    yield from files


def lost(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from small(task, number)


def other_data(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    """A machine where one recording is another."""
    cluster._planned.cache_clear()
    os.utime(Path(task.data) / "class 0/0.wav", ns=(1, time.time_ns()))
    yield from small(task, number)


def other_version(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    cluster.__version__ = "0.0.1"
    try:
        yield from small(task, number)
    finally:
        cluster.__version__ = task.version


def without_audiocls(task: Any, number: int) -> Iterator[tuple[str, bytes]]:
    yield from small(task, number)


# Ray sends a function by the name of its module, and workers have none of this name.
without_audiocls.__module__ = "audiocls_of_the_driver"
