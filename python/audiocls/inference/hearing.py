"""Recordings through a network: several at a time, their clips in common batches."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import AudioclsError, DataError
from audiocls.inference.network import Compute

# Most recordings that a thread takes at a time.
TOGETHER = 16
# Features that are given to the network as soon as there are so many: 2 MB.
ENOUGH = 1 << 19

Answer = TypeVar("Answer")
# Where clips start, in samples, int64 [n]; and their features, float32 [n, frames, n_features].
Batch = tuple[NDArray[np.int64], NDArray[np.float32]]


class Heard(NamedTuple):
    """The network's output for the clips of one recording."""

    rows: NDArray[np.float64]  # [n_clips, …]
    starts: NDArray[np.int64]  # in samples, [n_clips]
    levels: NDArray[np.float64]  # in dB, [n_clips]
    n_samples: int
    level_db: float  # of the whole, at full scale 1


class ClipStream(NamedTuple):
    """The clips of one recording, as they come, and what is known at the end."""

    batches: Iterator[Batch]
    # How many samples it had, and their level in dB.
    extent: Callable[[], tuple[int, float]]


@dataclass(frozen=True)
class Listener(Generic[Answer]):
    """Asks a network about recordings.

    Args:
        clips: the clips of a recording; raises AudioclsError or OSError if it cannot be used.
        compute: the network.
        levels: the levels of clips from their features.
        answer: what is said of a recording.
    """

    clips: Callable[[Any], ClipStream]
    compute: Compute
    levels: Callable[[NDArray[Any]], NDArray[np.float64]]
    answer: Callable[[Heard], Answer]

    def listen(
        self, sources: Sequence[Any], threads: int, stop: threading.Event
    ) -> Iterator[Answer | Exception]:
        """Yields the answer for each recording, in order, or why there is none.

        A few recordings are in work ahead, so that nobody waits. Not all are, so that memory stays
        bounded.
        Sets `stop` at the end.
        """
        size = max(1, min(TOGETHER, len(sources) // (2 * threads)))
        tasks: collections.deque[Future[None]] = collections.deque()
        waiting: collections.deque[Future[Answer | Exception]] = collections.deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for first in range(0, len(sources), size):
                    some = sources[first : first + size]
                    promised: list[Future[Answer | Exception]] = [Future() for _ in some]
                    tasks.append(pool.submit(self._keep, promised, some))
                    waiting.extend(promised)
                    while len(waiting) > 2 * threads * size:
                        yield waiting.popleft().result()
                    while tasks and tasks[0].done():
                        tasks.popleft()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                stop.set()
                for task in tasks:
                    task.cancel()

    def _keep(self, promised: list[Future[Answer | Exception]], sources: Iterable[Any]) -> None:
        """Sets each promised answer as soon as it is known."""
        together = _Together(self)
        try:
            for promise, source in zip(promised, sources, strict=True):
                together.hear(source, promise)
            together.compute()
        except BaseException as error:
            for promise in promised:
                if not promise.done():
                    promise.set_exception(error)


@dataclass
class _Recording(Generic[Answer]):
    """A recording with clips that are not yet computed."""

    name: str
    promise: Future[Answer | Exception]
    starts: list[NDArray[np.int64]] = field(default_factory=list)
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    levels: list[NDArray[np.float64]] = field(default_factory=list)
    extent: tuple[int, float] | None = None  # as of a ClipStream

    def fail(self, error: Exception) -> None:
        if isinstance(error, DataError):
            error = DataError(f"{self.name} {error}")
        if not self.promise.done():
            self.promise.set_result(error)


class _Together(Generic[Answer]):
    """Clips of several recordings that wait for the network, which is faster with many at once."""

    def __init__(self, listener: Listener[Answer]) -> None:
        self.listener = listener
        self.heard: list[_Recording[Answer]] = []
        self.waiting: list[tuple[_Recording[Answer], NDArray[np.float32]]] = []

    def hear(self, source: Any, promise: Future[Answer | Exception]) -> None:
        """Takes the clips of a recording, and computes if there are enough."""
        path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
        recording = _Recording("the recording" if path is None else repr(path), promise)
        self.heard.append(recording)
        try:
            clips = self.listener.clips(source)
            for starts, features in clips.batches:
                recording.starts.append(starts)
                self.waiting.append((recording, features))
                if sum(features.size for _, features in self.waiting) >= ENOUGH:
                    self.compute()
            recording.extent = clips.extent()
        except (AudioclsError, OSError) as error:
            recording.fail(error)

    def compute(self) -> None:
        """Computes all waiting clips, and answers for the complete recordings."""
        alike: dict[tuple[int, ...], list[tuple[_Recording[Answer], NDArray[np.float32]]]] = {}
        for recording, features in self.waiting:
            if not recording.promise.done():
                alike.setdefault(features.shape[1:], []).append((recording, features))
        self.waiting = []
        for group in alike.values():
            try:
                self._compute(group)
            except (AudioclsError, OSError) as error:
                for recording, _ in group:
                    recording.fail(error)
        for recording in self.heard:
            if recording.extent is not None and not recording.promise.done():
                recording.promise.set_result(self._answer(recording, *recording.extent))
        self.heard = [recording for recording in self.heard if not recording.promise.done()]

    def _compute(self, group: list[tuple[_Recording[Answer], NDArray[np.float32]]]) -> None:
        x = group[0][1] if len(group) == 1 else np.concatenate([features for _, features in group])
        ends = np.cumsum([len(features) for _, features in group])[:-1]
        rows = np.split(np.asarray(self.listener.compute(x), np.float64), ends)
        levels = np.split(self.listener.levels(x), ends)
        for (recording, _), own_rows, own_levels in zip(group, rows, levels, strict=True):
            recording.rows.append(own_rows)
            recording.levels.append(own_levels)

    def _answer(self, recording: _Recording[Answer], n_samples: int, level_db: float) -> Answer:
        rows, starts = np.concatenate(recording.rows), np.concatenate(recording.starts)
        levels = np.concatenate(recording.levels)
        return self.listener.answer(Heard(rows, starts, levels, n_samples, level_db))
