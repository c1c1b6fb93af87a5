"""The files of a feature store: what their descriptions hold, and whether they are whole.

docs/internals/store.md describes the format.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.engine.dataset import checksum
from audiocls.errors import DataError
from audiocls.files import read_json
from audiocls.parallel import for_each
from audiocls.schema import Rule, at_least, one_of, optional, validate

FORMAT = "audiocls-store"
VERSION = 3
# What is written where recordings have one label each. 1, without checksums, is read as well.
PLAIN_VERSION = 2

_FILE = {"bytes": at_least(0), "xxh128": str}
# What the last line of a shard's recordings.jsonl says; store.json adds that file itself.
SHARD_FILES = {"npy": _FILE, "clips.npy": _FILE, "offsets.npy": optional(_FILE)}
# unfinished.json, and how store.json begins.
_ABOUT = {
    "format": one_of(FORMAT),
    "version": Rule(int, f"this program reads 1 to {VERSION}; extract with --restart",
                    lambda version: 1 <= version <= VERSION),
    "engine": str,
    "feature": str,
    "spec": {str: object},
    "clip_s": at_least(0, float),
    "hop_s": Rule(float, "must be > 0", lambda s: s > 0),
    "short": str,
    "min_rms": float,
    "dtype": one_of("float32", "float16", "int16"),
    "data": str,
    # Where clips have several labels; absent where they have one.
    "task": optional(one_of("one", "several")),
    "label_separator": optional(str),
    # Where clips have the labels of stretches, which are in events.csv.
    "min_overlap": optional(Rule(float, "must be above 0 and at most 1", lambda x: 0 < x <= 1)),
    "background": optional(str),
}  # fmt: skip
UNFINISHED = tuple(_ABOUT)
_STORE = {
    **_ABOUT,
    "classes": Rule([str], "must differ", lambda names: len(set(names)) == len(names)),
    "counts": {
        name: at_least(0)
        for name in ("recordings", "ok", "skipped", "failed", "clips", "silent_clips")
    },
    "shape": Rule([at_least(0)], "must be [clips, frames, features] or [frames, features]",
                  lambda shape: len(shape) in (2, 3) and all(shape[1:])),
    "shards": [{"clips": at_least(0), "rows": at_least(0),
                "files": optional({**SHARD_FILES, "recordings.jsonl": _FILE})}],
    "files": optional({"recordings.csv": _FILE, "events.csv": optional(_FILE)}),
}  # fmt: skip
# Which of how many parts of a store, and what tells whether the others are of the same data.
_PART = {
    **_STORE,
    "part": {"number": at_least(1), "of": at_least(1), "first_shard": at_least(0), "listing": str},
}
_SHAPES = {"store.json": _STORE, "part.json": _PART, "unfinished.json": _ABOUT}

REMEDY = "the same `audiocls extract` makes it again"


def locate_shard_file(store: Path, number: int, kind: str) -> Path:
    """A file of shard `number`; `kind` is npy, clips.npy, offsets.npy or recordings.jsonl."""
    return store / "shards" / f"{number:05}.{kind}"


def read_about(file: Path) -> dict[str, Any]:
    """Reads store.json, part.json or unfinished.json.

    Raises:
        DataError: the file does not hold what its name says.
    """
    about = read_json(file)
    validate(about, _SHAPES[file.name], str(file))
    if file.name != "unfinished.json":
        for total, key in ((about["shape"][0], "rows"), (about["counts"]["clips"], "clips")):
            if (found := sum(shard[key] for shard in about["shards"])) != total:
                raise DataError(f"{file}: its shards have {found} {key}, not {total}")
        listed = [about.get("files"), *(shard.get("files") for shard in about["shards"])]
        if about["version"] > 1 and None in listed:
            raise DataError(f"{file}: is damaged, it has no checksums of its files")
    assert isinstance(about, dict)
    return about


def verify(
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    done: str = "store.json",
) -> dict[str, str]:
    """Finds what is damaged in a finished store or part; reads every byte.

    A store of version 1 has no checksums: only its sizes count.

    Args:
        path: the folder.
        progress: called with files read, of how many.
        done: the description in it: store.json, or part.json.

    Returns:
        Damaged files, and what is wrong with each.

    Raises:
        DataError: as `open_store`.
    """
    files = list_files(read_about(path / done))

    def wrong_with(item: tuple[str, dict[str, Any] | None]) -> str:
        return find_damage(path / item[0], item[1], whole=True)

    found = for_each(wrong_with, list(files.items()), progress)
    return {name: wrong for name, wrong in zip(files, found, strict=True) if wrong}


def list_files(about: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """The files of a store or part, with length and checksum where its description has them."""
    first = about["part"]["first_shard"] if "part" in about else 0
    kinds = ["npy", "clips.npy"]
    kinds += ["offsets.npy"] if about["clip_s"] == 0 else []
    kinds += ["recordings.jsonl"] if about["version"] > 1 else []
    tables = about.get("files") or {}
    files = {"recordings.csv": tables.get("recordings.csv")}
    if about.get("min_overlap") is not None:
        files["events.csv"] = tables.get("events.csv")
    for number, shard in enumerate(about["shards"], first):
        known = shard.get("files") or {}
        files |= {f"shards/{number:05}.{kind}": known.get(kind) for kind in kinds}
    return files


def find_damage(file: Path, expected: dict[str, Any] | None, whole: bool) -> str:
    """What is wrong with a file, as far as its length tells, or its bytes as a `whole`."""
    try:
        status = file.stat()
        n_bytes = status.st_size
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if expected is None:
            return ""
        if n_bytes != expected["bytes"]:
            return f"has {n_bytes} bytes, not {expected['bytes']} as it was made with"
        if whole and checksum(file)[1] != expected["xxh128"]:
            return "has other contents than it was made with: its checksum differs"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""


def describe_file(file: Path) -> dict[str, Any]:
    """Length and checksum of a file, as store.json has them."""
    n_bytes, xxh128 = checksum(file)
    return {"bytes": n_bytes, "xxh128": xxh128}


def count_rows(file: Path) -> int:
    """Rows of an array that is a whole file. Raises DataError if it is damaged."""
    return int(load_array(file).shape[0])


def load_array(file: Path) -> NDArray[Any]:
    """An array that is a whole file, mapped into memory. Raises DataError if it is damaged."""
    try:
        rows: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: is missing or damaged ({error}); {REMEDY}") from None
    return rows
