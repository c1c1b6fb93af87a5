"""What is known of a recording, and recordings.csv, where it is kept."""

from __future__ import annotations

import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiocls.data.annotations import Annotations, Event
from audiocls.errors import DataError
from audiocls.files import read_csv, write_csv

# What a recording without further metadata has: one object for all, never changed.
NO_COLUMNS: Mapping[str, str] = {}


@dataclass(slots=True)
class Recording:
    """One recording: what the data set says of it, and once extracted what became of it."""

    id: int  # its place in the data set
    path: str  # relative to the data set where it lies in it, with "/"
    label: str
    group: str  # recordings of one group never stand on both sides of a split
    split: str = ""  # as the data set gives it: train, validation, test; "" if it does not
    duration_s: float | None = None
    sample_rate: int | None = None  # Hz, as recorded
    channels: int | None = None  # as recorded
    n_clips: int = 0
    n_silent: int = 0  # clips left out by --min-rms
    status: str = "pending"  # then ok, skipped (nothing wrong, but no clip) or failed
    error: str = ""  # why it was skipped or failed
    audio_hash: str = ""  # of the decoded samples: equal for the same audio
    n_bytes: int = 0  # of the file
    mtime_ns: int = 0  # of the file, nanoseconds since 1970
    level_db: float | None = None  # root mean square, full scale 0; silence -200
    # Further metadata columns; one object for all recordings without any.
    extra: Mapping[str, str] = field(default_factory=lambda: NO_COLUMNS)
    # Its labelled stretches, if it is known by them and not by a label for all of it.
    events: tuple[Event, ...] | None = None
    # Rows of its annotations that are no events, and why.
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def labels(self, separator: str | None = None) -> tuple[str, ...]:
        """All its labels, each once, in order: of its events, or of its label.

        Args:
            separator: what stands between several labels; None: there is one.
        """
        if self.events is not None:
            return tuple(dict.fromkeys(event.label for event in self.events))
        return split_label(self.label, separator)


@dataclass
class Listing:
    """The recordings of a data set, and where their bytes are."""

    root: str  # what paths are relative to; the data set itself
    recordings: list[Recording] = field(default_factory=list)
    files: list[str | None] = field(default_factory=list)  # None: `read` supplies its bytes
    notices: list[str] = field(default_factory=list)  # what the user should know
    # Files below the data set that are no recordings, relative to it; hidden ones are counted only.
    others: list[str] = field(default_factory=list)
    n_hidden: int = 0
    # Folders at the top and in them: of some, nothing may come.
    folders: list[str] = field(default_factory=list)
    # Id → bytes of a recording and a name for them; may be called by many threads.
    read: Callable[[int], tuple[bytes, str]] | None = None
    label_separator: str | None = None  # between the labels of a recording; None: it has one
    # Path → what annotations say of a recording; in the end it is in `Recording.events`.
    annotations: dict[str, Annotations] = field(default_factory=dict)
    label_columns: list[str] = field(default_factory=list)  # that labels have been taken from
    no_label: str = "has no label"  # why a recording without one has none

    def add(self, recording: Recording, file: str | None) -> None:
        """The next recording, and where its bytes are."""
        self.recordings.append(recording)
        self.files.append(file)

    def take(self, order: Sequence[int]) -> None:
        """Keeps these recordings, in this order."""
        self.recordings = [self.recordings[i] for i in order]
        self.files = [self.files[i] for i in order]
        if (read := self.read) is not None:
            self.read = lambda i: read(order[i])


PATH_COLUMNS = ("file_name", "path")
# How data sets name their parts, in a column or as folders, in any case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
# The fields of a recording as recordings.csv has them, in this order, and how a cell is read. One
# object stands for equal texts that many recordings share.
_READ: dict[str, Callable[[str], Any]] = {
    "id": int,
    "path": str,
    "label": sys.intern,
    "group": sys.intern,
    "split": sys.intern,
    "duration_s": lambda cell: float(cell) if cell else None,
    "sample_rate": lambda cell: int(cell) if cell else None,
    "channels": lambda cell: int(cell) if cell else None,
    "n_clips": int,
    "n_silent": int,
    "status": sys.intern,
    "error": str,
    "audio_hash": str,
    "n_bytes": int,
    "mtime_ns": int,
    "level_db": lambda cell: float(cell) if cell else None,
}
_COLUMNS = tuple(_READ)
# A store of an earlier version lacks the last column.
_EARLIER_COLUMNS = _COLUMNS[:-1]
# What a store says of a recording; a metadata column of that name is kept as `metadata_NAME`.
RESULT_COLUMNS = tuple(name for name in _COLUMNS if name not in ("path", "label", "group", "split"))


def parse_row(path: str, row: dict[str, str]) -> Recording:
    """The recording that a row of metadata describes; `row` is without the path column."""
    # One object for each label, group and split: there may be millions of recordings.
    label, group, split = (sys.intern(row.pop(name, "")) for name in ("label", "group", "split"))
    path = path.replace(os.sep, "/")
    recording = Recording(0, path, label, group or path, split)
    if row:
        recording.extra = {
            f"metadata_{name}" if name in (*RESULT_COLUMNS, *PATH_COLUMNS) else name: value
            for name, value in row.items()
        }
    return recording


def split_label(cell: str, separator: str | None) -> tuple[str, ...]:
    """The labels in a cell of a table, each once, as they come; without a separator it is one."""
    if separator is None:
        return (cell,)
    return tuple(dict.fromkeys(label.strip() for label in cell.split(separator)))


def format_cell(value: object) -> str:
    """A metadata value as the text that stands in recordings.csv."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def notice_scope(recordings: Sequence[Recording]) -> list[str]:
    """A notice if a score on these recordings does not speak for other sources.

    The column `source` tells, if there is one.
    """
    nothing = "a score on this data says nothing about other microphones, rooms and players"
    sources: dict[str, set[str]] = {}
    for r in recordings:
        sources.setdefault(r.label, set()).add(str(r.extra.get("source") or ""))
    if not recordings or any(len(own) > 1 for own in sources.values()):
        return []
    if any(r.extra.get("source") for r in recordings):
        return [f"every class has one source: {nothing}"]
    return [f"no column `source` says where recordings come from; if from one place, {nothing}"]


def notice_similar_labels(labels: Iterable[str]) -> list[str]:
    """A notice for each set of labels that differ only in case, accents, spaces or Unicode form."""
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", label).casefold())
        plain = "".join(
            c for c in decomposed if not (unicodedata.combining(c) or c.isspace() or c in "_-")
        )
        alike.setdefault(plain, []).append(label)
    return [
        f"labels {', '.join(map(repr, group))} differ only in case, accents or spaces: kept as "
        f"{len(group)} classes"
        for group in alike.values()
        if len(group) > 1
    ]


EVENTS = "events.csv"
_EVENT_COLUMNS = ("id", "start_s", "end_s", "label")


def write_recordings(file: Path, recordings: Sequence[Recording]) -> None:
    """Writes recordings.csv: UTF-8, a row a recording, further metadata columns last.

    If recordings have events, it writes events.csv beside it first.
    """
    if any(r.events is not None for r in recordings):
        events = ((r.id, e.start_s, e.end_s, e.label) for r in recordings for e in r.events or ())
        write_csv(file.with_name(EVENTS), _EVENT_COLUMNS, events)
    extra = sorted({name for recording in recordings for name in recording.extra})
    rows = (
        [*(getattr(r, name) for name in _COLUMNS), *(r.extra.get(name, "") for name in extra)]
        for r in recordings
    )
    write_csv(file, [*_COLUMNS, *extra], rows)


def read_recordings(file: Path) -> list[Recording]:
    """The recordings that `write_recordings` wrote, with their events.

    Raises:
        DataError: a file is damaged.
    """
    return list(iterate_recordings(file))


def iterate_recordings(file: Path) -> Iterator[Recording]:
    """The same one by one, for where a million at once would take too much memory."""
    rows = read_csv(file)
    header = next(rows, [])
    for known in (_COLUMNS, _EARLIER_COLUMNS):
        if tuple(header[: len(known)]) == known:
            break
    else:
        raise DataError(f"{file}: is not a recordings.csv of this version (unknown columns)")
    extra = header[len(known) :]
    events = _read_events(file.with_name(EVENTS))
    for cells in rows:
        try:
            row = dict(zip(header, cells, strict=True))
            recording = Recording(
                **{name: _READ[name](row[name]) for name in known},
                extra={name: row[name] for name in extra} or NO_COLUMNS,
            )
            if recording.group == recording.path:
                recording.group = recording.path
            if events is not None:
                recording.events = tuple(events.get(recording.id, ()))
            yield recording
        except ValueError as error:
            raise DataError(f"{file}: is not a recordings.csv of this version ({error})") from None


def _read_events(file: Path) -> dict[int, list[Event]] | None:
    """The events of each recording by its id; None if there is no such file."""
    if not file.is_file():
        return None
    events: dict[int, list[Event]] = {}
    rows = read_csv(file)
    if tuple(next(rows, ())) != _EVENT_COLUMNS:
        raise DataError(f"{file}: is not an events.csv of this version (unknown columns)")
    for number, cells in enumerate(rows, 2):
        try:
            i, start, end, label = cells
            event = Event(float(start), float(end), sys.intern(label))
            if not (0 <= event.start_s < event.end_s and math.isfinite(event.start_s)):
                raise ValueError("an event must end after it starts")
            events.setdefault(int(i), []).append(event)
        except ValueError as error:
            raise DataError(f"{file}: line {number} is damaged ({error})") from None
    return events
