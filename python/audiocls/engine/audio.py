"""Recordings as samples: decoded and resampled by the engine, or by soundfile as a last resort."""

from __future__ import annotations

import contextlib
import operator
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocls import _native
from audiocls.engine._fallback import Decoding
from audiocls.errors import LimitError, SettingError, UnusableError

_EXCERPT_BLOCK = 1 << 18  # samples
_LARGEST_SAMPLE = 1e12  # as in the engine


def load(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes], sample_rate: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """The samples of a recording, as one channel.

    WAV, FLAC, MP3, Ogg Vorbis, AIFF, M4A/AAC, CAF and Matroska are recognised by their content;
    what the engine cannot decode goes to soundfile and PyAV where these are installed.

    Args:
        path: a regular file; the name may hold any bytes.
        sample_rate: rate to resample to, in Hz; None keeps the recording's own. The quality
            is that of soxr HQ (librosa's default): linear phase, no delay.

    Returns:
        float32 samples, shape [n], the mean of the channels, integers scaled to [-1, 1);
        and their rate in Hz. n is ceil(n_decoded * sample_rate / rate of the recording).

    Raises:
        SettingError: a ``sample_rate`` that is no whole number >= 1 (a ValueError).
        OSError: the file cannot be opened or decoded, holds no samples, or a NaN or infinite one.
    """
    rate = _checked_rate(sample_rate)
    name = os.fsdecode(path)
    size = Path(name).stat().st_size  # a missing or forbidden file is Python's own error
    try:
        return _native.load(name, rate)
    except UnusableError:
        raise  # Another decoder would find the same.
    except OSError as error:
        if size == 0 or not Path(name).is_file():
            raise
        return _joined(*_by_soundfile(name, rate, error))


def read_blocks(
    source: str | bytes | os.PathLike[str],
    sample_rate: int,
    n_samples: int,
    stop: threading.Event | None = None,
) -> Iterator[NDArray[np.float32]]:
    """The samples that :func:`load` gives, in pieces: a recording of any length in bounded memory.

    Args:
        source: a path, or the bytes of a file.
        sample_rate: rate to resample to, in Hz.
        n_samples: about how many samples a piece has, at least 1.
        stop: the work ends with an OSError soon after it is set.

    Yields:
        float32 samples, shape [n].

    Raises:
        SettingError, OSError: as :func:`load`, when that piece is reached.
    """
    rate = _checked_rate(sample_rate)
    encoded = source if isinstance(source, bytes) else os.fspath(source)
    size = len(encoded) if isinstance(encoded, bytes) else Path(encoded).stat().st_size
    begun = False
    try:
        if isinstance(encoded, bytes):
            reader = _native.Blocks.from_bytes(encoded, "recording", rate)
        else:
            reader = _native.Blocks(encoded, rate)
        while len(block := reader.read(n_samples)):
            begun = True
            yield block
    except UnusableError:
        raise
    except OSError as error:
        regular = isinstance(encoded, bytes) or Path(encoded).is_file()
        if begun or size == 0 or not regular:
            raise
        yield from _by_soundfile(encoded, rate, error, stop)[0]


def read_excerpt(
    source: str | bytes | os.PathLike[str], sample_rate: int, first: int, last: int
) -> NDArray[np.float32]:
    """Samples first … last - 1 of what :func:`load` gives, fewer if the recording ends before.

    The engine decodes nothing after them. Raises as :func:`load`.
    """
    at, found = 0, [np.zeros(0, np.float32)]
    for block in read_blocks(source, sample_rate, _EXCERPT_BLOCK):
        found.append(block[max(first - at, 0) : max(last - at, 0)])
        at += len(block)
        if at >= last:
            break
    return np.concatenate(found)


def load_bytes(
    data: bytes, name: str = "recording", sample_rate: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """As :func:`load`, from the bytes of a file; ``name`` stands for the path in errors."""
    rate = _checked_rate(sample_rate)
    try:
        return _native.load_bytes(data, name, rate)
    except UnusableError:
        raise
    except OSError as error:
        if not data:
            raise
        return _joined(*_by_soundfile(data, rate, error))


def probe(source: str | bytes, name: str = "recording") -> tuple[float, int, int]:
    """Duration in seconds, rate in Hz and channels of a recording; from its header if that tells.

    Args:
        source: a path, or the bytes of a file.
        name: stands for the path in errors, if `source` is bytes.

    Raises:
        OSError: as :func:`load`, as far as it shows without decoding.
    """
    try:
        if isinstance(source, str):
            n_samples, rate, channels = _native.probe(source)
        else:
            n_samples, rate, channels = _native.probe_bytes(source, name)
    except UnusableError:
        raise
    except OSError as error:
        size = Path(source).stat().st_size if isinstance(source, str) else len(source)
        if size == 0:
            raise
        try:
            with contextlib.closing(Decoding(source, header_only=True)) as found:
                n_samples, rate, channels = found.n_claimed, found.sample_rate, found.channels
        except LimitError as limit:
            raise OSError(f"{error}; {limit}") from None
        except OSError:
            raise error from None
    return n_samples / rate, rate, channels


def resample(samples: ArrayLike, from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Samples at another rate, to the quality of soxr HQ.

    Args:
        samples: shape [n], float32 (anything else is converted).
        from_hz: their rate in Hz.
        to_hz: the rate to convert to, within a factor of 256.

    Returns:
        float32, shape [ceil(n * to_hz / from_hz)]; sample j stands at time j / to_hz.

    Raises:
        ValueError: a rate that is no whole number >= 1 or too far from the other one, or samples of
            another shape.
    """
    array = np.ascontiguousarray(samples, dtype=np.float32)
    if array.ndim != 1:
        raise SettingError("samples", list(array.shape), "must have the shape [n]: one channel")
    rates = (_checked_rate(from_hz, "from_hz"), _checked_rate(to_hz, "to_hz"))
    if rates[0] is None or rates[1] is None:
        raise SettingError("from_hz, to_hz", rates, "must both be given")
    return _native.resample(array, rates[0], rates[1])


def _by_soundfile(
    source: str | bytes,
    sample_rate: int | None,
    engine: OSError,
    stop: threading.Event | None = None,
) -> tuple[Iterator[NDArray[np.float32]], int]:
    """Blocks of what only soundfile decodes, as they come from its process, and their rate in Hz.

    No block is kept: two bytes of Opus become 5,760 samples.
    """
    try:
        decoding = Decoding(source, stop)
    except OSError as error:
        raise OSError(f"{engine}; {error}") from engine
    rate = decoding.sample_rate if sample_rate is None else sample_rate
    return _resampled(decoding, rate, engine), rate


def _resampled(decoding: Decoding, rate: int, engine: OSError) -> Iterator[NDArray[np.float32]]:
    try:
        with contextlib.closing(decoding):
            own = decoding.sample_rate
            resampler = None if rate == own else _native.Resampler(own, rate)
            n_samples = 0
            for block in decoding:
                bad = np.flatnonzero(~(np.abs(block) <= _LARGEST_SAMPLE))
                if bad.size:
                    at, value = n_samples + bad[0], block[bad[0]]
                    rule = "within ±1e12" if np.isfinite(value) else "finite"
                    raise OSError(f"sample {at} is {value}: must be {rule}")
                n_samples += len(block)
                yield block if resampler is None else resampler.push(block)
            if not n_samples:
                raise OSError("holds no samples")
            if resampler is not None:
                yield resampler.finish()
    except (OSError, ValueError) as error:
        raise OSError(f"{engine}; {error}") from engine


def _joined(pieces: Iterator[NDArray[np.float32]], rate: int) -> tuple[NDArray[np.float32], int]:
    """All samples as one array, which grows in place: they are held once."""
    samples = bytearray()
    for piece in pieces:
        samples += piece.data
    return np.frombuffer(samples, np.float32), rate


def _checked_rate(value: int | None, name: str = "sample_rate") -> int | None:
    if value is None:
        return None
    try:
        rate = operator.index(value)
    except TypeError:
        rate = 0
    if not 1 <= rate < 2**32:
        raise SettingError(name, value, "must be a whole number of Hz, >= 1")
    return rate
