"""A shard: a piece of a store, made whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from audiocls.data.recordings import RESULT_COLUMNS, Recording
from audiocls.parallel import for_each
from audiocls.schema import validate
from audiocls.store.format import (
    SHARD_FILES,
    count_rows,
    describe_file,
    find_damage,
    locate_shard_file,
)

# What the engine writes of a recording; the rest is known before a shard is made.
_OUTCOME = frozenset(RESULT_COLUMNS) - {"n_bytes", "mtime_ns"}


@dataclass(frozen=True)
class ShardRecord:
    """What the recordings.jsonl of a finished shard says."""

    outcomes: list[dict[str, Any]]  # of each recording: its id, and fields of `Recording`
    files: dict[str, Any]  # kind of file: length and checksum

    def update(self, recordings: list[Recording], first: int) -> None:
        """Put what became of its recordings into a list; `first` is the id of the first there."""
        for outcome in self.outcomes:
            i = outcome["id"] - first
            recordings[i] = replace(recordings[i], **outcome)


class Shard(NamedTuple):
    """A piece of a store: the clips of some of its recordings, in files of its own.

    The engine writes the files. recordings.jsonl comes last and says that the shard is finished.
    """

    number: int
    first: int  # id of its first recording
    end: int  # one past the id of its last

    @property
    def n_recordings(self) -> int:
        """How many recordings it has."""
        return self.end - self.first

    def locate(self, store: Path, kind: str) -> Path:
        """Find a file of this shard in a store; kinds as in `locate_shard_file`."""
        return locate_shard_file(store, self.number, kind)

    def read(self, store: Path) -> ShardRecord | None:
        """Read what a finished shard says of itself, without a look at its other files.

        Returns:
            None if the shard is absent, damaged, or of a version without checksums.
        """
        try:
            text = self.locate(store, "recordings.jsonl").read_text(encoding="utf-8")
            *outcomes, last = map(json.loads, text.splitlines())
            ids = [outcome["id"] for outcome in outcomes]
            known = all(_OUTCOME.issuperset(outcome) for outcome in outcomes)
            if text.endswith("\n") and ids == list(range(self.first, self.end)) and known:
                return ShardRecord(outcomes, validate(last["files"], SHARD_FILES, "files"))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return None

    def is_sound(self, store: Path) -> bool:
        """Check that the shard is finished and that every byte of its files is right."""
        found = self.read(store)
        return found is not None and all(
            not find_damage(self.locate(store, kind), expected, whole=True)
            for kind, expected in found.files.items()
        )

    def forget(self, store: Path) -> None:
        """Make the shard unfinished: the next run makes it again."""
        self.locate(store, "recordings.jsonl").unlink(missing_ok=True)

    def describe(self, store: Path, found: ShardRecord) -> dict[str, Any]:
        """Describe the finished shard as store.json does."""
        own = describe_file(self.locate(store, "recordings.jsonl"))
        return {
            "clips": sum(outcome["n_clips"] for outcome in found.outcomes),
            "rows": count_rows(self.locate(store, "npy")),
            "files": {**found.files, "recordings.jsonl": own},
        }


def find_missing(store: Path, shards: Sequence[Shard]) -> list[Shard]:
    """Find the shards that are not there or damaged. Every byte is read."""
    sound = for_each(lambda shard: shard.is_sound(store), shards)
    return [shard for shard, is_sound in zip(shards, sound, strict=True) if not is_sound]
