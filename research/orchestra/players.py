"""Recordings by other players: which of them may train, whose they are, and that they are those.

`players.csv` is the table of sources: use (`train` if the licence permits a model that is given
away, else `test`), licence, who is to be named, public repository and commit.
research/notes/sources.md says how the recordings were cut.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from audiocls.classifier.answers import UNKNOWN

TABLE = Path(__file__).with_name("players.csv")
ATTRIBUTION = "CC BY"  # licences of this name ask for it


def sources() -> dict[str, dict[str, str]]:
    """The rows of `players.csv`, by source."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["source"]: row for row in csv.DictReader(file)}


def attributions() -> dict[str, str]:
    """Who is to be named wherever the model goes, by source."""
    return {
        name: row["who"]
        for name, row in sources().items()
        if row["use"] == "train" and row["licence"].startswith(ATTRIBUTION)
    }


def players(folder: Path, use: str) -> Iterator[dict[str, str]]:
    """The rows of a manifest: path, label, group, source, family.

    folder: with `metadata.csv` and `SHA256SUMS`, as research/notes/sources.md has it. use: train,
    test or all. Every recording is a group of its own, for a whole source is left out to measure.
    Raises ValueError for a source or licence that `players.csv` does not have, and for a recording
    that is not the one of its checksum; the name of the file is in the message.
    """
    known, sums = sources(), checksums(folder)
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name, source = row["file_name"], known.get(row["source"])
            if source is None or source["licence"] != row["licence"]:
                about = f"{row['source']}, {row['licence']}"
                raise ValueError(f"{folder / name}: {TABLE.name} has no such source: {about}")
            if use not in (source["use"], "all"):
                continue
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sums.get(name):
                raise ValueError(f"{folder / name}: is not the recording of its checksum")
            yield {
                "path": str((folder / name).resolve()),
                "label": row["label"],
                "group": f"players/{Path(name).with_suffix('').as_posix()}",
                "source": UNKNOWN if row["label"] == UNKNOWN else row["source"],
                "family": row["source"],
            }


def checksums(folder: Path) -> dict[str, str]:
    """The lines of SHA256SUMS: file → checksum."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name.lstrip("*"): sha for sha, name in (line.split(maxsplit=1) for line in lines)}
