"""What the clips of a store are labelled with, computed when it is asked for.

The task of a store is `one` label a clip, or `several` at once. Of recordings with labelled
stretches, events, the labels of a clip follow from where it starts: `Coverage` is the only rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.data.annotations import Event
from audiocls.data.labelling import Labelling
from audiocls.data.recordings import Recording
from audiocls.engine.cut import Cut
from audiocls.errors import DataError, SettingError
from audiocls.store.format import VERSION

if TYPE_CHECKING:
    from audiocls.store.store import Store

ONE, SEVERAL = TASKS = ("one", "several")


# One past the last sample at which a clip may start, if nothing else ends it.
_NO_END = 1 << 62
# Times in tables are decimal: a millionth of a sample decides nothing.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Coverage:
    """Which clips have the label of an event.

    A clip has it if the two share at least `min_overlap` of the clip or of the event, whichever is
    shorter. opensoundscape (`min_label_fraction`) has the same rule: a call within a clip labels
    it, and so does half a clip of a long call.
    """

    clip_len: int  # samples; 0: a clip is all of a recording
    hop_len: int
    sample_rate: int
    min_overlap: float
    background: str | None = None  # the label of clips without any

    def starts(self, event: Event) -> tuple[int, int]:
        """First sample at which a clip starts that has the label, and one past the last.

        They are equal if there is none.
        """
        if self.clip_len == 0:
            return 0, 1
        clip_s = self.clip_len / self.sample_rate
        shared = self.min_overlap * min(clip_s, event.end_s - event.start_s)
        first = (event.start_s + shared - clip_s) * self.sample_rate
        start = max(0, math.ceil(first - _ROUNDING))
        if math.isinf(event.end_s):
            return start, _NO_END
        last = math.floor((event.end_s - shared) * self.sample_rate + _ROUNDING)
        return start, max(start, last + 1)

    def wanted(self, events: Iterable[Event]) -> list[tuple[int, int]] | None:
        """Where clips start that have a label: ranges of samples in order, apart from each other.

        None stands for everywhere.
        """
        if self.background is not None:
            return None
        merged: list[tuple[int, int]] = []
        for start, end in sorted(map(self.starts, events)):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], end)
            elif start < end:
                merged.append((start, end))
        return merged

    def several(self, events: Iterable[Event]) -> bool:
        """Whether a clip of the grid may have several labels."""
        hop = self.hop_len if self.clip_len else 1
        open_: list[tuple[int, str]] = []  # ends and labels of ranges that have begun
        for (start, end), label in sorted((self.starts(e), e.label) for e in events):
            open_ = [(other_end, other) for other_end, other in open_ if other_end > start]
            at = -(-start // hop) * hop
            if any(other != label and at < min(end, other_end) for other_end, other in open_):
                return True
            open_.append((end, label))
        return False

    def matrix(
        self,
        recordings: Sequence[Recording],
        clips: NDArray[np.int64],
        classes: Sequence[str],
    ) -> NDArray[np.bool_]:
        """The labels of clips, bool [n_clips, n_classes].

        Args:
            recordings: by id.
            clips: int64 [n_clips, 2], recording and first sample, in the order of the recordings.
            classes: the columns.
        """
        number = {name: i for i, name in enumerate(classes)}
        matrix = np.zeros((len(clips), len(classes)), np.bool_)
        ends = np.searchsorted(clips[:, 0], np.arange(len(recordings) + 1))
        for i in np.unique(clips[:, 0]).tolist():
            own = slice(int(ends[i]), int(ends[i + 1]))
            begins = clips[own, 1]
            for event in recordings[i].events or ():
                if (column := number.get(event.label)) is not None:
                    start, end = self.starts(event)
                    matrix[own, column] |= (begins >= start) & (begins < end)
        if self.background in number:
            matrix[~matrix.any(axis=1), number[self.background]] = True
        return matrix

    def runs(self, labels: NDArray[np.int64], clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the run of clips that each is in, int64 [n_clips].

        A run holds clips of one recording, one after another, with the same label.

        Args:
            labels: int64 [n_clips].
            clips: as in `matrix`.
        """
        changes = (np.diff(labels) != 0) | (np.diff(clips[:, 0]) != 0)
        changes |= np.diff(clips[:, 1]) != self.hop_len
        return np.concatenate([np.zeros(min(len(labels), 1), np.int64), np.cumsum(changes)])

    def span(self, events: Iterable[Event], start: int) -> tuple[int, int]:
        """The stretch around a clip in which every clip has its labels.

        Returns:
            First sample, and one past the last.
        """
        edges = {0, _NO_END}.union(*map(self.starts, events))
        first = max(edge for edge in edges if edge <= start)
        return first, min(edge for edge in edges if edge > start) - 1 + self.clip_len


def parse_coverage(about: Mapping[str, Any]) -> Coverage | None:
    """Of what store.json says; None if recordings are labelled as a whole."""
    if about.get("min_overlap") is None:
        return None
    rate = about["spec"]["sample_rate"]
    cut = Cut(clip_s=about["clip_s"], hop_s=about["hop_s"])
    lengths = cut.clip_len(rate), cut.hop_len(rate)
    return Coverage(*lengths, rate, about["min_overlap"], about.get("background"))


def describe_labels(
    about: Mapping[str, Any], labelling: Labelling, recordings: Sequence[Recording]
) -> dict[str, Any]:
    """What store.json says of labels, if recordings have more than one each.

    Raises:
        SettingError: a background for recordings that have no stretches.
    """
    if not any(r.events is not None for r in recordings):
        if labelling.background is not None:
            rule = "is for labelled stretches; these recordings have none"
            raise SettingError("background", labelling.background, rule)
        if labelling.label_separator is None:
            return {}
        separator = {"task": SEVERAL, "label_separator": labelling.label_separator}
        return {"version": VERSION, **separator}
    coverage = parse_coverage({**about, **labelling.events})
    assert coverage is not None
    several = any(coverage.several(r.events or ()) for r in recordings)
    return {"version": VERSION, "task": SEVERAL if several else ONE, **labelling.events}


@dataclass(frozen=True)
class Labels:
    """The labels of the clips of a store."""

    path: Path  # of the store, for errors
    task: str
    classes: list[str]
    recordings: list[tuple[str, ...]]  # the labels of each recording
    clip_recording: NDArray[np.int64]  # [n_clips]
    of_events: NDArray[np.bool_] | None = None  # [n_clips, n_classes], of clips of stretches

    @classmethod
    def of(cls, store: Store) -> Labels:
        """Of a store, as its store.json says how to read them."""
        about, recordings = (store.path, store.task, store.classes), store.recordings
        owner = store.clip_recording
        if (coverage := store.coverage) is None:
            separator = store.about.get("label_separator")
            return cls(*about, [r.labels(separator) for r in recordings], owner)
        clips = np.stack([owner, store.clip_start], axis=1)
        matrix = coverage.matrix(recordings, clips, store.classes)
        if not matrix.any(axis=1).all():
            raise DataError(f"{store.path}: clips of it have no label: events.csv is another")
        has = np.zeros((len(recordings), len(store.classes)), np.bool_)
        np.logical_or.at(has, owner, matrix)
        labels = [tuple(store.classes[c] for c in np.flatnonzero(row)) for row in has]
        return cls(*about, labels, owner, matrix)

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """int64 [n_clips]: index of each clip's class. SettingError if clips have several."""
        if self.task != ONE:
            rule = "has several labels a clip, not one: see `label_matrix`"
            raise SettingError("store", str(self.path), rule)
        if self.of_events is not None:
            first: NDArray[np.int64] = self.of_events.argmax(axis=1)
            return first
        number = self._number
        of_recording = np.array([number.get(names[0], -1) for names in self.recordings], np.int64)
        index: NDArray[np.int64] = of_recording[self.clip_recording]
        if index.size and index.min() < 0:
            self._refuse(self.recordings[self.clip_recording[index.argmin()]][0])
        return index

    @cached_property
    def matrix(self) -> NDArray[np.bool_]:
        """Which labels each clip has, bool [n_clips, n_classes]."""
        if self.of_events is not None:
            return self.of_events
        number = self._number
        of_recording = np.zeros((len(self.recordings), len(self.classes)), np.bool_)
        used = np.zeros(len(self.recordings), np.bool_)
        used[self.clip_recording] = True
        for i in np.flatnonzero(used):
            for name in self.recordings[i]:
                if name not in number:
                    self._refuse(name)
                of_recording[i, number[name]] = True
        matrix: NDArray[np.bool_] = of_recording[self.clip_recording]
        return matrix

    def numbers_among(self, clips: NDArray[np.int64]) -> list[int]:
        """The numbers of the classes that some clips have."""
        if self.task == ONE:
            return [int(i) for i in np.unique(self.index[clips])]  # smaller than the matrix
        return [int(i) for i in np.flatnonzero(self.matrix[clips].any(axis=0))]

    @property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    def _refuse(self, label: str) -> None:
        raise DataError(f"{self.path / 'store.json'}: its classes lack {label!r}")
