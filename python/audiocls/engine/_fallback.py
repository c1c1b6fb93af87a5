"""What the engine cannot decode, decoded by soundfile or PyAV in a process of its own.

libsndfile, mpg123 and FFmpeg are written in C, can loop for ever on a damaged file, and take what
memory a header claims. So they work in a child (`_fallback_worker.py`), which is ended when it
takes too long, too much memory or dies: that costs one recording. A child serves many recordings,
one at a time, as starting one takes longer than decoding most of them.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import LimitError
from audiocls.parallel import count_usable_cores

# Seconds that a recording may take: many times what any decoder needs on a slow machine.
SECONDS = 20.0
START_S = 60.0  # until a child is ready
SECONDS_A_MB = 2.0  # of the file
SECONDS_A_MILLION = 2.0  # samples decoded
# Samples that a byte may become: FLAC and Opus code thousands of zeros with one.
SAMPLES_A_BYTE = 10_000
LONGEST_S = 24 * 3600  # as in the engine
# Memory of a child on top of what Python, numpy and the bytes of the recording take.
MEMORY_BYTES = 512 << 20

# What the child decodes with, each an extra of that name.
DECODERS = ("soundfile", "av")
_WORKER = Path(__file__).with_name("_fallback_worker.py")
_BLOCKS_AHEAD = 4
_POLL_S = 0.1
# To the child: whether a path follows (or the bytes of a file), whether only its header is wanted,
# limits of memory and of processor time, how many bytes follow. From it: kind of message, bytes.
_REQUEST = struct.Struct("<??QdQ")
_MESSAGE = struct.Struct("<cI")
_LONGEST_MESSAGE = 1 << 21


class Decoding:
    """A recording being decoded: an iterator over blocks of mono samples, float32 [n], n >= 1.

    Raises OSError where soundfile is not installed or cannot decode the recording, LimitError, an
    OSError as well, where it had to be stopped.
    """

    sample_rate: int  # Hz
    channels: int  # of the recording
    n_claimed: int  # samples, by its header

    def __init__(
        self,
        source: str | bytes,
        stop: threading.Event | None = None,
        *,
        header_only: bool = False,
    ) -> None:
        """`source` is a path, or the bytes of a file; the work ends soon after `stop` is set."""
        size = Path(source).stat().st_size if isinstance(source, str) else len(source)
        seconds = SECONDS + SECONDS_A_MB * size / 1e6
        self._n_samples = 0
        self._stop = stop
        self._child: _Child | None = _Child.take()
        try:
            if not self._child.ready:
                self._deadline = time.monotonic() + START_S
                self._next_message()
                self._child.ready = True
            self._deadline = time.monotonic() + seconds
            self._child.ask(source, header_only, seconds)
            _, header = self._next_message()
            self.sample_rate, self.channels, self.n_claimed = struct.unpack("<IIQ", header)
        except BaseException:
            self.close()
            raise
        self._most = min(SAMPLES_A_BYTE * size, LONGEST_S * self.sample_rate)

    def __iter__(self) -> Decoding:
        return self

    def __next__(self) -> NDArray[np.float32]:
        if self._child is None:
            raise StopIteration
        try:
            kind, payload = self._next_message()
            if kind == b"d":
                child, self._child = self._child, None
                child.give_back()
                raise StopIteration
            block = np.frombuffer(payload, np.float32)
            self._n_samples += block.size
            self._deadline += SECONDS_A_MILLION * block.size / 1e6
            if self._n_samples > self._most:
                raise LimitError(
                    f"the fallback decoder: gives more than {self._most} samples, given up"
                )
            return block
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing more is wanted; a child that is still at work is ended."""
        child, self._child = getattr(self, "_child", None), None
        if child is not None:
            child.end()

    __del__ = close

    def _next_message(self) -> tuple[bytes, bytes]:
        child = self._child
        assert child is not None
        while True:
            if self._stop is not None and self._stop.is_set():
                raise LimitError("the fallback decoder: the run was stopped")
            try:
                kind, payload = child.messages.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() > self._deadline:
                    raise LimitError("the fallback decoder: takes too long, given up") from None
                continue
            if kind == b"e":
                if child.ready:
                    self._child = None
                    child.give_back()
                more = (
                    ""
                    if importlib.util.find_spec("av")
                    else "; pip install 'audiocls[av]' decodes more"
                )
                raise OSError(f"{payload.decode(errors='replace')}{more}")
            if kind == b"m":
                raise LimitError("the fallback decoder: needs too much memory, given up")
            if kind == b"":
                raise LimitError(f"the fallback decoder: {child.cause_of_death()}")
            return kind, payload


class _Child:
    """A process that decodes, and the thread that listens to it."""

    # By process: a forked one has children of its own.
    _idle: ClassVar[dict[int, list[_Child]]] = {}
    _alive: ClassVar[dict[int, set[_Child]]] = {}

    @classmethod
    def take(cls) -> _Child:
        """One that has nothing to do."""
        missing = [name for name in DECODERS if importlib.util.find_spec(name) is None]
        if not sys.executable or len(missing) == len(DECODERS):
            raise OSError(f"{' and '.join(DECODERS)}, which may know the format, are not installed")
        idle = cls._idle.setdefault(os.getpid(), [])
        with contextlib.suppress(IndexError):  # Another thread may take the last one.
            while idle:
                child = idle.pop()
                if child._process.poll() is None:
                    return child
        return cls()

    def __init__(self) -> None:
        self.ready = False  # its first message says so
        self.messages: queue.Queue[tuple[bytes, bytes]] = queue.Queue(_BLOCKS_AHEAD)
        self._ended = False
        self._pid = os.getpid()
        # -P: nothing is imported from the folder that the user is in. A session of its own: Ctrl-C
        # is for the parent. What the C libraries print is no message of ours.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._alive.setdefault(self._pid, set()).add(self)
        threading.Thread(target=self._listen, daemon=True, name="audiocls-fallback").start()

    def ask(self, source: str | bytes, header_only: bool, seconds: float) -> None:
        """Sends a request; the answer is in `messages`."""
        is_path = isinstance(source, str)
        payload = os.fsencode(Path(source).absolute()) if isinstance(source, str) else source
        memory = MEMORY_BYTES + len(payload)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # It died: its last message tells.
            self._process.stdin.write(
                _REQUEST.pack(is_path, header_only, memory, seconds, len(payload))
            )
            self._process.stdin.write(payload)
            self._process.stdin.flush()

    def give_back(self) -> None:
        """It has answered, and may serve others."""
        idle = self._idle.setdefault(os.getpid(), [])
        if len(idle) < count_usable_cores():
            idle.append(self)
        else:
            self.end()

    def end(self) -> None:
        """Ends it, whatever it is doing."""
        if os.getpid() != self._pid:
            return  # A copy in a forked process; the child is not that one's.
        self._ended = True
        self._process.kill()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def cause_of_death(self) -> str:
        code = self._process.returncode
        if code is not None and code == -getattr(signal, "SIGXCPU", 0):
            return "takes too long, given up"
        return f"the decoder crashed ({signal.Signals(-code).name if code < 0 else code})"

    def _listen(self) -> None:
        """Puts what the child says into `messages`, and an empty message when it has ended."""
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            while len(head := stdout.read(_MESSAGE.size)) == _MESSAGE.size:
                kind, n = _MESSAGE.unpack(head)
                if n > _LONGEST_MESSAGE or len(payload := stdout.read(n)) < n:
                    break  # It is no longer what we started.
                self._put(kind, payload)
        self._process.kill()
        self._process.wait()
        self._alive[self._pid].discard(self)
        self._put(b"", b"")

    def _put(self, kind: bytes, payload: bytes) -> None:
        while not self._ended:
            with contextlib.suppress(queue.Full):
                self.messages.put((kind, payload), timeout=_POLL_S)
                return


@atexit.register
def end_all() -> None:
    """Ends all children of this process."""
    _Child._idle.pop(os.getpid(), None)
    for child in list(_Child._alive.get(os.getpid(), ())):
        child.end()
