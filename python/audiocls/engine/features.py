"""From a waveform to its features: numpy in, numpy out, all of it in Rust."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocls import _native
from audiocls.engine.audio import load
from audiocls.engine.cut import Cut
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import ChoiceError, SettingError
from audiocls.parallel import ahead, count_usable_cores

Float32 = npt.NDArray[np.float32]


class Extractor:
    """Computes the features of a spec.

    Any number of Python threads may share one extractor, and it works in forked processes.

    Args:
        spec: a spec or the name of a preset.
        threads: most threads a call may use; None: one for every core this process may use.
        isa: instruction set, one of `list_instruction_sets()`; None: the fastest.
            Results of different sets agree within float32 rounding; those of one set are always
            equal bit for bit.

    Raises:
        SettingError: an invalid spec, thread count or instruction set.

    Warns:
        UserWarning: some mel filters lie between two bins of the transform and are always empty.
    """

    spec: FeatureSpec

    def __init__(
        self, spec: FeatureSpec | str, threads: int | None = None, *, isa: str | None = None
    ) -> None:
        self.spec = FeatureSpec.preset(spec) if isinstance(spec, str) else spec
        self.threads = count_usable_cores() if threads is None else threads
        if isinstance(self.threads, bool) or self.threads < 1:
            raise SettingError("threads", threads, "must be >= 1")
        if isa is not None and isa not in list_instruction_sets():
            raise ChoiceError("isa", isa, list_instruction_sets())
        self._isa = isa
        self._native = _native.Extractor(self.spec.to_json(), self.threads, isa)
        if empty := self._native.empty_filters():
            warnings.warn(
                f"n_mels {self.spec.n_mels}: filters {', '.join(map(str, empty))} are empty, they "
                "lie between two bins of the transform; use fewer mels or a larger n_fft",
                stacklevel=2,
            )

    def __reduce__(self) -> tuple[Callable[..., Extractor], tuple[Any, ...]]:
        return _unpickle, (self.spec, self.threads, self._isa)

    def __repr__(self) -> str:
        return f"Extractor({self.spec!r}, threads={self.threads})"

    @property
    def n_features(self) -> int:
        """Features a frame; for kind stft: complex bins."""
        return self._native.n_features // (2 if self.spec.kind == "stft" else 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the results: complex64 for kind stft, else float32."""
        return np.dtype(np.complex64 if self.spec.kind == "stft" else np.float32)

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip of so many samples."""
        return self._native.n_frames(n_samples)

    def __call__(self, y: npt.ArrayLike, *, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
        """Features of one clip.

        Args:
            y: [samples] at `spec.sample_rate`; see `batch` for the types.
            dtype: float32 (default) or float16; kind stft gives complex64.

        Returns:
            [frames, features]

        Raises:
            SettingError: as `batch`.
        """
        features: npt.NDArray[Any] = self.batch(_samples(y, 1)[np.newaxis], dtype=dtype)[0]
        return features

    def batch(
        self,
        clips: npt.ArrayLike,
        out: npt.NDArray[Any] | None = None,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> npt.NDArray[Any]:
        """Features of clips of equal length, on `threads` threads, without the GIL.

        Args:
            clips: [n, samples] at `spec.sample_rate`. C-contiguous float32 is read in place; other
                layouts, float16 and float64 are converted; int16 is divided by 32768.
            out: where the result goes: C-contiguous, writable, [n, frames, features], float32 or
                float16 (complex64 for kind stft); a memory map will do.
            dtype: float32 (default) or float16, if `out` is not given.

        Returns:
            [n, frames, features]; `out` if given. A clip's values do not depend on the clips
            around it or on `threads`.

        Raises:
            SettingError: another dtype or number of dimensions; a sample that is not finite; clips
                too short for the spec (empty, or not longer than padding reflect mirrors); an
                `out` of the wrong shape, dtype or layout.
            KeyboardInterrupt: Ctrl-C, within 0.2 s; `out` is then partly filled.
        """
        samples = _samples(clips, 2)
        n, length = samples.shape
        self._native.check_length(length)
        shape = (n, self.n_frames(length), self.n_features)
        if out is None:
            out = np.empty(shape, self._dtype(dtype))
        else:
            _check_out(out, shape, self._dtype(out.dtype))
        if out.dtype == np.float16:
            # Converted in pieces: a whole float32 copy of a large result might not fit.
            step = max(1, _FLOATS_AT_ONCE // max(1, shape[1] * shape[2]))
            for i in range(0, n, step):
                part = np.empty((len(samples[i : i + step]), *shape[1:]), np.float32)
                self._native.batch(samples[i : i + step], part)
                out[i : i + step] = part
        else:
            self._native.batch(samples, out.view(np.float32))
        return out

    def files(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[npt.NDArray[Any]]:
        """Features of whole recordings, decoded and resampled, `threads` at a time.

        Args:
            paths: recordings in any format that `audiocls.load` takes.

        Yields:
            [frames, features] of each recording, in the order of `paths`.

        Raises:
            OSError: a recording cannot be read or decoded; names it.
            SettingError: a recording is too short for the spec; names it.
        """
        one = Extractor(self.spec, threads=1, isa=self._isa) if self.threads > 1 else self

        def features(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
            samples, _ = load(path, self.spec.sample_rate)
            try:
                return one(samples)
            except SettingError as error:
                raise SettingError(
                    f"{os.fspath(path)}: {error.name}", error.value, error.rule
                ) from None

        yield from ahead(features, paths, 2 * self.threads, self.threads)

    def cutter(self, cut: Cut, at_once: int) -> _native.Cutter:
        """Makes an object that turns the pieces of one recording into the features of its clips.

        The features are equal to those of `extract`, and come as soon as a clip is complete.

        Args:
            cut: how the recording becomes clips.
            at_once: most clips whose features are computed, and given, at a time.

        Returns:
            Its `push` takes float32 [samples] at `spec.sample_rate`. `push` and `finish` give a
            list of (first samples int64 [n], features float32 [n, frames, features]), and raise
            DataError if the recording gives no clip.

        Raises:
            SettingError: a clip or a hop without a sample.
        """
        return self._native.cutter(cut.to_json(), at_once)

    def stream(self) -> StreamingExtractor:
        """A stream at its beginning; any number may be open at once."""
        return StreamingExtractor(self)

    def _dtype(self, dtype: npt.DTypeLike | None) -> np.dtype[Any]:
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        allowed = (self.dtype,) if self.spec.kind == "stft" else (self.dtype, np.dtype(np.float16))
        if wanted not in allowed:
            raise SettingError("dtype", str(wanted), f"must be {' or '.join(map(str, allowed))}")
        return wanted


class StreamingExtractor:
    """Features of a signal that arrives in pieces, bit for bit equal to those of the whole.

    Frames come as soon as their last sample has come. Specs whose values depend on the whole clip
    (`top_db`, `deltas`, `normalize`) deliver everything at `finish`. One stream belongs to one
    thread at a time.
    """

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._native = extractor._native.stream()

    def push(self, chunk: npt.ArrayLike) -> npt.NDArray[Any]:
        """The next samples, any number of them.

        Args:
            chunk: [samples], types as in `Extractor.batch`.

        Returns:
            [frames, features] of the frames that are now complete, perhaps none.

        Raises:
            SettingError: another dtype or number of dimensions; a sample that is not finite.
        """
        return self._shaped(self._native.push(_samples(chunk, 1)))

    def finish(self) -> npt.NDArray[Any]:
        """The remaining frames; afterwards the stream is at its beginning again.

        Raises:
            SettingError: the signal was too short for the spec.
        """
        return self._shaped(self._native.finish())

    def _shaped(self, values: Float32) -> npt.NDArray[Any]:
        return values.view(self._extractor.dtype).reshape(-1, self._extractor.n_features)


def list_instruction_sets() -> list[str]:
    """What this machine can run, fastest first: for `Extractor(isa=…)`."""
    return _native.instruction_sets()


_FLOATS_AT_ONCE = 1 << 22


def _samples(values: npt.ArrayLike, ndim: int) -> Float32:
    """C-contiguous float32, without a copy if it is that already."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        # A list of different lengths; a tensor that requires gradients or is on another device.
        name = f"{type(values).__module__}.{type(values).__qualname__}"
        raise SettingError("input", name, f"must be an array: {error}") from None
    if array.ndim != ndim:
        shape = "[samples]" if ndim == 1 else "[n_clips, samples]"
        raise SettingError("input shape", array.shape, f"must be {shape}")
    if array.dtype == np.int16:
        return np.asarray(array, np.float32, order="C") / np.float32(32768)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        rule = "must be float32, float64, float16 or int16 (which is divided by 32768)"
        raise SettingError("input dtype", str(array.dtype), rule)
    with np.errstate(over="ignore"):  # Too large for float32 becomes inf, which the engine refuses.
        return np.require(array, np.float32, ["C", "A"])


def _check_out(out: npt.NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise SettingError("out", type(out).__name__, "must be a numpy array")
    if out.shape != shape:
        raise SettingError("out.shape", out.shape, f"must be {shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise SettingError("out", "array", "must be C-contiguous, aligned and writable")


def _unpickle(spec: FeatureSpec, threads: int, isa: str | None) -> Extractor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The original has warned.
        return Extractor(spec, threads, isa=isa)
