"""Predictions of a signal in pieces: raw samples from a pipe or a microphone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.task import TASKS
from audiocls.engine.dataset import Resampler
from audiocls.errors import ChoiceError, DataError, SettingError
from audiocls.inference.hearing import Batch
from audiocls.inference.predict import BATCH, Classifier, push_in_batches
from audiocls.inference.prediction import Segment, Setting

# How samples lie in a pipe, little-endian, and what full scale is.
SAMPLE_TYPES = {
    "int16": ("<i2", 1 << 15),
    "int32": ("<i4", 1 << 31),
    "float32": ("<f4", 1),
}
# Bytes asked for at once; fewer may come.
_READ_BYTES = 1 << 16


class Stream:
    """A model at the end of a stream.

    It sees the clips, and gives the probabilities, of `Classifier.recordings` on the same samples.

    Args:
        classifier: the model.
        sample_rate: rate of the samples in Hz; None: the model's own.
        hop_s: seconds from clip to clip; None: as in training.
        threshold: the certainty below which the label is `unknown`. Of several labels: the
            probability from which on each is given, for all classes or {class: threshold}. None:
            the model's own.

    Raises:
        SettingError: an impossible rate or hop, or a model that takes whole recordings.
    """

    def __init__(
        self,
        classifier: Classifier,
        sample_rate: int | None = None,
        hop_s: float | None = None,
        threshold: Setting = None,
    ) -> None:
        if classifier.description.cut.clip_s == 0:
            rule = "takes whole recordings, and a stream has no end: train on clips"
            raise SettingError("model", str(classifier.path), rule)
        self._classifier = classifier
        self._threshold = classifier.limits(threshold).threshold
        rate = classifier.sample_rate if sample_rate is None else sample_rate
        self._resampler = None
        if rate != classifier.sample_rate:
            self._resampler = Resampler(rate, classifier.sample_rate)
        cut = classifier.cut(hop_s)
        self._clip_s = cut.clip_len(classifier.sample_rate) / classifier.sample_rate
        self._hop_len = cut.hop_len(classifier.sample_rate)
        self._cutter = classifier.extractor(threads=1).cutter(cut, BATCH)
        self._n_samples = 0

    def push(self, samples: NDArray[np.float32]) -> Iterator[Segment]:
        """The labels of the clips that these samples [n] complete.

        Raises:
            DataError: a sample that is not finite, after the clips before it.
        """
        finite = np.isfinite(samples)
        n = len(samples) if finite.all() else int(np.argmin(finite))
        yield from self._heard(self._push(self._resampled(samples[:n])))
        self._n_samples += n
        if n < len(samples):
            bad = f"sample {self._n_samples} of the stream is {samples[n]}"
            raise DataError(f"{bad}: must be finite")

    def finish(self) -> Iterator[Segment]:
        """The labels of the remaining clips.

        Raises:
            DataError: the stream gave no clip.
        """
        if self._resampler is not None:
            yield from self._heard(self._push(self._resampler.finish()))
        try:
            yield from self._heard(self._cutter.finish())
        except DataError as error:
            raise DataError(f"the stream {error}") from None

    def _push(self, samples: NDArray[np.float32]) -> Iterator[Batch]:
        return push_in_batches(self._cutter, samples, self._hop_len)

    def _resampled(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return samples if self._resampler is None else self._resampler.push(samples)

    def _heard(self, batches: Iterable[Batch]) -> Iterator[Segment]:
        for starts, features in batches:
            p = self._classifier.network(features)
            task = TASKS[self._classifier.description.task]
            said = task.choose_labels(
                np.asarray(p, np.float64), self._classifier.classes_, self._threshold
            )
            for start, labels in zip(starts, said, strict=True):
                start_s = float(start) / self._classifier.sample_rate
                for label, probability in labels:
                    yield Segment(start_s, start_s + self._clip_s, label, probability)


def read_pcm(pipe: BinaryIO, sample_type: str, channels: int) -> Iterator[NDArray[np.float32]]:
    """Raw samples of a pipe as they come: float32 [n], the mean of the channels, which take turns.

    Raises DataError at the end of a stream that ends within a sample.
    """
    if sample_type not in SAMPLE_TYPES:
        raise ChoiceError("sample_type", sample_type, SAMPLE_TYPES)
    dtype, full_scale = SAMPLE_TYPES[sample_type]
    frame_len = np.dtype(dtype).itemsize * channels
    read = getattr(pipe, "read1", pipe.read)
    rest = b""
    while data := read(_READ_BYTES):
        data = rest + data
        whole = len(data) - len(data) % frame_len
        rest = data[whole:]
        frames = np.frombuffer(data[:whole], dtype).reshape(-1, channels)
        if full_scale == 1:
            yield frames.mean(axis=1, dtype=np.float32)
        else:
            yield (frames.mean(axis=1, dtype=np.float64) / full_scale).astype(np.float32)
    if rest:
        raise DataError(
            f"the stream ends within a sample: {len(rest)} of {frame_len} bytes "
            f"({channels} × {sample_type})"
        )


def read_microphone(sample_rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """Samples of the default microphone, as `read_pcm`, without end. Needs the extra `mic`."""
    import sounddevice

    try:
        with sounddevice.InputStream(sample_rate, channels=channels, dtype="float32") as stream:
            while True:
                frames, _ = stream.read(sample_rate // 20)
                yield frames.mean(axis=1, dtype=np.float32)
    except sounddevice.PortAudioError as error:
        raise OSError(f"microphone: {error}") from None
