"""A data set → a feature store: what is there is kept, what is missing is made.

The work is done by the Rust engine; here are the decisions around it. A store is unfinished as
long as it has no store.json; what is to be made is then in unfinished.json. docs/store.md has the
format.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls import _native
from audiocls.audio import decode_with_soundfile
from audiocls.data.listing import list_recordings
from audiocls.data.recordings import (
    Listing,
    Recording,
    iterate_recordings,
    write_recordings,
)
from audiocls.data.store import FORMAT, VERSION, Store, open_store, read_about, shard_file
from audiocls.errors import DataError, SettingError, unknown
from audiocls.features import usable_cores
from audiocls.files import escape, write_csv, write_json
from audiocls.spec import FeatureSpec

# A shard ends after so many recordings or bytes of files. The rule looks at the listing only, so
# that a shard has the same contents whichever run makes it; an interruption costs one at most.
SHARD_RECORDINGS = 1024
SHARD_BYTES = 64 << 20

SHORT = ("pad", "repeat", "drop")
DTYPES = ("float32", "float16", "int16")


@dataclass(frozen=True)
class Progress:
    """How far an extraction is."""

    recordings: int  # finished, those of earlier runs among them
    total: int
    failed: int  # in this run
    clips: int  # in this run
    audio_s: float  # decoded in this run


def extract(
    data: Any,
    feature: str | FeatureSpec = "mel",
    out: str | Path | None = None,
    *,
    name: str | None = None,
    clip_s: float | None = None,
    hop_s: float = 0.5,
    short: str = "pad",
    min_rms: float = 0.0,
    dtype: str | None = None,
    threads: int | None = None,
    restart: bool = False,
    progress: Callable[[Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Store:
    """Extracts the features of all recordings of `data` into the store `out`, and opens it.

    `data` is anything that `data.listing.list_recordings` takes; `feature` a preset or a spec
    (called `name`, by default "custom"); `out` defaults to features/NAME. Clips of `clip_s` seconds
    (default 0.5) start every `hop_s` seconds; with `clip_s=0`, the default of kind samples, each
    recording is one clip of its own length. `dtype` is float32 (default) or float16, of samples
    int16 (default) or float32. A
    last window that is not full is left out; a recording shorter than one clip is padded with
    zeros, repeated or dropped, as `short` says. Clips whose root mean square is below `min_rms`
    (full scale: 1) are left out.

    A recording that cannot be used is named in failures.csv, and nothing else is lost. A store that
    is there is picked up: finished shards are kept, and the result is byte for byte that of an
    undisturbed run. `progress` is called about ten times a second, `notice` with what the user
    should know about the data.

    Raises SettingError for an impossible setting or a store made with other settings, DataError if
    no recording can be used or the data has changed, OSError if the store cannot be written,
    KeyboardInterrupt when interrupted (finished shards are kept).
    """
    spec = FeatureSpec.preset(feature) if isinstance(feature, str) else feature
    name = name or (feature if isinstance(feature, str) else "custom")
    out = Path(out) if out is not None else Path("features") / name
    samples = spec.kind == "samples"
    if clip_s is None:
        clip_s = 0.0 if samples else 0.5
    if dtype is None:
        dtype = "int16" if samples else "float32"
    if threads is not None and threads < 1:
        raise SettingError("threads", threads, "must be >= 1")
    settings = {
        "clip_s": float(clip_s),
        "hop_s": float(hop_s),
        "short": short,
        "min_rms": float(min_rms),
        "dtype": dtype,
    }
    shape = _clip_shape(spec, settings)
    listing = list_recordings(data)
    if not listing.recordings:
        raise DataError(f"{listing.root}: holds no recordings ({listing.n_ignored} other files)")

    about = {
        "format": FORMAT,
        "version": VERSION,
        "engine": _native.__version__,
        "feature": name,
        "spec": spec.to_dict(),
        **settings,
        "data": escape(str(Path(listing.root).absolute()))
        if isinstance(data, (str, os.PathLike))
        else listing.root,
    }
    with _opened(out, about, listing, restart):
        if not (out / "store.json").exists():
            if notice is not None:
                for text in listing.notices:
                    notice(text)
            _extract_missing(out, spec, settings, listing, threads, progress)
            _finish(out, about, listing, shape)
    return open_store(out)


def _clip_shape(spec: FeatureSpec, settings: dict[str, Any]) -> list[int]:
    for name, choices in (("short", SHORT), ("dtype", DTYPES)):
        if settings[name] not in choices:
            raise unknown(name, str(settings[name]), choices)
    return _native.clip_shape(spec.to_json(), **settings)


# --- what is there already ---


@contextlib.contextmanager
def _opened(out: Path, about: dict[str, Any], listing: Listing, restart: bool) -> Iterator[None]:
    """The store folder, locked, holding nothing made with other settings or from other data."""
    if out.exists() and not out.is_dir():
        raise SettingError("--out", str(out), "is a file; a feature store is a folder")
    is_store = any((out / name).is_file() for name in ("store.json", "unfinished.json"))
    if out.is_dir() and not is_store and any(entry.name != ".lock" for entry in out.iterdir()):
        raise SettingError("--out", str(out), "is a folder with other files; choose an empty one")
    (out / "shards").mkdir(parents=True, exist_ok=True)
    try:
        lock = _native.FileLock(out / ".lock")
    except BlockingIOError:
        raise DataError(f"{out}: another run is writing this store") from None
    try:
        if restart:
            _remove(out)
        _check_same(out, about, listing)
        if not (out / "store.json").exists():
            for leftover in (out / "shards").glob("*.tmp"):
                leftover.unlink()
            write_recordings(out / "recordings.csv", listing.recordings)
            write_json(out / "unfinished.json", about)
        yield
    finally:
        del lock


def _remove(out: Path) -> None:
    """Removes a store, its descriptions first: no half of it can be taken for a store."""
    for name in ("store.json", "unfinished.json", "recordings.csv", "failures.csv"):
        (out / name).unlink(missing_ok=True)
    for pattern in ("*.npy", "*.recordings.jsonl", "*.tmp"):
        for file in (out / "shards").glob(pattern):
            file.unlink()


def _check_same(out: Path, about: dict[str, Any], listing: Listing) -> None:
    """Fails if what is in `out` was made otherwise, and says in what."""
    for name in ("store.json", "unfinished.json"):
        if (out / name).is_file():
            before = read_about(out / name)
            break
    else:
        return
    otherwise = "extract with --restart to make it anew, or into another --out"
    # Where the data lies is no setting: the files themselves are compared below.
    differences = [
        f"{key} {before.get(key)!r}, now {about[key]!r}"
        for key in about
        if key not in ("spec", "data") and before.get(key) != about[key]
    ]
    spec = before.get("spec") or {}
    differences += [
        f"{key} {spec.get(key)!r}, now {about['spec'].get(key)!r}"
        for key in sorted({*spec, *about["spec"]})
        if spec.get(key) != about["spec"].get(key)
    ]
    if differences:
        raise SettingError(
            "--out", str(out), f"was made with {'; '.join(differences)}; {otherwise}"
        )
    change = _change(out / "recordings.csv", listing.recordings)
    if change:
        raise DataError(f"{out}: was made from other data: {change}; {otherwise}")


def _change(file: Path, now: list[Recording]) -> str:
    """How a listing differs from an earlier one, with an example of each kind; "" if not at all."""
    pairs = zip_longest(iterate_recordings(file), now)
    if all(a and b and a.path == b.path and _known(a) == _known(b) for a, b in pairs):
        return ""

    def described(recordings: Iterable[Recording]) -> dict[tuple[str, int], tuple[object, ...]]:
        # A table may list a path twice: the nth row of a path corresponds to the nth.
        rows: dict[tuple[str, int], tuple[object, ...]] = {}
        seen: dict[str, int] = {}
        for r in recordings:
            n = seen[r.path] = seen.get(r.path, -1) + 1
            rows[r.path, n] = _known(r)
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


def _known(r: Recording) -> tuple[object, ...]:
    """What is known of a recording once it is listed."""
    extra = tuple(sorted((k, v) for k, v in r.extra.items() if v))
    return r.label, r.group, r.split, r.n_bytes, r.mtime_ns, extra


# --- what is missing ---


def _shards(listing: Listing) -> list[tuple[int, int]]:
    """First and one past the last recording of each shard."""
    shards, start, size = [], 0, 0
    for i, (recording, file) in enumerate(
        zip(listing.recordings, listing.files, strict=True), start=1
    ):
        size += recording.n_bytes if file else 0
        if i - start == SHARD_RECORDINGS or size >= SHARD_BYTES or i == len(listing.recordings):
            shards.append((start, i))
            start, size = i, 0
    return shards


def _is_complete(out: Path, number: int) -> bool:
    kinds = ("recordings.jsonl", "clips.npy", "npy")
    return all(shard_file(out, number, kind).exists() for kind in kinds)


def _extract_missing(
    out: Path,
    spec: FeatureSpec,
    settings: dict[str, Any],
    listing: Listing,
    threads: int | None,
    progress: Callable[[Progress], None] | None,
) -> None:
    missing = [
        (number, start, end)
        for number, (start, end) in enumerate(_shards(listing))
        if not _is_complete(out, number)
    ]
    total = len(listing.recordings)
    before = total - sum(end - start for _, start, end in missing)

    # The engine asks from all of its threads, and tables can serve one only: two reads of one
    # ParquetFile at a time corrupt memory.
    turn = threading.Lock()

    def read(i: int) -> tuple[bytes, str]:
        assert listing.read is not None
        with turn:
            return listing.read(i)

    def decode(i: int) -> tuple[NDArray[np.float32], int]:
        file = listing.files[i]
        return decode_with_soundfile(io.BytesIO(read(i)[0]) if file is None else file)

    run = _native.Extraction(
        spec.to_json(),
        **settings,
        sources=[
            (file, r.n_bytes, r.mtime_ns, r.error if r.status == "failed" else None)
            for r, file in zip(listing.recordings, listing.files, strict=True)
        ],
        folder=out / "shards",
        shards=missing,
        threads=threads or usable_cores(),
        read=read,
        decode=decode,
    )
    try:
        ended = False
        while not ended:
            # Between two waits Python runs its signal handlers: here Ctrl-C takes effect.
            ended = run.wait(0.1)
            if progress is not None:
                recordings, failed, clips, audio_s = run.progress()
                progress(Progress(before + recordings, total, failed, clips, audio_s))
        run.join()
    except BaseException:
        run.cancel()
        with contextlib.suppress(KeyboardInterrupt, OSError):
            run.join()
        raise


# --- the end ---


def _finish(out: Path, about: dict[str, Any], listing: Listing, shape: list[int]) -> None:
    """Gathers what the shards say, and makes the store complete: store.json comes last."""
    shards = []
    for number in range(len(_shards(listing))):
        n_clips = 0
        with shard_file(out, number, "recordings.jsonl").open(encoding="utf-8") as lines:
            for outcome in map(json.loads, lines):
                recording = listing.recordings[outcome.pop("id")]
                for name, value in outcome.items():
                    setattr(recording, name, value)
                n_clips += recording.n_clips
        n_rows = int(np.load(shard_file(out, number, "npy"), mmap_mode="r").shape[0])
        shards.append({"clips": n_clips, "rows": n_rows})

    recordings = listing.recordings
    failed = [r for r in recordings if r.status == "failed"]
    if failed:
        rows = ((r.path, r.error) for r in failed)
        write_csv(out / "failures.csv", ("path", "reason"), rows)
    if not any(r.n_clips for r in recordings):
        where = f"; see {out / 'failures.csv'}" if failed else ""
        example = next(r for r in recordings if r.error)
        raise DataError(
            f"none of {len(recordings)} recordings gives a clip, for instance "
            f"{escape(example.path)}: {example.error}{where}"
        )

    write_recordings(out / "recordings.csv", recordings)
    about = {
        **about,
        "classes": sorted({r.label for r in recordings if r.n_clips}),
        "counts": {
            "recordings": len(recordings),
            **{s: sum(r.status == s for r in recordings) for s in ("ok", "skipped", "failed")},
            "clips": sum(r.n_clips for r in recordings),
            "silent_clips": sum(r.n_silent for r in recordings),
        },
        "shape": [sum(s["rows"] for s in shards), *shape],
        "shards": shards,
    }
    write_json(out / "store.json", about)
    (out / "unfinished.json").unlink()
    for number in range(len(shards)):
        shard_file(out, number, "recordings.jsonl").unlink()
