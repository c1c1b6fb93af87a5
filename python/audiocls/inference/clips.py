"""The samples of one recording, piece by piece → features of its clips, cut as `extract` does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.description import Description
from audiocls.engine.dataset import clip_shape
from audiocls.engine.features import Extractor
from audiocls.errors import DataError, SettingError

# Clips whose features are computed, and given to the network, at once.
BATCH = 64
# Whole recordings are held until their end; their activations, many times larger, too.
LONGEST_WHOLE_S = 600.0

# Where clips start, in samples, int64 [n]; and their features, float32 [n, frames, n_features].
Batch = tuple[NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class Cut:
    """How recordings become clips; samples at the rate of the model."""

    clip_len: int  # 0: each recording is one clip of its own length
    hop_len: int
    short: str
    min_rms: float

    @classmethod
    def of(cls, description: Description, hop_s: float | None = None) -> Cut:
        """As the training data were cut, with another hop if one is given.

        Raises:
            SettingError: an impossible hop.
            DataError: clips of a length that does not fit the network.
        """
        spec, own_hop_s = description.spec, description.hop_s

        def shape(hop_s: float) -> list[int]:
            return clip_shape(
                spec.to_json(),
                clip_s=description.clip_s,
                hop_s=hop_s,
                short=description.short,
                min_rms=description.min_rms,
                dtype="float32",
            )

        frames, features = description.input_shape
        taken = [features] if frames is None else [frames, features]
        try:
            if shape(own_hop_s) != taken:
                raise ValueError(f"clips give {shape(own_hop_s)}, the network takes {taken}")
        except ValueError as error:
            raise DataError(f"model.json contradicts itself: {error}") from None
        if hop_s is not None:
            if description.clip_s == 0:
                rule = "the model takes whole recordings, so there are no clips to start"
                raise SettingError("hop_s", hop_s, rule)
            shape(hop_s)
        return cls(
            clip_len=_samples(description.clip_s, spec.sample_rate),
            hop_len=_samples(own_hop_s if hop_s is None else hop_s, spec.sample_rate),
            short=description.short,
            min_rms=description.min_rms,
        )

    def begin(self, extractor: Extractor) -> Clips | Whole:
        """What takes the samples of one recording."""
        return Clips(self, extractor) if self.clip_len else Whole(self, extractor)

    @property
    def block_len(self) -> int:
        """Samples worth pushing at once."""
        return max(self.clip_len, BATCH * self.hop_len) if self.clip_len else 1 << 18

    def is_silent(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool [n]: which clips [n, samples] are quieter than `min_rms`."""
        power = np.square(samples, dtype=np.float64).mean(axis=-1)
        silent: NDArray[np.bool_] = np.sqrt(power) < self.min_rms
        return silent


class Clips:
    """Clips of one length, one every hop; a last one that is not full is left out."""

    def __init__(self, cut: Cut, extractor: Extractor) -> None:
        self._cut, self._extractor = cut, extractor
        self._pending = np.empty(0, np.float32)  # the samples that a clip may still need
        self._pending_at = 0  # where in the recording they begin
        self._next = 0  # where the next clip starts
        self._used = 0  # clips that were not silent
        self.n_samples = 0

    def push(self, samples: NDArray[np.float32]) -> Iterator[Batch]:
        """The clips that are complete with these samples [n] at the model's rate."""
        cut = self._cut
        self.n_samples += len(samples)
        self._pending = np.concatenate([self._pending, samples]) if len(samples) else self._pending
        while self._next + cut.clip_len <= self.n_samples:
            ready = (self.n_samples - cut.clip_len - self._next) // cut.hop_len + 1
            n = min(ready, BATCH)
            first = self._next - self._pending_at
            span = self._pending[first : first + (n - 1) * cut.hop_len + cut.clip_len]
            clips = np.lib.stride_tricks.sliding_window_view(span, cut.clip_len)[:: cut.hop_len]
            starts = self._next + cut.hop_len * np.arange(n)
            self._next += n * cut.hop_len
            yield from self._features(starts, clips)
        # Until the first clip is complete the recording may be a short one, and is kept.
        done = min(self._next - self._pending_at, len(self._pending))
        self._pending = self._pending[done:].copy() if done else self._pending
        self._pending_at += done

    def finish(self) -> Iterator[Batch]:
        """What remains: the one clip of a recording shorter than a clip.

        Raises DataError where the recording gives no clip at all.
        """
        cut, samples = self._cut, self._pending
        if self.n_samples == 0:
            raise DataError("holds no samples")
        if self._next == 0:
            if cut.short == "drop":
                raise DataError("is shorter than one clip (--short drop)")
            # Only what was recorded counts: what fills the clip up would dilute it.
            if not (cut.min_rms > 0 and cut.is_silent(samples)):
                clip = np.zeros(cut.clip_len, np.float32)
                filled = np.resize(samples, cut.clip_len) if cut.short == "repeat" else samples
                clip[: len(filled)] = filled
                self._used = 1
                yield np.zeros(1, np.int64), self._extractor.batch(clip[np.newaxis])
        if not self._used:
            raise DataError("all of it is quieter than --min-rms")

    def _features(self, starts: NDArray[np.int64], clips: NDArray[np.float32]) -> Iterator[Batch]:
        if self._cut.min_rms > 0:
            loud = ~self._cut.is_silent(clips)
            starts, clips = starts[loud], clips[loud]
        if len(starts):
            self._used += len(starts)
            yield starts, self._extractor.batch(clips)


class Whole:
    """The recording as one clip of its own length."""

    def __init__(self, cut: Cut, extractor: Extractor) -> None:
        self._cut, self._stream = cut, extractor.stream()
        self._longest = int(LONGEST_WHOLE_S * extractor.spec.sample_rate)
        self._rows: list[NDArray[Any]] = []
        self._power = 0.0
        self.n_samples = 0

    def push(self, samples: NDArray[np.float32]) -> Iterator[Batch]:
        """Takes samples [n] at the model's rate. DataError where they become too many."""
        self.n_samples += len(samples)
        if self.n_samples > self._longest:
            raise DataError(
                f"is longer than {LONGEST_WHOLE_S:g} s; a model of whole recordings takes no more"
            )
        self._power += float(np.square(samples, dtype=np.float64).sum())
        self._rows.append(self._stream.push(samples))
        return iter(())

    def finish(self) -> Iterator[Batch]:
        """The clip. DataError where there is none."""
        if self.n_samples == 0:
            raise DataError("holds no samples")
        self._rows.append(self._stream.finish())
        if math.sqrt(self._power / self.n_samples) < self._cut.min_rms:
            raise DataError("all of it is quieter than --min-rms")
        rows = np.concatenate(self._rows)
        if not len(rows):
            raise DataError("is shorter than one frame")
        yield np.zeros(1, np.int64), rows[np.newaxis]


def _samples(seconds: float, rate: int) -> int:
    """As the engine rounds."""
    return math.floor(seconds * rate + 0.5)
