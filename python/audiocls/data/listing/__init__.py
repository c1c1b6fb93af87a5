"""A data set in one of the usual layouts → its recordings, each with a label and a group.

What can be seen without opening a file is found here; a recording that cannot be used for such a
reason stays in the list, so that it is reported like one that cannot be decoded.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from audiocls.data.listing.folder import list_folder
from audiocls.data.listing.huggingface import list_dataset
from audiocls.data.listing.manifest import METADATA_NAMES, list_manifest
from audiocls.data.listing.on_disk import OUTSIDE, is_inside, set_file
from audiocls.data.listing.parquet import list_parquet
from audiocls.data.listing.remote import list_remote
from audiocls.data.recordings import Listing, separate_labels, similar_labels, split_label
from audiocls.errors import SettingError
from audiocls.url import is_url


def list_recordings(
    data: Any, *, inside_only: bool = False, label_separator: str | None = None
) -> Listing:
    """The recordings of `data`, in an order that depends on nothing but their paths.

    `data` is a folder with one folder per class, perhaps below folders `train`, `test`, …, a folder
    with `metadata.csv` or `metadata.jsonl` (Hugging Face audiofolder), a CSV or JSON Lines
    manifest, a Parquet file or a folder of them, the URL of a folder or manifest, or a Hugging Face
    `datasets.Dataset`. See docs/data-sets.md. If `inside_only`, a recording that lies outside of
    it, by a link or by the path that a table gives, is failed. label_separator: what stands between
    the labels of a recording that has several, such as ";".

    Raises SettingError if it is none of these, or for an impossible separator, DataError if its
    metadata cannot be read.
    """
    if not isinstance(data, (str, os.PathLike)):
        listing = list_dataset(data, inside_only)
    elif is_url(data):
        listing = list_remote(str(data))
    else:
        listing = _list_path(Path(data), inside_only)
    if inside_only:
        for recording, file in zip(listing.recordings, listing.files, strict=True):
            if file is not None and not recording.error and not is_inside(file, listing.root):
                set_file(recording, None, OUTSIDE)
    # Rows of a table keep their order: they may share a path.
    if listing.read is None or is_url(data):
        order = sorted(
            range(len(listing.recordings)),
            key=lambda i: _bytes(listing.recordings[i].path),
        )
        listing.recordings = [listing.recordings[i] for i in order]
        listing.files = [listing.files[i] for i in order]
    for i, recording in enumerate(listing.recordings):
        recording.id = i
    separate_labels(listing, label_separator)
    listing.notices += similar_labels(
        {
            label
            for recording in listing.recordings
            for label in split_label(recording.label, label_separator)
        }
    )
    return listing


def _bytes(path: str) -> bytes:
    """What a path is sorted by: its bytes, also of one that no file can have."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogatepass")


def _list_path(path: Path, inside_only: bool) -> Listing:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise SettingError("DATA", str(path), "there is no such file or folder") from None
    except OSError as error:
        raise SettingError("DATA", str(path), f"cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        for name in METADATA_NAMES:
            if (path / name).is_file():
                return list_manifest(path / name)
        listing = list_folder(path, inside_only)
        if listing.recordings or not list(path.glob("*.parquet")):
            return listing
    elif path.suffix.lower() in (".csv", ".jsonl") and stat.S_ISREG(mode):
        return list_manifest(path)
    elif path.suffix.lower() != ".parquet" or not stat.S_ISREG(mode):
        rule = "must be a folder, or a .csv, .jsonl or .parquet file"
        raise SettingError("DATA", str(path), rule)
    return list_parquet(path, inside_only)
