"""What is in the folder of a store or of a part of one already, and whether it can be gone on with.

`done` is the description that makes the folder complete: store.json, or part.json of a part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from audiocls.data.recordings import EVENTS, Recording, iterate_recordings, write_recordings
from audiocls.engine.dataset import FileLock
from audiocls.errors import DataError, SettingError
from audiocls.files import escape, write_json
from audiocls.store.format import (
    UNFINISHED,
    locate_shard_file,
    read_about,
    verify,
)


@contextlib.contextmanager
def open_locked(
    out: Path,
    done: str,
    about: dict[str, Any],
    recordings: Sequence[Recording],
    restart: bool,
    notice: Callable[[str], None],
) -> Iterator[None]:
    """Locks the folder of a store or part, and checks that what is there can be continued.

    It then holds nothing damaged, and nothing made with other settings or from other data.
    """
    if out.exists() and not out.is_dir():
        raise SettingError("out", str(out), "is a file; a feature store is a folder")
    if out.is_dir() and not _description(out, done) and _others(out):
        raise SettingError("out", str(out), "is a folder with other files; choose an empty one")
    (out / "shards").mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(out / ".lock")
    except BlockingIOError:
        raise DataError(f"{out}: another run is writing this store") from None
    try:
        if restart:
            _remove(out)
        check_settings(out, done, about)
        _forget_damaged(out, done, notice)
        _check_data(out, done, about, recordings)
        if not (out / done).exists():
            for leftover in (out / "shards").glob("*.tmp"):
                leftover.unlink()
            write_recordings(out / "recordings.csv", recordings)
            write_json(out / "unfinished.json", about)
        yield
    finally:
        del lock


def _others(out: Path) -> set[str]:
    """What is in a folder without a description that a run that was killed cannot have left."""
    names = {entry.name for entry in out.iterdir()} - {PARTS}
    if ".lock" in names:
        names -= {".lock", "unfinished.json.tmp"}
        names -= {f"{name}{tmp}" for name in ("recordings.csv", EVENTS) for tmp in ("", ".tmp")}
    if "shards" in names and not any((out / "shards").iterdir()):
        names.remove("shards")
    return names


def _description(out: Path, done: str) -> Path | None:
    """The file that says what is in the folder, if there is one."""
    files = (out / name for name in (done, "unfinished.json"))
    return next((file for file in files if file.is_file()), None)


def _remove(out: Path) -> None:
    """Removes a store, its descriptions first: no half of it can be taken for a store."""
    described = ("store.json", "part.json", "unfinished.json")
    for name in (*described, "recordings.csv", EVENTS, "failures.csv"):
        (out / name).unlink(missing_ok=True)
    for pattern in ("*.npy", "*.recordings.jsonl", "*.tmp"):
        for file in (out / "shards").glob(pattern):
            file.unlink()


# Where the parts of a store lie until they are merged.
PARTS = "parts"

_OTHERWISE = "extract with `restart` to make it anew, or into another `out`"


def check_settings(out: Path, done: str, about: dict[str, Any]) -> None:
    """Fails if what is in `out` was made with other settings, and says which."""
    file = _description(out, done)
    if file and (differences := compare_settings(read_about(file), about)):
        rule = f"was made with {'; '.join(differences)}; {_OTHERWISE}"
        raise SettingError("out", str(out), rule)


def compare_settings(before: dict[str, Any], about: dict[str, Any]) -> list[str]:
    """Each setting that was another one, and what it is now."""
    # Where the data lies is no setting: the recordings themselves are compared.
    differences = [
        f"{key} {before.get(key)!r}, now {about.get(key)!r}"
        for key in UNFINISHED
        if key not in ("version", "spec", "data") and before.get(key) != about.get(key)
    ]
    spec = before.get("spec") or {}
    return differences + [
        f"{key} {spec.get(key)!r}, now {about['spec'].get(key)!r}"
        for key in sorted({*spec, *about["spec"]})
        if spec.get(key) != about["spec"].get(key)
    ]


def _forget_damaged(out: Path, done: str, notice: Callable[[str], None]) -> None:
    """Makes a finished store with damaged files an unfinished one that lacks them."""
    if not (out / done).is_file():
        return
    damaged = verify(out, done=done)
    if not damaged:
        return
    for name, wrong in damaged.items():
        notice(f"{out / name} {wrong}: made again")
    if {"recordings.csv", EVENTS} & damaged.keys():
        _remove(out)  # Nothing tells any more what its shards were made from.
        return
    about = read_about(out / done)
    kept = {name: about[name] for name in (*UNFINISHED, "part") if name in about}
    write_json(out / "unfinished.json", kept)
    (out / done).unlink()
    for number in {int(Path(name).name.split(".")[0]) for name in damaged}:
        locate_shard_file(out, number, "recordings.jsonl").unlink(missing_ok=True)


def _check_data(
    out: Path, done: str, about: dict[str, Any], recordings: Sequence[Recording]
) -> None:
    """Fails if what is in `out` was made from other data, and says what changed."""
    file = _description(out, done)
    if not file:
        return
    change = _change(out / "recordings.csv", recordings)
    if not change and read_about(file).get("part") != about.get("part"):
        change = "recordings of other parts have changed" if "part" in about else "it is a part"
    if change:
        raise DataError(f"{out}: was made from other data: {change}; {_OTHERWISE}")


def _change(file: Path, now: Sequence[Recording]) -> str:
    """How a listing differs from an earlier one, with an example of each kind; "" if not at all."""
    pairs = zip_longest(iterate_recordings(file), now)
    if all(a and b and a.path == b.path and listed_facts(a) == listed_facts(b) for a, b in pairs):
        return ""

    def described(recordings: Iterable[Recording]) -> dict[tuple[str, int], tuple[object, ...]]:
        # A table may list a path twice: the nth row of a path corresponds to the nth.
        rows: dict[tuple[str, int], tuple[object, ...]] = {}
        seen: dict[str, int] = {}
        for r in recordings:
            n = seen[r.path] = seen.get(r.path, -1) + 1
            rows[r.path, n] = listed_facts(r)
        return rows

    old, new = described(iterate_recordings(file)), described(now)
    kinds = {
        "new": [key for key in new if key not in old],
        "gone": [key for key in old if key not in new],
        "changed": [key for key in new if key in old and new[key] != old[key]],
    }
    return ", ".join(
        f"{len(keys)} {kind} ({escape(keys[0][0])}{', …' if len(keys) > 1 else ''})"
        for kind, keys in kinds.items()
        if keys
    )


def listed_facts(r: Recording) -> tuple[object, ...]:
    """What is known of a recording once it is listed."""
    extra = tuple(sorted((k, v) for k, v in r.extra.items() if v))
    about = (r.label, r.group, r.split, r.n_bytes, r.mtime_ns, extra)
    if r.events is None:
        return about
    return *about, tuple((e.start_s, e.end_s, e.label) for e in r.events)
