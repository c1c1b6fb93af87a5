"""A Parquet file with an audio column, or a folder of them (extra `datasets`)."""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from audiocls.data.listing.table import (
    find_label_column,
    make_recording,
    read_cell,
    serialize_reads,
)
from audiocls.data.recordings import Listing
from audiocls.errors import DataError, SettingError
from audiocls.schema import optional, validate

T = TypeVar("T")


def list_parquet(path: Path, inside_only: bool) -> Listing:
    """The recordings of a Parquet file, or of all Parquet files of a folder.

    The audio column holds structs {bytes, path} as Hugging Face writes them, or plain bytes. If
    `inside_only`, a path must lie in the folder of the Parquet files.
    Raises SettingError without pyarrow, DataError if no column holds audio or labels.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        rule = "reading Parquet needs pyarrow: pip install 'audiocls[datasets]'"
        raise SettingError("DATA", str(path), rule) from None
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    listing = Listing(str(path))
    root = str(path if path.is_dir() else path.parent)
    first_rows, tables, audio_column = [], [], ""
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: is no regular file")
        with _arrow_errors(file):
            table = pq.ParquetFile(file)
        schema = table.schema_arrow
        audio = [f.name for f in schema if pa.types.is_struct(f.type) or pa.types.is_binary(f.type)]
        label_column = find_label_column(str(file), audio, schema.names)
        audio_column = audio[0]
        # `train-00000-of-00003.parquet`: how Hugging Face names the files of a split.
        split = file.name.split("-", 1)[0] if "-of-" in file.name else ""
        status = file.stat()
        first_rows.append(len(listing.recordings))
        tables.append(table)
        names = _class_names(file, schema, label_column)
        columns = [name for name in schema.names if name not in audio]
        rows = (r for batch in table.iter_batches(columns=columns) for r in batch.to_pylist())
        for i, row in enumerate(_reading(file, rows)):
            recording = make_recording(f"{file.name}/{i:09}", row, label_column, names, split)
            recording.n_bytes, recording.mtime_ns = status.st_size, status.st_mtime_ns
            listing.add(recording, None)

    cells = _make_cell_reader(files, tables, first_rows, audio_column)
    listing.read = serialize_reads(lambda i: read_cell(cells(i), root, inside_only))
    return listing


def _make_cell_reader(
    files: list[Path], tables: list[Any], first_rows: list[int], audio_column: str
) -> Callable[[int], Any]:
    """Makes the function that reads the audio cell of a row, by its number in all files."""

    # Recordings are asked for nearly in order, so a few row groups are enough.
    @lru_cache(maxsize=2)
    def row_group(file: int, group: int) -> Any:
        with _arrow_errors(files[file]):
            return tables[file].read_row_group(group, columns=[audio_column])[audio_column]

    group_ends = []
    for table in tables:
        sizes = (table.metadata.row_group(g).num_rows for g in range(table.num_row_groups))
        group_ends.append(list(accumulate(sizes)))

    def read(i: int) -> Any:
        file = bisect_right(first_rows, i) - 1
        row = i - first_rows[file]
        group = bisect_right(group_ends[file], row)
        row -= group_ends[file][group - 1] if group else 0
        return row_group(file, group)[row].as_py()

    return read


@contextlib.contextmanager
def _arrow_errors(file: Path) -> Iterator[None]:
    """Turns the many errors of pyarrow into DataError; an ArrowInvalid is a ValueError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError) as error:
        raise DataError(f"{file}: cannot be read as Parquet: {error}") from None


def _reading(file: Path, rows: Iterator[T]) -> Iterator[T]:
    with _arrow_errors(file):
        yield from rows


_METADATA = {"info": optional({"features": optional({str: object})})}
_FEATURE = {"names": optional([str])}


def _class_names(file: Path, schema: Any, label_column: str) -> list[str] | None:
    """Names of integer labels, from what Hugging Face keeps beside an Arrow schema."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    source = f"{file}: its Hugging Face metadata"
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} is no JSON ({error})") from None
    info = validate(metadata, _METADATA, source).get("info") or {}
    feature = (info.get("features") or {}).get(label_column)
    if not isinstance(feature, dict):
        return None
    return validate(feature, _FEATURE, source, label_column).get("names") or None
