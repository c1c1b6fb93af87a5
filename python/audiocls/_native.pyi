"""Types of the Rust engine; stubtest holds this file to the compiled module."""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import final

import numpy as np
from numpy.typing import NDArray

__version__: str

def load(
    path: str | PathLike[str], sample_rate: int | None = None
) -> tuple[NDArray[np.float32], int]: ...
def load_bytes(
    data: bytes, name: str | PathLike[str], sample_rate: int | None = None
) -> tuple[NDArray[np.float32], int]: ...

@final
class Blocks:
    def __new__(cls, path: str | PathLike[str], sample_rate: int | None = None) -> Blocks: ...
    @property
    def sample_rate(self) -> int: ...
    def read(self, n_samples: int) -> NDArray[np.float32]: ...

def probe(path: str | PathLike[str]) -> tuple[int, int, int]: ...
def probe_bytes(data: bytes, name: str | PathLike[str]) -> tuple[int, int, int]: ...
def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]: ...

@final
class Resampler:
    def __new__(cls, from_hz: int, to_hz: int) -> Resampler: ...
    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def finish(self) -> NDArray[np.float32]: ...

# Features: specs travel as JSON.

def presets() -> list[tuple[str, str]]: ...
def check_spec(json: str) -> str: ...
def instruction_sets() -> list[str]: ...

@final
class Extractor:
    def __new__(cls, spec: str, threads: int, isa: str | None = None) -> Extractor: ...
    def n_frames(self, n_samples: int) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def empty_filters(self) -> list[int]: ...
    def check_length(self, n_samples: int) -> None: ...
    def batch(self, clips: NDArray[np.float32], out: NDArray[np.float32]) -> None: ...
    def cutter(self, cut: str, at_once: int) -> Cutter: ...
    def stream(self) -> StreamingExtractor: ...

@final
class StreamingExtractor:
    def push(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def finish(self) -> NDArray[np.float32]: ...

# Clips: cuts travel as JSON.

def check_cut(json: str) -> str: ...
def cut_lengths(json: str, sample_rate: int) -> tuple[int, int]: ...
def starts(
    json: str, sample_rate: int, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...

@final
class Cutter:
    @property
    def n_samples(self) -> int: ...
    def push(
        self, samples: NDArray[np.float32]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]: ...
    def finish(self) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]: ...

# Data sets.

def checksum(path: str | PathLike[str]) -> tuple[int, str]: ...
def clip_shape(
    spec_json: str, *, clip_s: float, hop_s: float, short: str, min_rms: float, dtype: str
) -> list[int]: ...

# Rate in Hz, channels, blocks of mono samples.
_Decoding = tuple[int, int, Iterable[NDArray[np.float32]]]

@final
class Extraction:
    def __new__(
        cls,
        spec_json: str,
        *,
        clip_s: float,
        hop_s: float,
        short: str,
        min_rms: float,
        dtype: str,
        sources: list[tuple[str | None, int, int, str | None]],
        folder: str | PathLike[str],
        shards: list[tuple[int, int, int]],
        threads: int,
        read: Callable[[int], tuple[bytes, str]] | None = None,
        decode: Callable[[int], _Decoding | None] | None = None,
    ) -> Extraction: ...
    def wait(self, timeout_s: float) -> bool: ...
    def progress(self) -> tuple[int, int, int, float]: ...
    def cancel(self) -> None: ...
    def join(self) -> None: ...

@final
class FileLock:
    def __new__(cls, path: str | PathLike[str]) -> FileLock: ...

# Augmentation: settings travel as JSON.

def check_augmentation(json: str) -> str: ...

MOST_FOLLOWING: int

@final
class Augmenter:
    def __new__(
        cls,
        spec: str,
        settings: str,
        clip_samples: int,
        *,
        short: str,
        threads: int,
        impulses: list[NDArray[np.float32]],
        noises: list[NDArray[np.float32]],
    ) -> Augmenter: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    def drawn(self, epoch: int, index: int, n_samples: int) -> str: ...
    def batch(
        self,
        arrays: list[NDArray[np.int16]] | list[NDArray[np.float32]],
        spans: NDArray[np.int64],
        indices: NDArray[np.int64],
        epoch: int,
        out: NDArray[np.float32],
        mix: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None = None,
        following: NDArray[np.int64] | None = None,
    ) -> None: ...
    def plain(
        self,
        arrays: list[NDArray[np.int16]] | list[NDArray[np.float32]],
        spans: NDArray[np.int64],
        starts: NDArray[np.int64],
        out: NDArray[np.float32],
    ) -> None: ...
