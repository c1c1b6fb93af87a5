"""A data set in one of the usual layouts → its recordings, each with a label and a group.

What can be seen without opening a file is found here; a recording that cannot be used for such a
reason stays in the list, so that it is reported like one that cannot be decoded.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from audiocls.data.labelling import Labelling
from audiocls.data.listing import labels, notices
from audiocls.data.listing.annotated import read_beside, read_folder, take_events
from audiocls.data.listing.folder import NO_FOLDER, list_folder, take_split_folders
from audiocls.data.listing.huggingface import list_dataset
from audiocls.data.listing.manifest import (
    METADATA_NAMES,
    find_table,
    list_manifest,
    list_table,
)
from audiocls.data.listing.on_disk import OUTSIDE, is_inside, set_file
from audiocls.data.listing.parquet import list_parquet
from audiocls.data.listing.remote import list_remote
from audiocls.data.recordings import Listing
from audiocls.data.tables import SUFFIXES
from audiocls.errors import SettingError
from audiocls.url import is_url

_PLAIN = Labelling()


def list_recordings(
    data: Any, *, labelling: Labelling = _PLAIN, inside_only: bool = False
) -> Listing:
    """The recordings of `data`, in an order that depends on nothing but their paths.

    `data` is a folder with one folder per class, perhaps below folders `train`, `test`, …; a folder
    with `metadata.csv` or `metadata.jsonl` (Hugging Face audiofolder); a CSV or JSON Lines
    manifest; a Parquet file or a folder of them; the URL of a folder or manifest; or a Hugging Face
    `datasets.Dataset`. See docs/guides/your-data.md. labelling: where the labels stand, if not
    there. If
    `inside_only`, a recording that lies outside of it, by a link or by the path that a table gives,
    is failed.

    Raises SettingError if it is none of these, or for labels that cannot be where they are said to
    be, DataError if its metadata cannot be read.
    """
    if not isinstance(data, (str, os.PathLike)):
        listing = list_dataset(data, inside_only)
    elif is_url(data):
        listing = list_remote(str(data), labelling)
    else:
        listing = _list_path(Path(data), labelling, inside_only)
    if labelling.table is not None:
        if listing.no_label != NO_FOLDER:
            raise SettingError("table", labelling.table, "is for a folder of recordings as DATA")
        listing = list_table(listing, find_table(labelling.table, listing.root), labelling)
    if inside_only:
        for recording, file in zip(listing.recordings, listing.files, strict=True):
            if file is not None and not recording.error and not is_inside(file, listing.root):
                set_file(recording, None, OUTSIDE)
    # Rows of a table with bytes keep their order: a path is no name there.
    if listing.read is None or is_url(data):
        order = range(len(listing.recordings))
        listing.take(sorted(order, key=lambda i: _bytes(listing.recordings[i].path)))
    labels.exclude(listing, labelling.exclude)
    _annotate(listing, labelling)
    labels.finish(listing, labelling)
    if listing.no_label == NO_FOLDER and not listing.annotations:
        listing.notices += notices.notice_empty_folders(listing)
        listing.notices += notices.notice_label_hints(listing)
    labels.keep_classes(listing, labelling.classes)
    listing.notices += notices.notice_left_out(listing)
    for i, recording in enumerate(listing.recordings):
        recording.id = i
    return listing


def _annotate(listing: Listing, labelling: Labelling) -> None:
    """Gives recordings the labels of a column or an expression, or the events of annotations."""
    by = labelling.label_by
    if labelling.annotations is not None:
        read_folder(listing, labelling)
    elif by is None and listing.no_label == NO_FOLDER and listing.read is None:
        read_beside(listing, labelling)
    elif by is not None and by not in listing.label_columns:
        labels.label_by(listing, by)
    if listing.annotations:
        take_events(listing, labelling)


def _bytes(path: str) -> bytes:
    """What a path is sorted by: its bytes, also of one that no file can have."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogatepass")


def _list_path(path: Path, labelling: Labelling, inside_only: bool) -> Listing:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise SettingError("DATA", str(path), "there is no such file or folder") from None
    except OSError as error:
        raise SettingError("DATA", str(path), f"cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        listing = list_folder(path, inside_only)
        for name in METADATA_NAMES if labelling.table is None else ():
            if (path / name).is_file():
                return list_table(listing, path / name, labelling)
        if listing.recordings or not list(path.glob("*.parquet")):
            if labelling.table is None:
                take_split_folders(listing)
            return listing
    elif path.suffix.lower() in SUFFIXES and stat.S_ISREG(mode):
        return list_manifest(path, labelling)
    elif path.suffix.lower() != ".parquet" or not stat.S_ISREG(mode):
        rule = f"must be a folder, or a {', '.join(SUFFIXES)} or .parquet file"
        raise SettingError("DATA", str(path), rule)
    return list_parquet(path, inside_only)
