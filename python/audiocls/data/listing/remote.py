"""A folder or manifest behind a URL, such as s3://bucket/recordings, by fsspec (extra `remote`)."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from audiocls.data.labelling import Labelling
from audiocls.data.listing.folder import (
    AUDIO_SUFFIXES,
    NO_FOLDER,
    find_top_folder,
    take_split_folders,
)
from audiocls.data.listing.manifest import METADATA_NAMES, Lookup, list_rows
from audiocls.data.listing.on_disk import Status, set_file
from audiocls.data.listing.table import LARGEST_CELL, serialize_reads
from audiocls.data.recordings import Listing, Recording
from audiocls.data.tables import SUFFIXES, detect_encoding
from audiocls.errors import condense_message
from audiocls.url import connect, translate_error

# What file systems call the time of a change.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


def list_remote(url: str, labelling: Labelling) -> Listing:
    """The recordings of a folder of class folders, a folder with metadata or a manifest at `url`.

    One listing tells sizes and times; a recording is read whole when its turn comes. A manifest
    names what lies beside and below it. Raises SettingError if there is nothing at `url` or nothing
    that can reach it, DataError if it cannot be listed.
    """
    fs, root = connect("DATA", url)
    try:
        is_manifest = url.endswith(SUFFIXES)
        folder = root.rpartition("/")[0] if is_manifest else root
        found = {
            path.removeprefix(f"{folder}/"): info
            for path, info in fs.find(folder, detail=True).items()
        }
        manifest = root.rpartition("/")[2] if is_manifest else ""
        if not is_manifest and labelling.table is None:
            manifest = next((name for name in METADATA_NAMES if name in found), "")
        if manifest not in ("", *found) or not found:
            raise FileNotFoundError
        table = fs.cat_file(f"{folder}/{manifest}") if manifest else b""
    except Exception as error:  # what a file system raises is its own affair
        raise translate_error("DATA", url, error, "listed") from None

    base = fs.unstrip_protocol(folder)
    listing = _folder(base, found)
    # In the order of the listing, whatever becomes of it.
    own = list(listing.recordings)

    def read(i: int) -> tuple[bytes, str]:
        recording = own[i]
        if recording.n_bytes > LARGEST_CELL:
            raise OSError(f"is larger than {LARGEST_CELL} bytes")
        try:
            data: bytes = fs.cat_file(f"{folder}/{recording.path}")
        except Exception as error:
            raise OSError(f"cannot be read: {condense_message(error)}") from None
        if len(data) != recording.n_bytes:
            raise OSError("changed after it was listed")
        return data, recording.path.rpartition("/")[2]

    listing.read = read if fs.async_impl else serialize_reads(read)
    if not manifest:
        if labelling.table is None:
            take_split_folders(listing)
        return listing
    encoding = detect_encoding(table[:4], labelling.encoding)
    # As on a disk: a file name need not be of the encoding.
    text = io.TextIOWrapper(io.BytesIO(table), encoding, "surrogateescape", newline="")
    lookup = Lookup(listing)
    named = list_rows(f"{base}/{manifest}", text, base, lookup.locate, labelling)
    return lookup.finish(named, manifest, all_of_it=not is_manifest)


def _folder(base: str, found: dict[str, Any]) -> Listing:
    listing = Listing(base, no_label=NO_FOLDER)
    for path, info in found.items():
        if any(name.startswith(".") for name in path.split("/")):
            listing.n_hidden += 1
            continue
        if path.rpartition(".")[2].lower() not in AUDIO_SUFFIXES:
            listing.others.append(path)
            continue
        recording = Recording(0, path, find_top_folder(path), path)
        set_file(recording, _status(info), "")
        listing.add(recording, None)
    return listing


def _status(info: dict[str, Any]) -> Status:
    time = next((info[key] for key in _TIMES if info.get(key)), 0)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        time = time.replace(tzinfo=time.tzinfo or UTC)
        since = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return info["size"], 1000 * since
    return info["size"], int(time * 10**9)
