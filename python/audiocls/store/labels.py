"""What the clips of a store are labelled with, computed when it is asked for.

The task of a store is `one` label a clip, or `several` at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocls.data.recordings import split_label
from audiocls.errors import DataError, SettingError

if TYPE_CHECKING:
    from audiocls.store.store import Store

ONE, SEVERAL = TASKS = ("one", "several")


@dataclass(frozen=True)
class Labels:
    """The labels of the clips of a store."""

    path: Path  # of the store, for errors
    task: str
    classes: list[str]
    recordings: list[tuple[str, ...]]  # the labels of each recording, in the order of its cell
    clip_recording: NDArray[np.int64]  # [n_clips]

    @classmethod
    def of(cls, store: Store) -> Labels:
        """Of a store, as its store.json says how to read them."""
        separator = store.about.get("label_separator")
        cells = [split_label(r.label, separator) for r in store.recordings]
        return cls(store.path, store.task, store.classes, cells, store.clip_recording)

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """int64 [n_clips]: index of each clip's class. SettingError if clips have several."""
        if self.task != ONE:
            rule = "has several labels a clip, not one: see `label_matrix`"
            raise SettingError("store", str(self.path), rule)
        number = self._number
        of_recording = np.array([number.get(names[0], -1) for names in self.recordings], np.int64)
        index: NDArray[np.int64] = of_recording[self.clip_recording]
        if index.size and index.min() < 0:
            self._refuse(self.recordings[self.clip_recording[index.argmin()]][0])
        return index

    @cached_property
    def matrix(self) -> NDArray[np.bool_]:
        """bool [n_clips, n_classes]: which labels each clip has."""
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
