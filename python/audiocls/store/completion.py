"""The end of an extraction: what the shards say is gathered, and the description written last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiocls.data.recordings import Recording, split_label, write_recordings
from audiocls.engine.dataset import checksum
from audiocls.errors import DataError
from audiocls.files import escape, write_csv, write_json
from audiocls.store.format import n_rows, shard_file
from audiocls.store.resume import made

AGAIN = "run the same `audiocls extract` again"


def gather(
    out: Path, recordings: Sequence[Recording], shards: list[tuple[int, int, int]]
) -> list[dict[str, Any]]:
    """Tells the recordings what became of them; gives what store.json says of each shard.

    A shard is its number, its first recording and one past its last, by their ids; `recordings` are
    those of all `shards`, one after another.
    """
    described, before = [], shards[0][1] if shards else 0
    for number, start, end in shards:
        found = made(out, number, range(start, end))
        if found is None:
            raise DataError(f"{shard_file(out, number, 'recordings.jsonl')}: is damaged; {AGAIN}")
        for outcome in found.outcomes:
            recording = recordings[outcome.pop("id") - before]
            for name, value in outcome.items():
                setattr(recording, name, value)
        own = _file(shard_file(out, number, "recordings.jsonl"))
        described.append(
            {
                "clips": sum(outcome["n_clips"] for outcome in found.outcomes),
                "rows": n_rows(shard_file(out, number, "npy")),
                "files": {**found.files, "recordings.jsonl": own},
            }
        )
    return described


def complete(
    out: Path,
    done: str,
    about: dict[str, Any],
    recordings: Sequence[Recording],
    shards: list[dict[str, Any]],
    row_shape: list[int],
) -> None:
    """Writes recordings.csv, then the description `done` that makes the folder complete."""
    separator = about.get("label_separator")
    write_recordings(out / "recordings.csv", recordings)
    about = {
        **about,
        "classes": sorted(
            {label for r in recordings if r.n_clips for label in split_label(r.label, separator)}
        ),
        "counts": {
            "recordings": len(recordings),
            **{s: sum(r.status == s for r in recordings) for s in ("ok", "skipped", "failed")},
            "clips": sum(r.n_clips for r in recordings),
            "silent_clips": sum(r.n_silent for r in recordings),
        },
        "shape": [sum(s["rows"] for s in shards), *row_shape],
        "files": {"recordings.csv": _file(out / "recordings.csv")},
        "shards": shards,
    }
    write_json(out / done, about)
    (out / "unfinished.json").unlink()


def write_failures(out: Path, recordings: Sequence[Recording]) -> None:
    """Names in failures.csv what failed; without a failure there is no such file."""
    failed = [r for r in recordings if r.status == "failed"]
    (out / "failures.csv").unlink(missing_ok=True)  # of an earlier run
    if failed:
        rows = ((r.path, r.error) for r in failed)
        write_csv(out / "failures.csv", ("path", "reason"), rows)


def check_some_clip(recordings: Sequence[Recording], see: str) -> None:
    """Raises DataError if no recording gives a clip; `see` is where to look if any failed."""
    if not any(r.n_clips for r in recordings):
        where = f"; see {see}" if any(r.status == "failed" for r in recordings) else ""
        example = next(r for r in recordings if r.error)
        raise DataError(
            f"none of {len(recordings)} recordings gives a clip, for instance "
            f"{escape(example.path)}: {example.error}{where}"
        )


def loss(
    recordings: Sequence[Recording], separator: str | None = None, classes: bool = True
) -> str:
    """What failed that is more than single recordings: most of them or, if `classes` count, all of
    one class; "" if nothing did. separator: between the labels of a recording."""
    failed = [r for r in recordings if r.status == "failed"]
    there = {
        label
        for r in recordings
        if r.status != "failed"
        for label in split_label(r.label, separator)
    }
    gone = {label for r in failed for label in split_label(r.label, separator) if label}
    lost = sorted(gone - there) if classes else []
    if not lost and 2 * len(failed) <= len(recordings):
        return ""
    example = next(r for r in failed if not lost or lost[0] in split_label(r.label, separator))
    names = ", ".join(map(escape, lost[:5])) + (", …" if len(lost) > 5 else "")
    among = f", all of class {names} among them" if lost else ""
    return (
        f"{len(failed)} of {len(recordings)} recordings failed{among}, for instance "
        f"{escape(example.path)}: {example.error}"
    )


def _file(file: Path) -> dict[str, Any]:
    """Length and checksum of a file, as store.json has them."""
    n_bytes, xxh128 = checksum(file)
    return {"bytes": n_bytes, "xxh128": xxh128}
