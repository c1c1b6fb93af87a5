"""A feature store on disk: its features as one array, and what is known of its recordings."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.data.annotations import Event
from audiocls.data.recordings import Recording, read_recordings
from audiocls.engine.cut import CUT_FIELDS, Cut
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import DataError, SettingError
from audiocls.store.format import (
    REMEDY,
    find_damage,
    list_files,
    load_array,
    locate_shard_file,
    read_about,
)
from audiocls.store.labels import ONE, Coverage, Labels, parse_coverage
from audiocls.store.place import local_copy
from audiocls.store.rows import Clips, Rows

if TYPE_CHECKING:
    import torch


class Store:
    """The features of a data set, and what is known of its recordings; see `open_store`.

    Also a map-style PyTorch dataset: `store[i]` is (features, class index), or of the task
    `several` (features, bool [n_classes]).
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self.about = about  # store.json
        self.spec = FeatureSpec.from_dict(about["spec"])
        self.feature: str = about["feature"]
        self.cut = Cut.from_dict({key: about[key] for key in CUT_FIELDS})
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
        """Array-like [n_clips, frames, features] over memory-mapped shards (`Rows`).

        If the clips differ in length, `Clips`.
        """
        shards, shape = self.about["shards"], tuple(self.about["shape"])
        files = [self._file(number, "npy") for number in range(len(shards))]
        rows = Rows(files, [s["rows"] for s in shards], shape[1:], self.about["dtype"])
        if self.cut.clip_s > 0:
            return rows
        starts = np.cumsum([0, *(s["rows"] for s in shards)])[:-1]
        offsets = [
            self._index(number, "offsets.npy", (shards[number]["clips"] + 1,))[:-1] + start
            for number, start in enumerate(starts)
        ]
        return Clips(rows, np.concatenate([*offsets, np.array([len(rows)], np.int64)]))

    def samples(self, clips: NDArray[np.int64]) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """Where the samples of some clips lie, for a store of kind samples.

        Returns:
            Memory-mapped arrays [samples], and for each clip int64 [3]: which array, first sample,
            one past the last.

        Raises:
            SettingError: the store holds features.
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
    def clip_start(self) -> NDArray[np.int64]:
        """int64 [n_clips]: first sample of each clip in its recording, at the features' rate."""
        return self._clips[:, 1]

    @property
    def clip_start_s(self) -> NDArray[np.float64]:
        """float64 [n_clips]: where in its recording each clip starts, in seconds."""
        return self._clips[:, 1] / self.spec.sample_rate

    @property
    def task(self) -> str:
        """How many labels a clip has: `one`, or `several` at once."""
        return self.about.get("task") or ONE

    @property
    def events(self) -> list[tuple[Event, ...]] | None:
        """The labelled stretches of each recording, in order of time.

        None if recordings are labelled as a whole.
        """
        if self.about.get("min_overlap") is None:
            return None
        return [r.events or () for r in self.recordings]

    @cached_property
    def coverage(self) -> Coverage | None:
        """Which clips have the label of an event; None if recordings are labelled as a whole."""
        return parse_coverage(self.about)

    @property
    def label_separator(self) -> str | None:
        """What stands between the labels of a recording that has several."""
        separator: str | None = self.about.get("label_separator")
        return separator

    @cached_property
    def _labels(self) -> Labels:
        return Labels.of(self)

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 [n_clips]: index of each clip's class in `classes`; of task `one`."""
        return self._labels.index

    @property
    def label_matrix(self) -> NDArray[np.bool_]:
        """Which labels each clip has, bool [n_clips, n_classes]."""
        return self._labels.matrix

    @cached_property
    def clip_whole(self) -> NDArray[np.int64]:
        """The number of the whole that each clip is a piece of and judged with, int64 [n_clips].

        It is the recording. If clips have one label each, those of events, it is the run of clips
        with that label.
        """
        if self.coverage is None or self.task != ONE:
            return self.clip_recording
        return self.coverage.runs(self.labels, self._clips)

    @property
    def recording_labels(self) -> list[tuple[str, ...]]:
        """The labels of each recording; of one with events, those that its clips have."""
        return self._labels.recordings

    def classes_among(self, clips: NDArray[np.int64]) -> set[str]:
        """The classes that some clips have."""
        return {self.classes[i] for i in self._labels.numbers_among(clips)}

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """The group of each clip's recording, str [n_clips]."""
        return np.array([r.group for r in self.recordings], np.str_)[self.clip_recording]

    @property
    def clip_shape(self) -> tuple[int | None, int]:
        """(frames, features) of a clip; frames None where clips differ in length."""
        *frames, features = self.about["shape"][1:]
        return (frames[0] if frames else None), features

    @cached_property
    def identity(self) -> str:
        """SHA-256 over what the store holds: spec, cut, recordings with label and clips."""
        content: list[Any] = [
            self.spec.to_dict(),
            [self.cut.clip_s, self.cut.hop_s],
            [[r.path, r.label, r.n_clips] for r in self.recordings],
        ]
        if self.task != ONE:
            content.append([self.task, self.about.get("label_separator")])
        if self.events is not None:
            content.append([self.about["min_overlap"], self.about.get("background")])
            content.append([[(e.start_s, e.end_s, e.label) for e in own] for own in self.events])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def numpy(self) -> NDArray[Any]:
        """All features in memory: [n_clips, frames, features].

        If clips differ in length, all frames [total frames, features].
        """
        rows: NDArray[Any] = self.features.numpy()
        return rows

    def tensor(self) -> torch.Tensor:
        """`numpy()` as a torch tensor that shares its memory."""
        import torch

        return torch.from_numpy(self.numpy())

    def __len__(self) -> int:
        return self.counts["clips"]

    def __getitem__(self, i: int) -> tuple[NDArray[Any], int | NDArray[np.bool_]]:
        label = int(self.labels[i]) if self.task == ONE else self.label_matrix[i]
        return self.features[i], label

    def _file(self, shard: int, kind: str) -> Path:
        return locate_shard_file(self.path, shard, kind)

    def _index(self, shard: int, kind: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """clips.npy or offsets.npy of a shard, once it is clear that it points at what is there."""
        file = self._file(shard, kind)
        index = load_array(file)
        if index.shape != shape or index.dtype != np.int64:
            rule = f"must be int64 {shape}"
            raise DataError(f"{file}: holds {index.dtype} {index.shape}: {rule}; {REMEDY}")
        if kind == "clips.npy":
            ok = (index >= 0).all() and (index[:, 0] < self.counts["recordings"]).all()
        else:
            n_rows = self.about["shards"][shard]["rows"]
            ok = index[0] == 0 and index[-1] == n_rows and (np.diff(index) >= 0).all()
        if not ok:
            raise DataError(f"{file}: points at what is not there; {REMEDY}")
        return index


def open_store(path: str | Path) -> Store:
    """Opens a finished feature store for reading; of one at a URL a copy, in `place.locate_cache`.

    Raises SettingError if there is none at `path`, DataError if it is damaged, of another version
    of the format, or cannot be fetched.
    """
    path = local_copy(path)
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
    for name, expected in list_files(about).items():
        if wrong := find_damage(path / name, expected, whole=False):
            raise DataError(f"{path / name}: {wrong}; {REMEDY}")
    try:
        return Store(path, about)
    except SettingError as error:  # of its spec or cut
        raise DataError(f"{path / 'store.json'}: {error}") from None


def list_stores(root: Path = Path("features")) -> list[Path]:
    """The stores directly under `root`, by name."""
    return sorted(file.parent for file in root.glob("*/store.json"))


def find_newest_store(root: Path = Path("features")) -> Path:
    """The store under `root` that was finished last. Raises DataError where there is none."""
    stores = list_stores(root)
    if not stores:
        raise DataError(
            f"no feature store under {str(root)!r}: run `audiocls extract`, or give `features`"
        )
    return max(stores, key=lambda s: (s / "store.json").stat().st_mtime_ns)
