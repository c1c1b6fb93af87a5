"""A CSV or JSON Lines table that names files, labels and further columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from audiocls.data.listing.on_disk import Status, file_status, set_file
from audiocls.data.recordings import PATH_COLUMNS, Listing, as_text, recording_of_row
from audiocls.errors import DataError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")


def list_manifest(file: Path) -> Listing:
    """The recordings of a manifest, in its order. Raises DataError if it cannot be read."""
    root = file.parent

    def locate(given: str) -> tuple[str, Status | None, str]:
        on_disk = str(root / given)
        return on_disk, *file_status(on_disk)

    # surrogateescape: a file name need not be valid UTF-8.
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
        return list_rows(str(file), text, str(root), locate)


def list_rows(
    source: str,
    text: TextIO,
    root: str,
    locate: Callable[[str], tuple[str | None, Status | None, str]],
) -> Listing:
    """The recordings of the manifest `source`; `locate` gives the file that a row names, its status
    and why it is no recording."""
    listing = Listing(root)
    read = _read_jsonl if source.lower().endswith(".jsonl") else _read_csv
    path_column = ""
    for number, row in read(source, text):
        path_column = path_column or _path_column(source, row)
        given = row.pop(path_column, "")
        recording = recording_of_row(given, row)
        file, status, error = (
            locate(given) if given else (root, None, f"row {number} names no file")
        )
        set_file(recording, status, error or recording.error)
        listing.add(recording, file)
    return listing


def _path_column(file: str, row: dict[str, str]) -> str:
    found = [name for name in PATH_COLUMNS if name in row]
    if not found or "label" not in row:
        missing = "label" if found else " or ".join(PATH_COLUMNS)
        raise DataError(f"{file}: has no column {missing}; its columns are {', '.join(row)}")
    return found[0]


def _read_csv(file: str, text: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{file}: line {reader.line_num} has {len(cells)} cells, "
                    f"the header has {len(header)}"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num}: {error}") from None


def _read_jsonl(file: str, text: TextIO) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            cells = {k: as_text(v) for k, v in row.items()} if isinstance(row, dict) else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: line {number} is not JSON: {error}") from None
        if cells is None:
            raise DataError(f"{file}: line {number} is not a JSON object")
        yield number, cells
