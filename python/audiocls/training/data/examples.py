"""The clips of one part of a split: on the device, or read from the store as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocls.classifier.task import TASKS
from audiocls.data.grouping import find_groups
from audiocls.errors import DataError, SettingError
from audiocls.parallel import ahead
from audiocls.store.augmenter import Augmenter
from audiocls.store.computed import ComputedStore
from audiocls.training.data.splits import TEST, TRAIN, VAL, Split
from audiocls.training.runtime.device import Device
from audiocls.training.trial import Trial

if TYPE_CHECKING:
    from audiocls.store.store import Store

# Batches that are read ahead while the device computes.
AHEAD = 3


class TrainingBatch(NamedTuple):
    """Some clips, on the device."""

    x: Tensor  # features [batch, frames, features], in the store's precision
    y: Tensor  # int64 [batch], or of several labels bool [batch, n_classes]
    lengths: Tensor | None  # int64 [batch] on the CPU, where clips differ: frames before padding


class Examples:
    """The clips of one part of a split.

    Args:
        store: of the clips.
        clips: their numbers in the store, int64 [n_clips].
        device: where batches go.
        resident: whether the features lie on the device as one tensor. Otherwise a thread reads
            them from the memory-mapped store, a few batches ahead. Batches are the same.
        sources: the number of each clip's source, int64 [n_clips].
        augmenter: what makes the clips that train from the samples of a `ComputedStore`.
    """

    def __init__(
        self,
        store: Store,
        clips: NDArray[np.int64],
        device: Device,
        resident: bool = True,
        sources: NDArray[np.int64] | None = None,
        augmenter: Augmenter | None = None,
    ) -> None:
        self.store, self.clips, self.device = store, clips, device
        self.labels = TASKS[store.task].read_labels(store)[clips]
        self.recording = np.asarray(store.clip_recording)[clips]
        self.whole = np.asarray(store.clip_whole)[clips]
        self.lengths: NDArray[np.int64] | None = None
        if store.cut.clip_s <= 0:
            self.lengths = np.diff(store.features.offsets)[clips]
        self.sources = np.zeros(len(clips), np.int64) if sources is None else sources
        self.augmenter = augmenter
        self._y = torch.from_numpy(self.labels).to(device.torch)
        self._x = self._resident() if resident else None

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, ids: Tensor) -> TrainingBatch:
        """Returns the clips `ids`, int64 [batch] on the CPU, counted within this part."""
        return self._on_device(ids, None if self._x is not None else self._read(ids))

    def batches(self, many: Iterable[Tensor]) -> Iterator[TrainingBatch]:
        """Yields `batch` of each, read ahead if the clips are not on the device."""
        if self._x is not None:
            yield from map(self.batch, many)
        else:
            yield from self._ahead((ids, partial(self._read, ids)) for ids in many)

    def training_batches(
        self, order: Sequence[Tensor], epoch: int, following: Tensor | None = None
    ) -> Iterator[TrainingBatch]:
        """Yields this process's part of an epoch's batches, made anew if there is an augmenter.

        Args:
            order: the clips of each batch, int64 [batch].
            epoch: from 1.
            following: the clips that may follow each in a phrase, int64 [clips of the epoch, k].
        """
        if self.augmenter is None:
            yield from self.batches(map(self.device.take_share, order))
            return
        # A draw is known by its number in the epoch, whichever process makes it.
        ends = torch.cumsum(torch.tensor([len(ids) for ids in order]), 0)
        numbers = torch.arange(int(ends[-1])).tensor_split(ends[:-1])
        own = [map(self.device.take_share, pair) for pair in zip(order, numbers, strict=True)]
        yield from self._ahead(
            (ids, partial(self._augmented, ids, n, epoch, following)) for ids, n in own
        )

    def _ahead(
        self, many: Iterable[tuple[Tensor, Callable[[], NDArray[np.generic]]]]
    ) -> Iterator[TrainingBatch]:
        """Yields batches whose features a thread makes while the device computes."""
        made = ahead(lambda batch: (batch[0], batch[1]()), many, AHEAD)
        yield from (self._on_device(ids, rows) for ids, rows in made)

    def _augmented(
        self, ids: Tensor, numbers: Tensor, epoch: int, following: Tensor | None
    ) -> NDArray[np.generic]:
        assert self.augmenter is not None
        return self.augmenter.batch(
            self.store,
            self.clips[ids.numpy()],
            epoch,
            draws=numbers.numpy(),
            following=None if following is None else self.clips[following[numbers].numpy()],
        )

    def split_by_length(self, order: Tensor, batch_size: int, pool: int = 16) -> list[Tensor]:
        """Cuts an order into batches; if clips differ in length, those of a batch are alike.

        They are sorted within every `pool` batches, so that little is padded and the order stays
        random.
        """
        if self.lengths is None:
            return list(torch.split(order, batch_size))
        lengths = torch.from_numpy(self.lengths)
        sorted_ = [
            part[torch.argsort(lengths[part], stable=True)]
            for part in torch.split(order, pool * batch_size)
        ]
        return list(torch.split(torch.cat(sorted_), batch_size)) if sorted_ else []

    def _resident(self) -> Tensor:
        """Returns all clips as one tensor, [n, frames, features].

        If clips differ in length, it has their frames one after another, [total frames, features].
        """
        store, clips = self.store, self.clips
        if self.lengths is None:
            x = np.ascontiguousarray(store.features[clips])
        else:
            self._starts = torch.from_numpy(np.cumsum(self.lengths) - self.lengths)
            x = np.concatenate([store.features[int(clip)] for clip in clips])
        return self._narrowed(torch.from_numpy(x)).to(self.device.torch)

    def _narrowed(self, rows: Tensor) -> Tensor:
        """Returns rows as float16 if the network computes in bfloat16; float16 is finer."""
        if not self.device.bfloat16 or rows.dtype != torch.float32:
            return rows
        half = rows.half()
        return half if half.isfinite().all() else rows

    def _read(self, ids: Tensor) -> NDArray[np.generic]:
        """Returns the features of a batch from the store."""
        clips = self.clips[ids.numpy()]
        if self.lengths is None:
            return np.ascontiguousarray(self.store.features[clips])
        lengths = self.lengths[ids.numpy()]
        n_features = self.store.features.frames.shape[1]
        x = np.zeros((len(ids), int(lengths.max()), n_features), self.store.features.dtype)
        for row, clip, length in zip(x, clips, lengths, strict=True):
            row[:length] = self.store.features[int(clip)]
        return x

    def _on_device(self, ids: Tensor, rows: NDArray[np.generic] | None) -> TrainingBatch:
        device = self.device.torch
        here = ids.to(device)
        lengths = None if self.lengths is None else torch.from_numpy(self.lengths)[ids]
        if rows is not None:
            x = self._narrowed(torch.from_numpy(rows)).to(device)
        else:
            assert self._x is not None
            x = self._x[here] if lengths is None else self._gather(self._x, ids, lengths)
        return TrainingBatch(x, self._y[here], lengths)

    def _gather(self, frames: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Returns [batch, longest, features] of all frames, with zeros after a clip's end."""
        at = torch.arange(int(lengths.max()))
        inside = at < lengths[:, None]
        rows = torch.where(inside, self._starts[ids][:, None] + at, 0)
        return frames[rows.to(frames.device)] * inside[..., None].to(frames.device)


def count_feature_bytes(store: Store, clips: NDArray[np.int64]) -> int:
    """Returns the memory that the features of these clips take on a device."""
    if store.cut.clip_s <= 0:
        frames = int(np.diff(store.features.offsets)[clips].sum())
        cells = frames * store.features.frames.shape[1]
    else:
        cells = len(clips) * int(np.prod(store.features.shape[1:]))
    return int(cells * store.features.dtype.itemsize)


def split_examples(
    store: Store, split: Split, trial: Trial, device: Device, memory_gb: float | None = None
) -> dict[int, Examples]:
    """Returns the examples of the parts TRAIN, VAL and TEST.

    Args:
        store: of the clips.
        split: which recordings are in which part.
        trial: its recipe says what trains.
        device: where batches go.
        memory_gb: features that need more are read from the store as they are needed; by default
            half of the free memory of the device.

    Raises:
        DataError: a class has nothing to train on.
        SettingError: `memory_gb` is negative.
    """
    recipe = trial.recipe
    if memory_gb is not None and not memory_gb >= 0:
        raise SettingError("memory_gb", memory_gb, "must be >= 0")
    part = np.array([split.part.get(r.path, -1) for r in store.recordings], np.int64)
    part = part[np.asarray(store.clip_recording)]
    clips = {p: np.flatnonzero(part == p) for p in (TRAIN, VAL, TEST)}
    if recipe.clips_per_recording:
        recording = np.asarray(store.clip_recording)[clips[TRAIN]]
        clips[TRAIN] = clips[TRAIN][evenly_spaced(recording, recipe.clips_per_recording)]
    trained = store.classes_among(clips[TRAIN])
    if untrained := [c for c in store.classes if c not in trained]:
        raise DataError(f"no clip of class {', '.join(untrained)} in the training part")
    sources = number_sources(store, recipe.source)
    augmenter = None
    stored = clips
    if isinstance(store, ComputedStore):
        augmenter = store.augmenter(recipe.waveform, trial.seed)
        stored = {p: clips[p] for p in (VAL, TEST)}
    budget = device.free_bytes() / 2 if memory_gb is None else memory_gb * 1e9
    resident = count_feature_bytes(store, np.concatenate(list(stored.values()))) <= budget
    return {
        p: Examples(
            store,
            own,
            device,
            resident and p in stored,
            sources[own],
            augmenter if p == TRAIN else None,
        )
        for p, own in clips.items()
    }


def number_sources(store: Store, source: str | None) -> NDArray[np.int64]:
    """Returns the number of each clip's source, int64 [n_clips]; 0 if no source is asked for.

    Raises:
        SettingError: no class has two sources, or as `find_groups`.
        DataError: as `find_groups`.
    """
    if source is None:
        return np.zeros(len(store), np.int64)
    names = find_groups(store.recordings, source, "source")
    of_class = {(c, name) for own, name in zip(store.recording_labels, names, strict=True)
                for c in own}  # fmt: skip
    if len(of_class) == len({c for c, _ in of_class}):
        rule = "every class has one source only: there is nothing to draw equally"
        raise SettingError("source", source, rule)
    _, number = np.unique(names, return_inverse=True)
    return number.astype(np.int64)[np.asarray(store.clip_recording)]


def evenly_spaced(recording: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Returns which clips to keep so that a recording has at most `most`, bool [n_clips].

    They are the first, and the others evenly over the length of the recording.

    Args:
        recording: of each clip, int [n_clips]; the clips of a recording stand one after another.
        most: clips of a recording.
    """
    _, first, counts = np.unique(recording, return_index=True, return_counts=True)
    keep = np.zeros(len(recording), bool)
    for start, n in zip(first, counts, strict=True):
        kept = min(n, most)
        keep[start + np.round(np.arange(kept) * (n - 1) / max(kept - 1, 1)).astype(int)] = True
    return keep
