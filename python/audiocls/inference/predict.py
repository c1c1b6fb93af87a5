"""A saved model in use: recordings in, labels and probabilities out; without torch."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocls.classifier.description import Description, model_folder, read_description
from audiocls.classifier.task import TASKS, Limit
from audiocls.engine.audio import read_blocks, resample
from audiocls.engine.cut import Cut
from audiocls.engine.dataset import Cutter, clip_shape
from audiocls.engine.features import Extractor
from audiocls.engine.level import SILENCE_DB
from audiocls.errors import DataError, SettingError
from audiocls.inference.hearing import Answer, Batch, ClipStream, Heard, Listener
from audiocls.inference.network import Compute, NetworkRunner, load_network
from audiocls.inference.prediction import PREDICTIONS, Limits, Prediction, Setting
from audiocls.inference.prediction import Segment as Segment
from audiocls.parallel import count_usable_cores

# A path, the bytes of a file, an open file, or float or int16 samples [n] at the model's rate.
Source = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any]
# Clips whose features are computed, and given to the network, at once.
BATCH = 64


@dataclass(frozen=True)
class Embedding:
    """One recording as numbers: the input of the network's last layer."""

    clips: NDArray[np.float32]  # [n_clips, size]
    starts_s: NDArray[np.float64]  # where they start, [n_clips]
    counts: NDArray[np.bool_]  # which of them count, [n_clips]

    @property
    def whole(self) -> NDArray[np.float32]:
        """[size]: the mean over the clips that count."""
        mean: NDArray[np.float32] = self.clips[self.counts].mean(axis=0)
        return mean


class Classifier:
    """A saved model; any number of threads may use one at once.

    It runs on onnxruntime, and on torch only if the model folder has no network.onnx. Training
    works on `audiocls.classifier.model.Model`, a torch module.
    """

    def __init__(
        self, path: str | os.PathLike[str], description: Description, network: NetworkRunner
    ) -> None:
        self.path, self.description, self.network = Path(path), description, network
        self._cut = self.cut()

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int | None = None) -> Classifier:
        """Reads a model: a run folder, its `model/` folder, or `orchestra`, the model in the box.

        threads: most cores that the network may use; None: all that this process may use.

        Raises:
            DataError: there is no model, or it is damaged or of a newer format.
        """
        folder = model_folder(os.fspath(path))
        description = read_description(folder)
        return cls(folder, description, load_network(folder, description, threads))

    def __reduce__(self) -> tuple[Callable[..., Classifier], tuple[Any, ...]]:
        return Classifier.load, (self.path,)

    def __repr__(self) -> str:
        name = self.description.architecture
        return f"<Classifier {self.path}: {name}, {len(self.classes_)} classes>"

    @property
    def classes_(self) -> list[str]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self.description.classes

    @property
    def sample_rate(self) -> int:
        """Samples a second of the arrays it takes, in Hz; files may have any rate."""
        return self.description.spec.sample_rate

    @property
    def threshold(self) -> Limit:
        """The certainty below which its answer is `unknown`, as calibrated; None: it has none.

        Certainty is the probability of the best class. If a class `unknown` trained, it is that of
        all
        other classes together. Of several labels it is [n_classes]: the probability from which on
        the model
        gives each.
        """
        return TASKS[self.description.task].limit(self.description)

    def limits(
        self, threshold: Setting = None, smooth_s: float = 0.0, least_s: Setting = None
    ) -> Limits:
        """The limits of an answer, checked.

        Args:
            threshold: for all classes, or {class: threshold}; None: the model's own.
            smooth_s: of several labels, the span of a median over the probabilities, in seconds.
            least_s: of several labels, the shortest segment in seconds, for all classes or {class:
                seconds}.

        Raises:
            SettingError: a value that cannot be, or a class that the model does not know.
        """
        return Limits.of(self.description, threshold, smooth_s, least_s)

    def predict_proba(self, sources: Iterable[Source]) -> NDArray[np.float64]:
        """Probabilities of recordings, [n, n_classes], a row a recording.

        Args:
            sources: paths, bytes of files, files open for reading bytes, and arrays [samples] at
                `sample_rate`: float, or int16.

        Raises:
            OSError: a file that cannot be decoded.
            DataError: a recording that gives no clip; the message names it.
            SettingError: an array of another shape or type, or with a NaN.
        """
        rows = [prediction.answer for prediction in self._all(sources)]
        return np.array(rows).reshape(-1, len(self.classes_))

    def predict(self, sources: Iterable[Source]) -> list[Any]:
        """The label of each recording, `unknown` below `threshold`.

        A model of several labels gives a list of them for each. Raises as `predict_proba`.
        """
        limits = self.limits()
        labels = [[name for name, _ in found.labels(limits)] for found in self._all(sources)]
        return labels if self.description.task == "several" else [own[0] for own in labels]

    def predict_array(self, y: ArrayLike, sample_rate: int) -> Any:
        """The label, or labels, of samples [n] at any rate in Hz; raises as `predict_proba`."""
        samples = np.asarray(y)
        if sample_rate != self.sample_rate:
            if samples.dtype == np.int16:
                samples = samples / np.float32(32768)
            samples = resample(samples, sample_rate, self.sample_rate)
        return self.predict([samples])[0]

    def timeline(self, source: Source, hop_s: float | None = None) -> list[Segment]:
        """What is heard when: segments from start to end.

        Clips start every `hop_s` seconds, by default as in training; neighbours with the same label
        are
        merged. Below `threshold` the label is `unknown`. Segments of several labels may overlap.
        Raises as
        `predict_proba`.
        """
        (prediction,) = self._all([source], hop_s)
        return prediction.segments(self.limits())

    def _all(self, sources: Iterable[Source], hop_s: float | None = None) -> Iterator[Prediction]:
        """The prediction of each recording; raises what is wrong with one."""
        for prediction in self.recordings(_sources(sources), hop_s):
            if isinstance(prediction, Exception):
                raise prediction
            yield prediction

    def recordings(
        self, sources: Sequence[Source], hop_s: float | None = None, threads: int | None = None
    ) -> Iterator[Prediction | Exception]:
        """The prediction of each recording, in order, or the error it met.

        The error is an OSError, DataError or SettingError. Several recordings are in work at a
        time, each in pieces: memory does not grow with their length.

        Raises:
            SettingError: an impossible `hop_s`.
        """
        cut = self._cut if hop_s is None else self.cut(hop_s)
        clip_s = cut.clip_len(self.sample_rate) / self.sample_rate
        cut_hop_s = cut.hop_len(self.sample_rate) / self.sample_rate

        def predict(heard: Heard) -> Prediction:
            return PREDICTIONS[self.description.task](
                classes=self.classes_,
                probabilities=heard.rows,
                starts_s=heard.starts / self.sample_rate,
                duration_s=heard.n_samples / self.sample_rate,
                clip_s=clip_s,
                hop_s=cut_hop_s,
                counts=self._counting(heard.levels),
                silent=heard.level_db < SILENCE_DB,
            )

        return self._each(sources, cut, threads, self.network, predict)

    def embed(self, sources: Iterable[Source], clips: bool = False) -> NDArray[np.float32]:
        """Recordings as numbers, [n, size]: the input of the network's last layer.

        Similar sounds have similar rows. A row is the mean over the clips that count in a
        recording's
        answer, or with `clips` one clip. Takes and raises as `predict_proba`; also DataError for a
        model of
        an earlier version, which has no embeddings without torch.
        """
        rows = []
        for found in self.embeddings(_sources(sources)):
            if isinstance(found, Exception):
                raise found
            rows.append(found.clips if clips else found.whole[np.newaxis])
        if not rows:
            raise SettingError("sources", "[]", "must hold a recording")
        return np.concatenate(rows)

    def embeddings(
        self, sources: Sequence[Source], threads: int | None = None
    ) -> Iterator[Embedding | Exception]:
        """The embedding of each recording, in order; or why there is none, as `recordings`."""

        def embed(heard: Heard) -> Embedding:
            counts = self._counting(heard.levels)
            return Embedding(heard.rows.astype(np.float32), heard.starts / self.sample_rate, counts)

        return self._each(sources, self._cut, threads, self.network.embedder(), embed)

    def _each(
        self,
        sources: Sequence[Source],
        cut: Cut,
        threads: int | None,
        compute: Compute,
        answer: Callable[[Heard], Answer],
    ) -> Iterator[Answer | Exception]:
        """Applies `answer` to what is computed of each recording, or says why it cannot."""
        threads = threads or count_usable_cores()
        # One recording alone has the cores for its features.
        extractor = self.extractor(max(1, threads // max(len(sources), 1)))
        rate, stop = self.sample_rate, threading.Event()
        clip_len, hop_len = cut.clip_len(rate), cut.hop_len(rate)
        # Samples worth pushing at once.
        block_len = max(clip_len, BATCH * hop_len) if clip_len else 1 << 18

        def clips(source: Source) -> ClipStream:
            cutter, energy = extractor.cutter(cut, BATCH), [0.0]

            def pieces() -> Iterator[NDArray[np.float32]]:
                for piece in _pieces(source, rate, block_len, stop):
                    energy[0] += float(np.dot(piece, piece))
                    yield piece

            def extent() -> tuple[int, float]:
                power = energy[0] / max(cutter.n_samples, 1)
                return cutter.n_samples, 10 * math.log10(max(power, 1e-20))

            return ClipStream(_batches(cutter, pieces(), hop_len), extent)

        return Listener(clips, compute, self.description.measure_levels, answer).listen(
            sources, threads, stop
        )

    def cut(self, hop_s: float | None = None) -> Cut:
        """How it cuts recordings: as the training data, with another hop if one is given.

        Raises:
            SettingError: an impossible hop.
            DataError: the clips do not fit the network.
        """
        spec, own = self.description.spec, self.description.cut
        frames, features = self.description.input_shape
        taken = [features] if frames is None else [frames, features]
        try:
            if (shape := clip_shape(spec.to_json(), own.to_json(), "float32")) != taken:
                raise ValueError(f"clips give {shape}, the network takes {taken}")
            if own.clip_s > 1000 * own.hop_s:
                raise ValueError(f"hop_s {own.hop_s} must be at least a thousandth of clip_s")
        except ValueError as error:
            raise DataError(f"model.json contradicts itself: {error}") from None
        if hop_s is None:
            return own
        if own.clip_s == 0:
            rule = "the model takes whole recordings, so there are no clips to start"
            raise SettingError("hop_s", hop_s, rule)
        cut = own.replace(hop_s=hop_s)
        cut.hop_len(self.sample_rate)  # It has a sample.
        return cut

    def extractor(self, threads: int) -> Extractor:
        """What makes the model's features."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty filters: said when it was trained
            return Extractor(self.description.spec, threads=threads)

    def _counting(self, levels: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which clips of one recording count in its answer, by their levels in dB."""
        return self.description.counting_clips(levels, np.zeros(len(levels), np.int64))


def _sources(sources: Iterable[Source]) -> list[Source]:
    if isinstance(sources, (str, bytes, os.PathLike)):
        raise SettingError("sources", str(sources), "must be a list of recordings, not one")
    return list(sources)


def push_in_batches(cutter: Cutter, samples: NDArray[np.float32], hop_len: int) -> Iterator[Batch]:
    """Pushes samples and yields the clips that they complete, a batch at a time.

    If clips overlap, their features take many times the memory of the samples.
    """
    step = BATCH * hop_len
    for start in range(0, len(samples), step):
        yield from cutter.push(samples[start : start + step])


def _batches(
    cutter: Cutter, pieces: Iterator[NDArray[np.float32]], hop_len: int
) -> Iterator[Batch]:
    for piece in pieces:
        yield from push_in_batches(cutter, piece, hop_len)
    yield from cutter.finish()


def _pieces(
    source: Source, rate: int, n_samples: int, stop: threading.Event
) -> Iterator[NDArray[np.float32]]:
    """The samples of a recording, in pieces, until `stop` is set."""
    for piece in _samples(source, rate, n_samples, stop):
        if stop.is_set():
            raise DataError("interrupted")
        yield piece


def _samples(
    source: Source, rate: int, n_samples: int, stop: threading.Event
) -> Iterator[NDArray[np.float32]]:
    if not isinstance(source, (str, bytes, os.PathLike)) and hasattr(source, "read"):
        source = source.read()
        if not isinstance(source, bytes):
            raise SettingError("sources", type(source).__name__, "a file must be open as bytes: rb")
    if isinstance(source, (str, bytes, os.PathLike)):
        yield from read_blocks(source, rate, n_samples, stop)
        return
    samples = np.asarray(source)
    if samples.ndim != 1:
        raise SettingError("samples", list(samples.shape), "must have the shape [n]: one channel")
    if samples.dtype == np.int16:
        samples = samples / np.float32(32768)
    if samples.dtype.kind != "f":
        rule = "must be float, or int16 (which is divided by 32768)"
        raise SettingError("samples", str(samples.dtype), rule)
    for start in range(0, len(samples), n_samples):
        piece = samples[start : start + n_samples]
        with np.errstate(over="ignore"):
            piece = np.ascontiguousarray(piece, np.float32)
        yield piece  # not inside: whoever ends this may be another thread
