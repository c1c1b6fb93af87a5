"""A Parquet file with an audio column, or a folder of them (extra `datasets`)."""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import Any

from audiocls.data.listing.table import cell_bytes, label_column_of, row_recording
from audiocls.data.recordings import Listing
from audiocls.errors import DataError, SettingError


def list_parquet(path: Path) -> Listing:
    """The recordings of a Parquet file, or of all Parquet files of a folder.

    The audio column holds structs {bytes, path} as Hugging Face writes them, or plain bytes.
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
    first_rows, tables, audio_column = [], [], ""
    for file in files:
        try:
            table = pq.ParquetFile(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file}: cannot be read as Parquet: {error}") from None
        schema = table.schema_arrow
        audio = [f.name for f in schema if pa.types.is_struct(f.type) or pa.types.is_binary(f.type)]
        label_column = label_column_of(str(file), audio, schema.names)
        audio_column = audio[0]
        # `train-00000-of-00003.parquet`: how Hugging Face names the files of a split.
        split = file.name.split("-", 1)[0] if "-of-" in file.name else ""
        status = file.stat()
        first_rows.append(len(listing.recordings))
        tables.append(table)
        names = _class_names(schema, label_column)
        columns = [name for name in schema.names if name not in audio]
        rows = (r for batch in table.iter_batches(columns=columns) for r in batch.to_pylist())
        for i, row in enumerate(rows):
            recording = row_recording(f"{file.name}/{i:09}", row, label_column, names, split)
            recording.n_bytes, recording.mtime_ns = status.st_size, status.st_mtime_ns
            listing.add(recording, None)

    # Recordings are asked for nearly in order, so a few row groups are enough.
    @lru_cache(maxsize=2)
    def row_group(file: int, group: int) -> Any:
        return tables[file].read_row_group(group, columns=[audio_column])[audio_column]

    group_ends = []
    for table in tables:
        ends, end = [], 0
        for g in range(table.num_row_groups):
            end += table.metadata.row_group(g).num_rows
            ends.append(end)
        group_ends.append(ends)

    def read(i: int) -> tuple[bytes, str]:
        file = bisect_right(first_rows, i) - 1
        row = i - first_rows[file]
        group = bisect_right(group_ends[file], row)
        row -= group_ends[file][group - 1] if group else 0
        return cell_bytes(row_group(file, group)[row].as_py())

    listing.read = read
    return listing


def _class_names(schema: Any, label_column: str) -> list[str] | None:
    """Names of integer labels, from what Hugging Face keeps beside an Arrow schema."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(label_column, {})
    names = feature.get("names") if isinstance(feature, dict) else None
    return list(names) if names else None
