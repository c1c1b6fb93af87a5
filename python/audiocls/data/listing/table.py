"""What tables with an audio column have in common, whatever holds their rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiocls.data.listing.on_disk import OUTSIDE, is_inside
from audiocls.data.recordings import Recording, format_cell, parse_row
from audiocls.errors import DataError
from audiocls.files import escape, read_regular

# A recording that is read whole has no more bytes.
LARGEST_CELL = 1 << 30

_LABEL_COLUMNS = ("label", "labels", "class", "category")


def find_label_column(name: str, audio: list[str], columns: list[str]) -> str:
    """The label column, once it is clear that there is one, and one audio column."""
    label = [column for column in _LABEL_COLUMNS if column in columns]
    if len(audio) != 1 or not label:
        missing = "label column" if len(audio) == 1 else "audio column, or several"
        raise DataError(f"{name}: has no {missing}; its columns are {', '.join(columns)}")
    return label[0]


def make_recording(
    path: str, row: dict[str, Any], label_column: str, names: list[str] | None, split: str
) -> Recording:
    """The recording that a row describes; integer labels are indices into `names`."""
    label = row.pop(label_column)
    if names is not None and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None
    cells = {name: format_cell(value) for name, value in row.items()}
    cells["label"] = format_cell(label)
    cells["split"] = cells.get("split", "") or split
    return parse_row(path, cells)


def read_cell(value: Any, root: str, inside_only: bool) -> tuple[bytes, str]:
    """The bytes of an audio cell and a name for them.

    Raises DataError for a cell that holds neither bytes nor a path, or, if `inside_only`, a path
    that leaves `root`; OSError if the path cannot be read.
    """
    if isinstance(value, bytes):
        return value, "audio"
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (0, 0)
    if data and isinstance(data, bytes):
        return data, Path(path).name if path and isinstance(path, str) else "audio"
    if data or not path or not isinstance(path, str):
        raise DataError("the audio cell holds neither bytes nor a path")
    if inside_only and not is_inside(path, root):
        raise DataError(f"{escape(path)}: {OUTSIDE}")
    return read_regular(Path(path), LARGEST_CELL), Path(path).name


def serialize_reads(read: Callable[[int], tuple[bytes, str]]) -> Callable[[int], tuple[bytes, str]]:
    """Wraps a function so that it serves one of many threads at a time.

    Two reads of one ParquetFile at a time corrupt memory.
    """
    turn = threading.Lock()

    def read_in_turn(i: int) -> tuple[bytes, str]:
        with turn:
            return read(i)

    return read_in_turn
