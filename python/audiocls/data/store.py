"""A feature store on disk, read as one array. docs/store.md describes the format."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls import _native
from audiocls.data.recordings import Recording, read_recordings
from audiocls.errors import DataError, SettingError
from audiocls.files import read_json
from audiocls.parallel import for_each
from audiocls.schema import Rule, at_least, one_of, optional, validate
from audiocls.spec import FeatureSpec

if TYPE_CHECKING:
    import torch

FORMAT = "audiocls-store"
VERSION = 2  # 1, without checksums, is read as well

_FILE = {"bytes": at_least(0), "xxh128": str}
# What the last line of a shard's recordings.jsonl says; store.json adds that file itself.
SHARD_FILES = {"npy": _FILE, "clips.npy": _FILE, "offsets.npy": optional(_FILE)}
# unfinished.json, and how store.json begins.
_ABOUT = {
    "format": one_of(FORMAT),
    "version": Rule(int, f"this program reads 1 to {VERSION}; extract with --restart",
                    lambda version: 1 <= version <= VERSION),
    "engine": str,
    "feature": str,
    "spec": {str: object},
    "clip_s": at_least(0, float),
    "hop_s": Rule(float, "must be > 0", lambda s: s > 0),
    "short": str,
    "min_rms": float,
    "dtype": one_of("float32", "float16", "int16"),
    "data": str,
}  # fmt: skip
UNFINISHED = tuple(_ABOUT)
_STORE = {
    **_ABOUT,
    "classes": Rule([str], "must differ", lambda names: len(set(names)) == len(names)),
    "counts": {
        name: at_least(0)
        for name in ("recordings", "ok", "skipped", "failed", "clips", "silent_clips")
    },
    "shape": Rule([at_least(0)], "must be [clips, frames, features] or [frames, features]",
                  lambda shape: len(shape) in (2, 3) and all(shape[1:])),
    "shards": [{"clips": at_least(0), "rows": at_least(0),
                "files": optional({**SHARD_FILES, "recordings.jsonl": _FILE})}],
    "files": optional({"recordings.csv": _FILE}),
}  # fmt: skip
# Which of how many parts of a store, and what tells whether the others are of the same data.
_PART = {
    **_STORE,
    "part": {"number": at_least(1), "of": at_least(1), "first_shard": at_least(0), "listing": str},
}
_SHAPES = {"store.json": _STORE, "part.json": _PART, "unfinished.json": _ABOUT}

_AGAIN = "the same `audiocls extract` makes it again"

# An open shard keeps a file descriptor; systems allow as few as 256.
_OPEN_SHARDS = 64


class Rows:
    """The rows of all shards as one read-only array [n, …]; a shard is mapped into memory when a
    row of it is first asked for.

    Takes an int, a slice, an int array or a bool mask, and further indices after it, as numpy does.
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
        rows = _load(self._files[shard])
        expected = (self._n_rows[shard], *self.shape[1:])
        if rows.shape != expected or rows.dtype != self.dtype:
            raise DataError(
                f"{self._files[shard]}: holds {rows.dtype} {rows.shape}, "
                f"store.json says {self.dtype} {expected}; {_AGAIN}"
            )
        return rows


class Clips:
    """Clips of different lengths: `clips[i]` is [frames of clip i, features]; slices and arrays of
    indices give lists. `frames` holds all frames [total, features], `offsets` int64 [n + 1] where
    each clip starts in them."""

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


class Store:
    """The features of a data set, and what is known of its recordings; see `open_store`.

    Also a map-style PyTorch dataset: `store[i]` is (features, class index).
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.about = about  # store.json
        self.spec = FeatureSpec.from_dict(about["spec"])
        self.feature: str = about["feature"]
        self.clip_s: float = about["clip_s"]  # 0: every recording is one clip of its own length
        self.hop_s: float = about["hop_s"]
        self.classes: list[str] = about["classes"]
        self.counts: dict[str, int] = about["counts"]

    def __repr__(self) -> str:
        return (
            f"<Store {self.path}: {self.feature}, {len(self)} clips, {len(self.classes)} classes>"
        )

    def __reduce__(self) -> Any:
        # A process that unpickles a store maps the files itself, instead of getting their contents.
        return Store, (self.path, self.about)

    @cached_property
    def features(self) -> Any:
        """Array-like [n_clips, frames, features] over memory-mapped shards (`Rows`), or `Clips` if
        the clips differ in length."""
        shards, shape = self.about["shards"], tuple(self.about["shape"])
        files = [self._file(number, "npy") for number in range(len(shards))]
        rows = Rows(files, [s["rows"] for s in shards], shape[1:], self.about["dtype"])
        if self.clip_s > 0:
            return rows
        starts = np.cumsum([0, *(s["rows"] for s in shards)])[:-1]
        offsets = [
            self._index(number, "offsets.npy", (shards[number]["clips"] + 1,))[:-1] + start
            for number, start in enumerate(starts)
        ]
        return Clips(rows, np.concatenate([*offsets, np.array([len(rows)], np.int64)]))

    def samples(self, clips: NDArray[np.int64]) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """Where the samples of some clips lie, for a store of kind samples: memory-mapped arrays
        [samples], and for each clip int64 [3]: which of them, first sample, one past the last.

        Raises SettingError if the store holds features.
        """
        if self.spec.kind != "samples":
            rule = f"holds {self.feature}; extract with `feature` samples"
            raise SettingError("store", str(self.path), rule)
        rows, ids = self.features, np.asarray(clips, np.int64)
        if isinstance(rows, Clips):
            starts, stops = rows.offsets[ids], rows.offsets[ids + 1]
            rows = rows.frames
        else:
            # Rows are clips, and samples lie flat behind one another in a shard.
            starts, stops = ids, ids + 1
        length = rows.shape[1] if rows.ndim == 3 else 1
        shards, number = rows.shards_of(starts)
        first = np.array([rows.begin(shard) for shard in shards], np.int64)[number]
        spans = np.stack([number, (starts - first) * length, (stops - first) * length], axis=1)
        return [rows.shard(int(shard)).reshape(-1) for shard in shards], spans

    @cached_property
    def recordings(self) -> list[Recording]:
        """All recordings, those that failed among them; a recording's id is its index here."""
        recordings = read_recordings(self.path / "recordings.csv")
        if [r.id for r in recordings] != list(range(self.counts["recordings"])):
            n = self.counts["recordings"]
            raise DataError(f"{self.path / 'recordings.csv'}: its ids are not 0 to {n - 1}")
        return recordings

    @cached_property
    def _clips(self) -> NDArray[np.int64]:
        index = [
            self._index(number, "clips.npy", (shard["clips"], 2))
            for number, shard in enumerate(self.about["shards"])
        ]
        return np.concatenate([np.empty((0, 2), np.int64), *index])

    @property
    def clip_recording(self) -> NDArray[np.int64]:
        """int64 [n_clips]: index of each clip's recording."""
        return self._clips[:, 0]

    @property
    def clip_start_s(self) -> NDArray[np.float64]:
        """float64 [n_clips]: where in its recording each clip starts, in seconds."""
        return self._clips[:, 1] / self.spec.sample_rate

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """int64 [n_clips]: index of each clip's class in `classes`."""
        number = {name: i for i, name in enumerate(self.classes)}
        of_recording = np.array([number.get(r.label, -1) for r in self.recordings], np.int64)
        labels: NDArray[np.int64] = of_recording[self.clip_recording]
        if labels.size and labels.min() < 0:
            label = self.recordings[self.clip_recording[labels.argmin()]].label
            raise DataError(f"{self.path / 'store.json'}: its classes lack {label!r}")
        return labels

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """str [n_clips]: the group of each clip's recording."""
        return np.array([r.group for r in self.recordings], np.str_)[self.clip_recording]

    @property
    def clip_shape(self) -> tuple[int | None, int]:
        """(frames, features) of a clip; frames None where clips differ in length."""
        *frames, features = self.about["shape"][1:]
        return (frames[0] if frames else None), features

    @cached_property
    def identity(self) -> str:
        """SHA-256 over what the store holds: spec, clip and hop, recordings with label and
        clips."""
        content = [
            self.spec.to_dict(),
            [self.clip_s, self.hop_s],
            [[r.path, r.label, r.n_clips] for r in self.recordings],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def numpy(self) -> NDArray[Any]:
        """All features in memory: [n_clips, frames, features]; of clips that differ in length all
        frames [total frames, features]."""
        rows: NDArray[Any] = self.features.numpy()
        return rows

    def tensor(self) -> torch.Tensor:
        """`numpy()` as a torch tensor that shares its memory."""
        import torch

        return torch.from_numpy(self.numpy())

    def __len__(self) -> int:
        return self.counts["clips"]

    def __getitem__(self, i: int) -> tuple[NDArray[Any], int]:
        return self.features[i], int(self.labels[i])

    def _file(self, shard: int, kind: str) -> Path:
        return shard_file(self.path, shard, kind)

    def _index(self, shard: int, kind: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """clips.npy or offsets.npy of a shard, once it is clear that it points at what is there."""
        file = self._file(shard, kind)
        index = _load(file)
        if index.shape != shape or index.dtype != np.int64:
            rule = f"must be int64 {shape}"
            raise DataError(f"{file}: holds {index.dtype} {index.shape}: {rule}; {_AGAIN}")
        if kind == "clips.npy":
            ok = (index >= 0).all() and (index[:, 0] < self.counts["recordings"]).all()
        else:
            n_rows = self.about["shards"][shard]["rows"]
            ok = index[0] == 0 and index[-1] == n_rows and (np.diff(index) >= 0).all()
        if not ok:
            raise DataError(f"{file}: points at what is not there; {_AGAIN}")
        return index


def shard_file(store: Path, number: int, kind: str) -> Path:
    """A file of shard `number`; `kind` is npy, clips.npy, offsets.npy or recordings.jsonl."""
    return store / "shards" / f"{number:05}.{kind}"


def open_store(path: str | Path) -> Store:
    """Opens a finished feature store for reading; of one at a URL a copy, in `bucket.cache_folder`.

    Raises SettingError if there is none at `path`, DataError if it is damaged, of another version
    of the format, or cannot be fetched.
    """
    from audiocls.data.bucket import local  # which is built on this module

    path = local(path)
    if not path.is_dir():
        what = "is a file, not a feature store" if path.exists() else "there is no such folder"
        raise SettingError("store", str(path), what)
    if not (path / "store.json").is_file():
        unfinished = (path / "unfinished.json").is_file()
        hint = "is unfinished: run the same `audiocls extract` again" if unfinished else (
            "is not a feature store: it has no store.json"
        )  # fmt: skip
        raise SettingError("store", str(path), hint)
    about = read_about(path / "store.json")
    for name, expected in files_of(about).items():
        if wrong := damage(path / name, expected, whole=False):
            raise DataError(f"{path / name}: {wrong}; {_AGAIN}")
    try:
        return Store(path, about)
    except SettingError as error:  # of its spec
        raise DataError(f"{path / 'store.json'}: {error}") from None


def stores_under(root: Path = Path("features")) -> list[Path]:
    """The stores directly under `root`, by name."""
    return sorted(file.parent for file in root.glob("*/store.json"))


def newest_store(root: Path = Path("features")) -> Path:
    """The store under `root` that was finished last. Raises DataError where there is none."""
    stores = stores_under(root)
    if not stores:
        raise DataError(
            f"no feature store under {str(root)!r}: run `audiocls extract`, or give `features`"
        )
    return max(stores, key=lambda s: (s / "store.json").stat().st_mtime_ns)


def read_about(file: Path) -> dict[str, Any]:
    """The contents of store.json, part.json or unfinished.json. Raises DataError if it is not what
    its name says."""
    about = read_json(file)
    validate(about, _SHAPES[file.name], str(file))
    if file.name != "unfinished.json":
        for total, key in ((about["shape"][0], "rows"), (about["counts"]["clips"], "clips")):
            if (found := sum(shard[key] for shard in about["shards"])) != total:
                raise DataError(f"{file}: its shards have {found} {key}, not {total}")
    assert isinstance(about, dict)
    return about


def verify(
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    done: str = "store.json",
) -> dict[str, str]:
    """What is damaged in a finished store, or in a part of one that `done` describes: files, and
    what is wrong with each. Every byte is read, unless the store is of version 1, which has no
    checksums. Raises DataError as `open_store`."""
    files = files_of(read_about(path / done))

    def wrong_with(item: tuple[str, dict[str, Any] | None]) -> str:
        return damage(path / item[0], item[1], whole=True)

    found = for_each(wrong_with, list(files.items()), progress)
    return {name: wrong for name, wrong in zip(files, found, strict=True) if wrong}


def files_of(about: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """The files of a store or part, with length and checksum where its description has them."""
    first = about["part"]["first_shard"] if "part" in about else 0
    kinds = ["npy", "clips.npy"]
    kinds += ["offsets.npy"] if about["clip_s"] == 0 else []
    kinds += ["recordings.jsonl"] if about["version"] > 1 else []
    files = {"recordings.csv": (about.get("files") or {}).get("recordings.csv")}
    for number, shard in enumerate(about["shards"], first):
        known = shard.get("files") or {}
        files |= {f"shards/{number:05}.{kind}": known.get(kind) for kind in kinds}
    return files


def damage(file: Path, expected: dict[str, Any] | None, whole: bool) -> str:
    """What is wrong with a file, as far as its length tells, or its bytes as a `whole`."""
    try:
        status = file.stat()
        n_bytes = status.st_size
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if expected is None:
            return ""
        if n_bytes != expected["bytes"]:
            return f"has {n_bytes} bytes, not {expected['bytes']} as it was made with"
        if whole and _native.checksum(file)[1] != expected["xxh128"]:
            return "has other contents than it was made with: its checksum differs"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""


def n_rows(file: Path) -> int:
    """Rows of an array that is a whole file. Raises DataError if it is damaged."""
    return int(_load(file).shape[0])


def _load(file: Path) -> NDArray[Any]:
    try:
        rows: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: is missing or damaged ({error}); {_AGAIN}") from None
    return rows
