"""The shards of a store, read as one array."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import DataError
from audiocls.store.format import REMEDY, load_array

# An open shard keeps a file descriptor; systems allow as few as 256.
_OPEN_SHARDS = 64


class Rows:
    """The rows of all shards as one read-only array [n, …].

    A shard is mapped into memory when a row of it is first asked for. An index is an int, a slice,
    an int array or a bool mask, and further indices after it, as in numpy.
    """

    def __init__(
        self, files: list[Path], n_rows: list[int], row_shape: tuple[int, ...], dtype: str
    ) -> None:
        self._files, self._n_rows = files, n_rows
        self._ends = np.cumsum([0, *n_rows])
        self.shape = (int(self._ends[-1]), *row_shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._open = lru_cache(maxsize=_OPEN_SHARDS)(self._map)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape} {self.dtype} in {len(self._files)} shards>"

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the rows lie in several files: they must be copied")
        rows = self.numpy()
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def numpy(self) -> NDArray[Any]:
        """All rows in memory."""
        return self._span(0, len(self))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        if isinstance(index, tuple):
            first, *rest = index
            rows = self[first]
            keep = () if isinstance(first, (int, np.integer)) else (slice(None),)
            taken: NDArray[Any] = rows[(*keep, *rest)]
            return taken
        if isinstance(index, (int, np.integer)):
            i = int(index) + len(self) * (index < 0)
            if not 0 <= i < len(self):
                raise IndexError(f"index {index} is out of range for {len(self)} rows")
            shard = int(np.searchsorted(self._ends, i, side="right")) - 1
            return np.array(self._open(shard)[i - self._ends[shard]])
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._span(start, max(start, stop))
            return self._gather(np.arange(start, stop, step))
        ids = np.asarray(index)
        if ids.dtype == np.bool_:
            if ids.shape != (len(self),):
                raise IndexError(f"a mask of shape {ids.shape} does not fit {len(self)} rows")
            ids = np.flatnonzero(ids)
        if ids.size == 0:
            ids = ids.astype(np.int64)
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise IndexError("rows are taken by int, slice, int array [n] or bool mask [n]")
        ids = np.where(ids < 0, ids + len(self), ids)
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise IndexError(f"an index is out of range for {len(self)} rows")
        return self._gather(ids)

    def shards_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The shards that hold some rows, ascending, and for each row which of these."""
        shards, number = np.unique(
            np.searchsorted(self._ends, rows, side="right") - 1, return_inverse=True
        )
        return shards, number.astype(np.int64)

    def begin(self, shard: int) -> int:
        """The first row of a shard."""
        return int(self._ends[shard])

    def shard(self, number: int) -> NDArray[Any]:
        """The rows of a shard, memory-mapped."""
        return self._open(number)

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for shard, n in enumerate(self._n_rows):
            lo, hi = max(start - self._ends[shard], 0), min(stop - self._ends[shard], n)
            if lo < hi:
                at = self._ends[shard] + lo - start
                out[at : at + hi - lo] = self._open(shard)[lo:hi]
        return out

    def _gather(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(ids), *self.shape[1:]), self.dtype)
        shards = np.searchsorted(self._ends, ids, side="right") - 1
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            out[here] = self._open(int(shard))[ids[here] - self._ends[shard]]
        return out

    def _map(self, shard: int) -> NDArray[Any]:
        rows = load_array(self._files[shard])
        expected = (self._n_rows[shard], *self.shape[1:])
        if rows.shape != expected or rows.dtype != self.dtype:
            raise DataError(
                f"{self._files[shard]}: holds {rows.dtype} {rows.shape}, "
                f"store.json says {self.dtype} {expected}; {REMEDY}"
            )
        return rows


class Clips:
    """Clips of different lengths.

    `clips[i]` is [frames of clip i, features]; slices and arrays of indices give lists. `frames`
    holds all frames [total, features]; `offsets`, int64 [n + 1], says where each clip starts in
    them.
    """

    def __init__(self, frames: Rows, offsets: NDArray[np.int64]) -> None:
        self.frames, self.offsets = frames, offsets
        self.dtype = frames.dtype

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            i = int(index) + len(self) * (index < 0)
            if not 0 <= i < len(self):
                raise IndexError(f"index {index} is out of range for {len(self)} clips")
            return self.frames[int(self.offsets[i]) : int(self.offsets[i + 1])]
        return [self[int(i)] for i in np.arange(len(self))[index]]

    def numpy(self) -> NDArray[Any]:
        """All frames in memory, [total frames, features]; `offsets` cuts them into clips."""
        return self.frames.numpy()
