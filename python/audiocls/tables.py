"""Tables with an audio column: Hugging Face `datasets` objects and local Parquet files.

Their libraries (the extra `datasets`) give the bytes of a recording; our engine decodes them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from typing import Any

from audiocls.errors import DataError, SettingError
from audiocls.recordings import Listing, as_text, recording_of_row

_LABEL_COLUMNS = ("label", "labels", "class", "category")


def list_dataset(dataset: Any) -> Listing:
    """The recordings of a `datasets.Dataset` with an audio column.

    Raises SettingError for any other object, DataError if no column holds audio or labels.
    """
    try:
        import datasets
    except ImportError:
        datasets = None
    if datasets is None or not isinstance(dataset, datasets.Dataset):
        rule = "must be a path or a datasets.Dataset (of a DatasetDict take one split)"
        raise SettingError("data", type(dataset).__name__, rule)
    audio = [n for n, feature in dataset.features.items() if isinstance(feature, datasets.Audio)]
    name = f"datasets.Dataset {dataset.info.dataset_name or ''}".rstrip()
    label_column = _columns(name, audio, list(dataset.features))
    encoded = dataset.cast_column(audio[0], datasets.Audio(decode=False))
    names = getattr(dataset.features[label_column], "names", None)
    split = str(dataset.split or "")

    listing = Listing(name, [], [])
    for i, row in enumerate(dataset.remove_columns(audio)):
        listing.recordings.append(_recording(f"row-{i:09}", row, label_column, names, split))
        # The fingerprint stands for the contents: a changed table is noticed as a changed file is.
        listing.recordings[-1].mtime_ns = int(dataset._fingerprint, 16) & (2**62 - 1)
        listing.files.append(None)

    def read(i: int) -> tuple[bytes, str]:
        return _bytes(encoded[i][audio[0]])

    listing.read = read
    return listing


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
    listing = Listing(str(path), [], [])
    first_rows, tables, audio_column = [], [], ""
    for file in files:
        try:
            table = pq.ParquetFile(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file}: cannot be read as Parquet: {error}") from None
        schema = table.schema_arrow
        audio = [f.name for f in schema if pa.types.is_struct(f.type) or pa.types.is_binary(f.type)]
        label_column = _columns(str(file), audio, schema.names)
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
            recording = _recording(f"{file.name}/{i:09}", row, label_column, names, split)
            recording.n_bytes, recording.mtime_ns = status.st_size, status.st_mtime_ns
            listing.recordings.append(recording)
            listing.files.append(None)

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
        return _bytes(row_group(file, group)[row].as_py())

    listing.read = read
    return listing


def _columns(name: str, audio: list[str], columns: list[str]) -> str:
    """The label column, once it is clear that there is one, and one audio column."""
    label = [column for column in _LABEL_COLUMNS if column in columns]
    if len(audio) != 1 or not label:
        missing = "label column" if len(audio) == 1 else "audio column, or several"
        raise DataError(f"{name}: has no {missing}; its columns are {', '.join(columns)}")
    return label[0]


def _class_names(schema: Any, label_column: str) -> list[str] | None:
    """Names of integer labels, from what Hugging Face keeps beside an Arrow schema."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(label_column, {})
    names = feature.get("names") if isinstance(feature, dict) else None
    return list(names) if names else None


def _recording(
    path: str, row: dict[str, Any], label_column: str, names: list[str] | None, split: str
) -> Any:
    label = row.pop(label_column)
    if names is not None and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None
    cells = {name: as_text(value) for name, value in row.items()}
    cells["label"] = as_text(label)
    cells["split"] = cells.get("split", "") or split
    return recording_of_row(path, cells)


def _bytes(value: Any) -> tuple[bytes, str]:
    """The bytes of an audio cell and a name for them."""
    if isinstance(value, bytes):
        return value, "audio"
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        raise DataError("the audio cell is empty")
    name = Path(value.get("path") or "audio").name
    return value.get("bytes") or Path(value["path"]).read_bytes(), name
