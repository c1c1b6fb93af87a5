"""A data set → a feature store: what is there is kept, what is missing is made.

The work is done by the Rust engine; here are the decisions around it. A store is unfinished as
long as it has no store.json; what is to be made is then in unfinished.json. A store with a damaged
file is unfinished again. docs/store.md has the format.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from audiocls import _native
from audiocls.data.listing import list_recordings
from audiocls.data.recordings import (
    Listing,
    Recording,
    iterate_recordings,
    write_recordings,
)
from audiocls.data.store import (
    FORMAT,
    SHARD_FILES,
    UNFINISHED,
    VERSION,
    Store,
    damage,
    n_rows,
    open_store,
    read_about,
    shard_file,
    verify,
)
from audiocls.errors import DataError, LimitError, SettingError, unknown
from audiocls.fallback import Decoding
from audiocls.files import escape, write_csv, write_json
from audiocls.parallel import for_each, usable_cores
from audiocls.schema import validate
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
    accept_failures: bool = False,
    inside_only: bool = False,
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

    A recording that cannot be used is named in failures.csv, and nothing else is lost; but where a
    class loses all of its recordings, or more than half of all fail, the store stays unfinished
    (the data may be on a disk that went away), unless `accept_failures`. If `inside_only`, a link
    or a path in a table that leaves the data set is such a failure. A store that is there is
    picked up: its files are read and compared with their checksums, sound shards are kept, and the
    result is byte for byte that of an undisturbed run. `progress` is called about ten times a
    second, `notice` with what the user should know about the data and the store.

    Raises SettingError for an impossible setting or a store made with other settings, DataError if
    too many recordings, or all, cannot be used or the data has changed, OSError if the store cannot
    be written, KeyboardInterrupt when interrupted (finished shards are kept).
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
    listing = list_recordings(data, inside_only=inside_only)
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
    notice = notice or (lambda text: None)
    with _opened(out, about, listing, restart, notice):
        if not (out / "store.json").exists():
            for text in listing.notices:
                notice(text)
            _extract_missing(out, spec, settings, listing, threads, progress)
            _finish(out, about, listing, shape, accept_failures)
    return open_store(out)


def _clip_shape(spec: FeatureSpec, settings: dict[str, Any]) -> list[int]:
    for name, choices in (("short", SHORT), ("dtype", DTYPES)):
        if settings[name] not in choices:
            raise unknown(name, str(settings[name]), choices)
    return _native.clip_shape(spec.to_json(), **settings)


# --- what is there already ---


@contextlib.contextmanager
def _opened(
    out: Path,
    about: dict[str, Any],
    listing: Listing,
    restart: bool,
    notice: Callable[[str], None],
) -> Iterator[None]:
    """The store folder, locked, holding nothing damaged or made with other settings or from other
    data."""
    if out.exists() and not out.is_dir():
        raise SettingError("out", str(out), "is a file; a feature store is a folder")
    is_store = any((out / name).is_file() for name in ("store.json", "unfinished.json"))
    if out.is_dir() and not is_store and any(entry.name != ".lock" for entry in out.iterdir()):
        raise SettingError("out", str(out), "is a folder with other files; choose an empty one")
    (out / "shards").mkdir(parents=True, exist_ok=True)
    try:
        lock = _native.FileLock(out / ".lock")
    except BlockingIOError:
        raise DataError(f"{out}: another run is writing this store") from None
    try:
        if restart:
            _remove(out)
        _check_settings(out, about)
        _forget_damaged(out, notice)
        _check_data(out, listing)
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


_OTHERWISE = "extract with `restart` to make it anew, or into another `out`"


def _check_settings(out: Path, about: dict[str, Any]) -> None:
    """Fails if what is in `out` was made with other settings, and says which."""
    for name in ("store.json", "unfinished.json"):
        if (out / name).is_file():
            before = read_about(out / name)
            break
    else:
        return
    # Where the data lies is no setting: the files themselves are compared below.
    differences = [
        f"{key} {before.get(key)!r}, now {about[key]!r}"
        for key in about
        if key not in ("version", "spec", "data") and before.get(key) != about[key]
    ]
    spec = before.get("spec") or {}
    differences += [
        f"{key} {spec.get(key)!r}, now {about['spec'].get(key)!r}"
        for key in sorted({*spec, *about["spec"]})
        if spec.get(key) != about["spec"].get(key)
    ]
    if differences:
        raise SettingError("out", str(out), f"was made with {'; '.join(differences)}; {_OTHERWISE}")


def _forget_damaged(out: Path, notice: Callable[[str], None]) -> None:
    """Makes a finished store with damaged files an unfinished one that lacks them."""
    if not (out / "store.json").is_file():
        return
    damaged = verify(out)
    if not damaged:
        return
    for name, wrong in damaged.items():
        notice(f"{out / name} {wrong}: made again")
    if "recordings.csv" in damaged:
        _remove(out)  # Nothing tells any more what its shards were made from.
        return
    about = read_about(out / "store.json")
    write_json(out / "unfinished.json", {name: about[name] for name in UNFINISHED})
    (out / "store.json").unlink()
    for number in {int(Path(name).name.split(".")[0]) for name in damaged}:
        shard_file(out, number, "recordings.jsonl").unlink(missing_ok=True)


def _check_data(out: Path, listing: Listing) -> None:
    """Fails if what is in `out` was made from other data, and says what changed."""
    if not any((out / name).is_file() for name in ("store.json", "unfinished.json")):
        return
    change = _change(out / "recordings.csv", listing.recordings)
    if change:
        raise DataError(f"{out}: was made from other data: {change}; {_OTHERWISE}")


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


@dataclass
class _Made:
    """What a finished shard says of itself."""

    outcomes: list[dict[str, Any]]  # of its recordings
    files: dict[str, Any]  # kind: length and checksum


def _made(out: Path, number: int, recordings: range) -> _Made | None:
    """A shard that is complete, or None; its files are not looked at."""
    try:
        text = shard_file(out, number, "recordings.jsonl").read_text(encoding="utf-8")
        *outcomes, last = map(json.loads, text.splitlines())
        whole = text.endswith("\n") and [o["id"] for o in outcomes] == list(recordings)
        if whole:
            return _Made(outcomes, validate(last["files"], SHARD_FILES, "files"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # Absent, damaged, or of a version without checksums.
    return None


def _extract_missing(
    out: Path,
    spec: FeatureSpec,
    settings: dict[str, Any],
    listing: Listing,
    threads: int | None,
    progress: Callable[[Progress], None] | None,
) -> None:
    shards = [(number, *shard) for number, shard in enumerate(_shards(listing))]

    def is_sound(shard: tuple[int, int, int]) -> bool:
        number, start, end = shard
        made = _made(out, number, range(start, end))
        return made is not None and all(
            not damage(shard_file(out, number, kind), expected, whole=True)
            for kind, expected in made.files.items()
        )

    missing = [
        shard for shard, sound in zip(shards, for_each(is_sound, shards), strict=True) if not sound
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

    stop = threading.Event()

    def decode(i: int) -> tuple[int, int, Decoding] | None:
        file = listing.files[i]
        try:
            decoding = Decoding(read(i)[0] if file is None else file, stop)
        except LimitError:
            raise
        except OSError:
            return None  # It says no more than the engine has said already.
        return decoding.sample_rate, decoding.channels, decoding

    run = _native.Extraction(
        spec.to_json(),
        **settings,
        sources=[
            (None, 0, 0, r.error) if r.status == "failed" else (file, r.n_bytes, r.mtime_ns, None)
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
        stop.set()
        with contextlib.suppress(KeyboardInterrupt, OSError):
            run.join()
        raise


# --- the end ---


def _finish(
    out: Path, about: dict[str, Any], listing: Listing, shape: list[int], accept_failures: bool
) -> None:
    """Gathers what the shards say, and makes the store complete: store.json comes last."""
    recordings = listing.recordings
    at_listing = {r.id for r in recordings if r.status == "failed"}
    shards = []
    for number, (start, end) in enumerate(_shards(listing)):
        made = _made(out, number, range(start, end))
        if made is None:
            raise DataError(f"{shard_file(out, number, 'recordings.jsonl')}: is damaged; {_AGAIN}")
        for outcome in made.outcomes:
            recording = recordings[outcome.pop("id")]
            for name, value in outcome.items():
                setattr(recording, name, value)
        own = _file(shard_file(out, number, "recordings.jsonl"))
        shards.append(
            {
                "clips": sum(outcome["n_clips"] for outcome in made.outcomes),
                "rows": n_rows(shard_file(out, number, "npy")),
                "files": {**made.files, "recordings.jsonl": own},
            }
        )

    failed = [r for r in recordings if r.status == "failed"]
    (out / "failures.csv").unlink(missing_ok=True)  # of an earlier run
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
    if not accept_failures and (loss := _loss(recordings)):
        for number, (start, end) in enumerate(_shards(listing)):
            if any(r.status == "failed" and r.id not in at_listing for r in recordings[start:end]):
                # To be tried again: the data may come back.
                shard_file(out, number, "recordings.jsonl").unlink()
        raise DataError(
            f"{loss}; see {out / 'failures.csv'}. The store is left unfinished: {_AGAIN}, or with "
            "`accept_failures` to finish it without them"
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
        "files": {"recordings.csv": _file(out / "recordings.csv")},
        "shards": shards,
    }
    write_json(out / "store.json", about)
    (out / "unfinished.json").unlink()


_AGAIN = "run the same `audiocls extract` again"


def _file(file: Path) -> dict[str, Any]:
    """Length and checksum of a file, as store.json has them."""
    n_bytes, xxh128 = _native.checksum(file)
    return {"bytes": n_bytes, "xxh128": xxh128}


def _loss(recordings: list[Recording]) -> str:
    """What failed that is more than single recordings; "" if nothing did."""
    failed = [r for r in recordings if r.status == "failed"]
    there = {r.label for r in recordings if r.status != "failed"}
    lost = sorted({r.label for r in failed if r.label} - there)
    if not lost and 2 * len(failed) <= len(recordings):
        return ""
    example = next(r for r in failed if not lost or r.label == lost[0])
    names = ", ".join(map(escape, lost[:5])) + (", …" if len(lost) > 5 else "")
    classes = f", all of class {names} among them" if lost else ""
    return (
        f"{len(failed)} of {len(recordings)} recordings failed{classes}, for instance "
        f"{escape(example.path)}: {example.error}"
    )
