"""A table that names files, labels and further columns: CSV in any form, JSON Lines, Raven's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

from audiocls.data.annotations import REPEATED, Annotations, Views
from audiocls.data.labelling import Labelling
from audiocls.data.listing.on_disk import Status, read_status, set_file
from audiocls.data.recordings import Listing, Recording, format_cell, parse_row
from audiocls.data.tables import (
    check_legible,
    match_columns,
    normalize_name,
    open_text,
    parse_seconds,
    read_rows,
)
from audiocls.errors import DataError, SettingError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
# Of a row, what becomes of it; the rest is metadata.
_TAKEN = ("file_name", "label", "start_s", "end_s")


class Located(NamedTuple):
    """What a row's name of a file stands for."""

    path: str  # of the recording
    file: str | None  # None: its bytes are read otherwise
    status: Status | None
    error: str  # why it is no recording


def list_manifest(file: Path, labelling: Labelling) -> Listing:
    """The recordings of a manifest, in its order. Raises DataError if it cannot be read."""
    root = file.parent
    with open_text(file, labelling.encoding) as text:
        return list_rows(
            str(file), text, str(root), lambda given: locate_on_disk(root, given), labelling
        )


def list_table(base: Listing, file: Path, labelling: Labelling) -> Listing:
    """The recordings of `base` that a table names, with what it says of them.

    A name in the table is a path in the data set. If there is none, it is the end of a path that is
    unique in it, else a path on the disk.
    """
    lookup = Lookup(base)
    with open_text(file, labelling.encoding) as text:
        listing = list_rows(str(file), text, base.root, lookup.locate, labelling)
    return lookup.finish(listing, file.name)


class Lookup:
    """Names of a table → recordings of a listing."""

    def __init__(self, base: Listing) -> None:
        self.base = base
        self._paths = {r.path: i for i, r in enumerate(self.base.recordings)}
        self._names: dict[str, list[int]] = {}
        for i, r in enumerate(self.base.recordings):
            self._names.setdefault(r.path.rpartition("/")[2], []).append(i)
        self._number: dict[str, int] = {}

    def locate(self, given: str) -> Located:
        """The recording that a row names."""
        wanted = os.path.normpath(given).replace(os.sep, "/")
        found = self._paths.get(wanted)
        if found is None:
            wanted = wanted.replace("\\", "/")
            near = self._names.get(wanted.rpartition("/")[2], [])
            ends = [i for i in near if f"/{self.base.recordings[i].path}".endswith(f"/{wanted}")]
            if len(ends) > 1 or (len(near) > 1 and not ends):
                return Located(given, None, None, f"names {len(ends or near)} files below the data")
            found = (ends or near or [None])[0]  # type: ignore[list-item]
        if found is None:
            if self.base.read is not None:
                return Located(given, None, None, "no such file")
            return locate_on_disk(Path(self.base.root), given)
        recording = self.base.recordings[found]
        self._number[recording.path] = found
        status = (recording.n_bytes, recording.mtime_ns)
        return Located(recording.path, self.base.files[found], status, recording.error)

    def finish(self, listing: Listing, name: str, all_of_it: bool = True) -> Listing:
        """Completes the listing of a table with what else is in the data set.

        Args:
            listing: of the rows.
            name: of the table.
            all_of_it: whether `base` is the data set, and not only the place of the table.
        """
        base = self.base
        listing.notices = base.notices + listing.notices
        if all_of_it:
            listing.others = [path for path in base.others if path.rpartition("/")[2] != name]
            listing.n_hidden = base.n_hidden
        if base.read is not None:
            read, numbers = base.read, [self._number.get(r.path, -1) for r in listing.recordings]
            listing.read = lambda i: read(numbers[i])
        unnamed = [r.path for r in base.recordings if r.path not in self._number]
        if unnamed and all_of_it:
            more = ", …" if len(unnamed) > 1 else ""
            said = f"left out, for {name} does not name them: {len(unnamed)} ({min(unnamed)}{more})"
            listing.notices.append(said)
        return listing


def locate_on_disk(root: Path, given: str) -> Located:
    r"""The file that a row names, relative to `root`; "\\" is "/" if there is no such file."""
    file = str(root / given)
    status, error = read_status(file)
    if status is None and "\\" in given:
        given = given.replace("\\", "/")
        file = str(root / given)
        status, error = read_status(file)
    return Located(given.replace(os.sep, "/"), file, status, error)


def list_rows(
    source: str,
    text: TextIO,
    root: str,
    locate: Callable[[str], Located],
    labelling: Labelling,
) -> Listing:
    """The recordings of the manifest `source`, with the events of their rows.

    Rows with a start and an end are stretches of one recording.

    Args:
        source: the name of the manifest, for errors.
        text: its contents.
        root: what the names of files are relative to.
        locate: says what the name of a file stands for.
        labelling: which columns hold what.
    """
    listing = Listing(root)
    stretches = _Stretches(source)
    columns: dict[str, str] = {}
    read = _read_jsonl if source.lower().endswith(".jsonl") else read_rows
    for number, row in read(source, text):
        if not columns:
            columns = _columns(source, row, labelling)
            listing.notices += _said(source, columns)
            listing.label_columns += [columns["label"]] if "label" in columns else []
        where = f"{source}: line {number}"
        given = row.get(columns["file_name"], "")
        located = locate(given) if given else Located("", root, None, f"row {number} names no file")
        cells = {name: row.pop(columns[name], "") for name in _TAKEN if name in columns}
        for cell in (*row.values(), cells.get("label", "")):
            check_legible(cell, where)
        if stretches.take(number, located.path, row, cells):
            continue
        fields = {name: row.pop(column) for name, column in columns.items() if column in row}
        label = cells.get("label", "").strip()
        recording = parse_row(located.path, {**row, **fields, "label": label})
        at_row = f" ({where})" if located.error and given and "start_s" in cells else ""
        set_file(recording, located.status, located.error + at_row)
        stretches.begin(recording, number, cells)
        listing.add(recording, located.file)
    stretches.finish(listing)
    return listing


class _Stretches:
    """The rows of a table with a start and an end, by recording."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._of: dict[str, tuple[Recording, Annotations]] = {}
        self._views = Views()
        self._any = False

    def take(
        self, number: int, path: str, row: Mapping[str, str], cells: Mapping[str, str]
    ) -> bool:
        """Whether a row is of a recording that an earlier one began, and has been added to it."""
        if "start_s" not in cells or path not in self._of:
            return False
        self._add(number, path, row, cells)
        return True

    def begin(self, recording: Recording, number: int, cells: Mapping[str, str]) -> None:
        """A recording begins with a row."""
        if "start_s" in cells:
            self._of[recording.path] = recording, Annotations("table")
            self._add(number, recording.path, recording.extra, cells)

    def _add(
        self, number: int, path: str, row: Mapping[str, str], cells: Mapping[str, str]
    ) -> None:
        found = self._of[path][1]
        where = f"{self.source}: line {number}"
        start, end, label = cells["start_s"], cells["end_s"], cells.get("label", "")
        if not start.strip() and not end.strip():  # all of it
            found.add_whole(label, where)
            return
        self._any = True
        if wrong := self._views.check_view({**row, "begin file": path}, [start, end, label]):
            found.left_out += [f"{where} {wrong}"] if wrong != REPEATED else []
            return
        offset = next((v for k, v in row.items() if normalize_name(k) == "file offset (s)"), "")
        try:  # Raven counts the times of many files through; the offset is within one.
            end = str(parse_seconds(offset) + parse_seconds(end) - parse_seconds(start))
            start = offset
        except ValueError:
            pass
        found.add(start, end, label, where)

    def finish(self, listing: Listing) -> None:
        """Gives recordings their events, if any row has a start and an end."""
        found_some = self._any or any(len(found.where) > 1 for _, found in self._of.values())
        for recording, found in self._of.values() if found_some else ():
            listing.annotations[recording.path] = found
            recording.label = ""


def _columns(source: str, row: Mapping[str, str], labelling: Labelling) -> dict[str, str]:
    given, needed = dict(labelling.columns), ["file_name"]
    by_path = labelling.label_by is not None and labelling.label_by not in row
    if labelling.label_by is not None and not by_path:
        given["label"] = labelling.label_by
    elif not by_path and labelling.annotations is None:
        needed.append("label")
    return match_columns(source, row, given, needed)


def _said(source: str, columns: Mapping[str, str]) -> list[str]:
    """A notice if a column is not called as what it is taken for."""
    taken = [
        f"{field} is column {column!r}"
        for field, column in columns.items()
        if column not in (field, "path")
    ]
    return [f"{Path(source).name}: {', '.join(taken)}"] if taken else []


def _read_jsonl(source: str, text: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            cells = {k: format_cell(v) for k, v in row.items()} if isinstance(row, dict) else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{source}: line {number} is not JSON: {error}") from None
        if cells is None:
            raise DataError(f"{source}: line {number} is not a JSON object")
        yield number, cells


def find_table(table: str, root: str) -> Path:
    """The file that `table` names, from here or in the data set. Raises SettingError."""
    for file in (Path(table), Path(root) / table):
        if file.is_file():
            return file
    raise SettingError("table", table, "there is no such file, neither here nor in the data set")
