"""A data set in one of the usual layouts → its recordings, each with a label and a group.

What can be seen without opening a file is found here; a recording that cannot be used for such a
reason stays in the list, so that it is reported like one that cannot be decoded.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiocls.errors import DataError, SettingError
from audiocls.recordings import (
    PATH_COLUMNS,
    SPLIT_NAMES,
    Listing,
    Recording,
    as_text,
    recording_of_row,
    similar_labels,
)
from audiocls.tables import list_dataset, list_parquet

# A file is a recording if its name says so, whatever the case; its format is found by content.
AUDIO_SUFFIXES = frozenset((
    "aac", "aif", "aifc", "aiff", "au", "caf", "flac", "m4a", "m4b", "mka", "mp2", "mp3", "mp4",
    "oga", "ogg", "opus", "rf64", "snd", "w64", "wav", "wave", "weba", "webm",
))  # fmt: skip
METADATA_NAMES = ("metadata.csv", "metadata.jsonl")


def list_recordings(data: Any) -> Listing:
    """The recordings of `data`, in an order that depends on nothing but their paths.

    `data` is a folder with one folder per class, perhaps below folders `train`, `test`, …, a folder
    with `metadata.csv` or `metadata.jsonl` (Hugging Face audiofolder), a CSV or JSON Lines
    manifest, a Parquet file or a folder of them, or a Hugging Face `datasets.Dataset`. See
    docs/data-sets.md.

    Raises SettingError if it is none of these, DataError if its metadata cannot be read.
    """
    if not isinstance(data, (str, os.PathLike)):
        listing = list_dataset(data)
    else:
        listing = _list_path(Path(data))
    if listing.read is None:  # Rows of a table keep their order: they may share a path.
        order = sorted(
            range(len(listing.recordings)),
            key=lambda i: os.fsencode(listing.recordings[i].path),
        )
        listing.recordings = [listing.recordings[i] for i in order]
        listing.files = [listing.files[i] for i in order]
    for i, recording in enumerate(listing.recordings):
        recording.id = i
    listing.notices += similar_labels({recording.label for recording in listing.recordings})
    return listing


def _list_path(path: Path) -> Listing:
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        raise SettingError("DATA", str(path), "there is no such file or folder") from None
    except OSError as error:
        raise SettingError("DATA", str(path), f"cannot be read: {error.strerror}") from None
    if is_folder:
        for name in METADATA_NAMES:
            if (path / name).is_file():
                return _list_manifest(path / name)
        listing = _list_folder(path)
        if listing.recordings or not list(path.glob("*.parquet")):
            return listing
    elif path.suffix.lower() in (".csv", ".jsonl"):
        return _list_manifest(path)
    elif path.suffix.lower() != ".parquet":
        rule = "must be a folder, or a .csv, .jsonl or .parquet file"
        raise SettingError("DATA", str(path), rule)
    return list_parquet(path)


# --- a folder per class ---


def _list_folder(root: Path) -> Listing:
    listing = Listing(str(root), [], [])

    def add(relative: str, file: str, status: os.stat_result | None, error: str) -> None:
        label = relative.split("/", 1)[0] if "/" in relative else ""
        recording = Recording(0, relative, label, relative)
        _set_file(recording, status, error or ("" if label else "is in no class folder"))
        listing.recordings.append(recording)
        listing.files.append(file)

    # A stack of its own: folders may be nested more deeply than Python calls.
    folders: list[tuple[str, str, frozenset[tuple[int, int]]]] = [("", str(root), frozenset())]
    while folders:
        prefix, folder, above = folders.pop()
        try:
            status = Path(folder).stat()
            entries = list(os.scandir(folder))
        except OSError as error:
            add(prefix.rstrip("/") or ".", folder, None, f"folder cannot be read: {error.strerror}")
            continue
        above |= {(status.st_dev, status.st_ino)}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            relative = prefix + entry.name
            is_audio = entry.name.rpartition(".")[2].lower() in AUDIO_SUFFIXES
            if _is_folder(entry):
                if is_audio:
                    add(relative, entry.path, None, "is a folder, not a recording")
                if entry.is_symlink() and _identity(entry) in above:
                    listing.notices.append(f"{relative} leads back to a folder above it: left out")
                else:
                    folders.append((f"{relative}/", entry.path, above))
            elif is_audio:
                status_or_none, error_text = _status(entry.path)
                add(relative, entry.path, status_or_none, error_text)
            else:
                listing.n_ignored += 1
    _take_split_folders(listing)
    return listing


def _take_split_folders(listing: Listing) -> None:
    """Where all folders are parts and the classes lie in them, the parts are the given split."""
    folders = [r.path.split("/")[:-1] for r in listing.recordings]
    tops = {inner[0] for inner in folders if inner}
    # A class may be called "train": then its recordings lie in it directly.
    nested = any(len(inner) > 1 for inner in folders)
    if not nested or any(top.lower() not in SPLIT_NAMES for top in tops):
        return
    for recording, inner in zip(listing.recordings, folders, strict=True):
        recording.split, recording.label = (*inner[:2], "", "")[:2]
        if not recording.label:
            _set_file(recording, None, recording.error or "is in no class folder")
    names = ", ".join(sorted(tops))
    listing.notices.append(f"folders {names} are taken as the split, those in them as the classes")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of symbolic links
        return False


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    status = entry.stat()
    return status.st_dev, status.st_ino


def _status(file: str) -> tuple[os.stat_result | None, str]:
    """The file's status, and why it is no recording ("" if it may be one)."""
    try:
        status = Path(file).stat()
    except FileNotFoundError:
        return None, "is a symbolic link to nothing" if Path(file).is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        return None, getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(status.st_mode):
        return status, "is a folder, not a recording"
    if not stat.S_ISREG(status.st_mode):
        return status, "is a pipe, socket or device, not a recording"
    return status, ""


def _set_file(recording: Recording, status: os.stat_result | None, error: str) -> None:
    if status is not None:
        recording.n_bytes, recording.mtime_ns = status.st_size, status.st_mtime_ns
    if error:
        recording.status, recording.error = "failed", error


# --- CSV and JSON Lines ---


def _list_manifest(file: Path) -> Listing:
    root = file.parent
    listing = Listing(str(root), [], [])
    read = _read_jsonl if file.suffix.lower() == ".jsonl" else _read_csv
    path_column = ""
    for number, row in read(file):
        path_column = path_column or _path_column(file, row)
        given = row.pop(path_column, "")
        recording = recording_of_row(given, row)
        on_disk = str(root / given)
        status, error = _status(on_disk) if given else (None, f"row {number} names no file")
        _set_file(recording, status, error or recording.error)
        listing.recordings.append(recording)
        listing.files.append(on_disk)
    return listing


def _path_column(file: Path, row: dict[str, str]) -> str:
    found = [name for name in PATH_COLUMNS if name in row]
    if not found or "label" not in row:
        missing = "label" if found else " or ".join(PATH_COLUMNS)
        raise DataError(f"{file}: has no column {missing}; its columns are {', '.join(row)}")
    return found[0]


def _read_csv(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    # surrogateescape: a file name need not be valid UTF-8.
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
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


def _read_jsonl(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{file}: line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{file}: line {number} is not a JSON object")
            yield number, {name: as_text(value) for name, value in row.items()}
