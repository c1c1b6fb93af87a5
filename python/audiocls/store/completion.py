"""The end of an extraction: what the shards say is gathered, and the description written last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiocls.data.recordings import EVENTS, Recording, write_recordings
from audiocls.errors import DataError
from audiocls.files import escape, write_csv, write_json
from audiocls.store.format import describe_file, load_array, locate_shard_file, read_about
from audiocls.store.labels import parse_coverage
from audiocls.store.shard import Shard

AGAIN = "run the same `audiocls extract` again"


def gather(out: Path, recordings: list[Recording], shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """Read what became of the recordings from their finished shards.

    Args:
        out: the folder of the store or part.
        recordings: those of all `shards`, one after another; their results are put in.
        shards: in order.

    Returns:
        What store.json says of each shard.

    Raises:
        DataError: a shard is damaged.
    """
    described = []
    for shard in shards:
        found = shard.read(out)
        if found is None:
            raise DataError(f"{shard.locate(out, 'recordings.jsonl')}: is damaged; {AGAIN}")
        found.update(recordings, shards[0].first)
        described.append(shard.describe(out, found))
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
    write_recordings(out / "recordings.csv", recordings)
    tables = ["recordings.csv"] + ([EVENTS] if about.get("min_overlap") is not None else [])
    about = {
        **about,
        "classes": _classes(out, about, recordings, len(shards)),
        "counts": {
            "recordings": len(recordings),
            **{s: sum(r.status == s for r in recordings) for s in ("ok", "skipped", "failed")},
            "clips": sum(r.n_clips for r in recordings),
            "silent_clips": sum(r.n_silent for r in recordings),
        },
        "shape": [sum(s["rows"] for s in shards), *row_shape],
        "files": {name: describe_file(out / name) for name in tables},
        "shards": shards,
    }
    write_json(out / done, about)
    (out / "unfinished.json").unlink()


def _classes(
    out: Path, about: dict[str, Any], recordings: Sequence[Recording], n_shards: int
) -> list[str]:
    """The labels that some clip has."""
    coverage = parse_coverage(about)
    if coverage is None:
        separator = about.get("label_separator")
        return sorted({label for r in recordings if r.n_clips for label in r.labels(separator)})
    first = about["part"]["first_shard"] if "part" in about else 0
    files = [locate_shard_file(out, first + i, "clips.npy") for i in range(n_shards)]
    clips = np.concatenate([np.empty((0, 2), np.int64), *map(load_array, files)])
    before = recordings[0].id if recordings else 0
    clips[:, 0] -= before
    names = sorted(
        {label for r in recordings for label in r.labels()} | {coverage.background or ""}
    )
    matrix = coverage.matrix(recordings, clips, names)
    return [name for i, name in enumerate(names) if matrix[:, i].any()]


def write_failures(out: Path, recordings: Sequence[Recording]) -> None:
    """Names in failures.csv what failed, and rows of annotations that were left out.

    Without any there is no such file.
    """
    (out / "failures.csv").unlink(missing_ok=True)  # of an earlier run
    rows = [
        (r.path, reason)
        for r in recordings
        for reason in (*([r.error] if r.status == "failed" else []), *r.left_out)
    ]
    if rows:
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


def describe_losses(
    recordings: Sequence[Recording], separator: str | None = None, classes: bool = True
) -> str:
    """Describes a loss of more than single recordings: most of them, or all of one class.

    Args:
        recordings: of a store or part.
        separator: between the labels of a recording.
        classes: whether the loss of a class counts.

    Returns:
        A sentence; "" if no more than single recordings failed.
    """
    failed = [r for r in recordings if r.status == "failed"]
    there = {label for r in recordings if r.status != "failed" for label in r.labels(separator)}
    gone = {label for r in failed for label in r.labels(separator) if label}
    lost = sorted(gone - there) if classes else []
    if not lost and 2 * len(failed) <= len(recordings):
        return ""
    example = next(r for r in failed if not lost or lost[0] in r.labels(separator))
    names = ", ".join(map(escape, lost[:5])) + (", …" if len(lost) > 5 else "")
    among = f", all of class {names} among them" if lost else ""
    return (
        f"{len(failed)} of {len(recordings)} recordings failed{among}, for instance "
        f"{escape(example.path)}: {example.error}"
    )


def notice_lost_classes(
    out: Path, recordings: Sequence[Recording], separator: str | None
) -> list[str]:
    """A notice if no clip of a finished store has a label, though no recording failed."""
    there = read_about(out / "store.json")["classes"]
    labels = {label for r in recordings if r.status != "failed" for label in r.labels(separator)}
    lost = sorted(labels.difference(there))
    said = f"no clip has the label {', '.join(lost)}: see recordings.csv, `short` and `hop_s`"
    return [said] if lost else []
