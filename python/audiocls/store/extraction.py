"""A data set → a feature store: what is there is kept, what is missing is made.

The work is done by the Rust engine; here are the decisions around it. A store is unfinished as
long as it has no store.json; what is to be made is then in unfinished.json. A store with a damaged
file is unfinished again. A part of a store, one of N that machines make side by side, is the same
with a part.json, and parts.py joins them. docs/internals/store.md has the format.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from audiocls.data.recordings import Listing, Recording
from audiocls.data.shortcuts import notice_silence
from audiocls.engine._fallback import Decoding
from audiocls.engine.dataset import Extraction
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import DataError, LimitError
from audiocls.store.completion import (
    AGAIN,
    check_some_clip,
    complete,
    describe_losses,
    gather,
    notice_lost_classes,
    write_failures,
)
from audiocls.store.labels import parse_coverage
from audiocls.store.parts import Part, locate_part, read_part
from audiocls.store.place import writing_to
from audiocls.store.planning import Work, plan
from audiocls.store.resume import open_locked
from audiocls.store.shard import Shard, find_missing
from audiocls.store.store import Store, open_store


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
    restart: bool = False,
    accept_failures: bool = False,
    progress: Callable[[Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
    **settings: Any,
) -> Store:
    """Extract the features of all recordings of a data set into a store, and open it.

    A recording that cannot be used is named in failures.csv, and nothing else is lost. But the
    store stays unfinished if a class loses all of its recordings, or if more than half of all
    recordings fail: the data may be on a disk that went away.

    A store that is there is continued. Its files are compared with their checksums and sound shards
    are kept. The result is byte for byte that of an undisturbed run.

    Args:
        data: anything that `data.listing.list_recordings` takes.
        feature: a preset or a spec.
        out: where the store goes, by default features/NAME. For a URL it is made in a copy in
            `place.locate_cache`, which is sent at the end.
        restart: make the store anew, whatever is there.
        accept_failures: finish the store whatever has failed.
        progress: called about ten times a second.
        notice: called with what the user should know about the data and the store.
        **settings: see `plan`: name, cut, clip_s, hop_s, short, min_rms, dtype, threads,
            inside_only, labelling, and the fields of `Labelling`.

    Returns:
        The finished store.

    Raises:
        SettingError: an impossible setting, or a store made with other settings.
        DataError: too many recordings, or all, cannot be used, or the data has changed.
        OSError: the store cannot be written.
        KeyboardInterrupt: the run was interrupted; finished shards are kept.
    """
    work = plan(data, feature, **settings)
    out = out if out is not None else Path("features") / work.about["feature"]
    target = Target(out, "store.json", restart, accept_failures, progress, notice)
    folder = target.make(work, work.about, work.listing.recordings, work.shards)
    return open_store(folder)


def extract_part(
    data: Any,
    feature: str | FeatureSpec = "mel",
    out: str | Path | None = None,
    *,
    shard: tuple[int, int],
    restart: bool = False,
    accept_failures: bool = False,
    progress: Callable[[Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
    **settings: Any,
) -> Part:
    """Makes part I of N, `shard` = (I, N), of what `extract` makes, in OUT/parts/I-of-N.

    A part is a range of the shards of the store, which the listing alone decides: parts can be made
    anywhere, in any order, at the same time and again; `parts.merge` joins them. Where N is larger
    than the number of shards, some parts are empty. The other parameters and errors are those of
    `extract`; but whether a class has lost all of its recordings is seen by `merge` only.
    """
    work = plan(data, feature, **settings)
    out = out if out is not None else Path("features") / work.about["feature"]
    return make_part(
        work,
        out,
        shard,
        restart=restart,
        accept_failures=accept_failures,
        progress=progress,
        notice=notice,
    )


def make_part(
    work: Work,
    out: str | Path,
    shard: tuple[int, int],
    *,
    restart: bool = False,
    accept_failures: bool = False,
    progress: Callable[[Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Part:
    """What `extract_part` makes, of data that are listed already."""
    part = locate_part(out, *shard)
    target = Target(part, "part.json", restart, accept_failures, progress, notice)
    return read_part(target.make(work, *work.part(shard)))


@dataclass(frozen=True)
class Target:
    """Where a store, or a part of one, is made, and what becomes of what is there."""

    out: str | Path
    done: Literal["store.json", "part.json"]  # the file that says that it is finished
    restart: bool
    accept_failures: bool
    progress: Callable[[Progress], None] | None
    notice: Callable[[str], None] | None

    def make(
        self,
        work: Work,
        about: dict[str, Any],
        recordings: list[Recording],
        shards: list[Shard],
    ) -> Path:
        """Makes what is missing of these shards; the folder that holds them then.

        Whether a class has lost all of its recordings, only a whole store can tell.
        """
        notice, whole = self.notice or (lambda text: None), self.done == "store.json"
        with (
            writing_to(self.out, self.restart, self.done) as folder,
            open_locked(folder, self.done, about, recordings, self.restart, notice),
        ):
            if (folder / self.done).exists():
                return folder
            _extract_missing(folder, work, shards, self.progress, notice)
            at_listing = {r.id for r in recordings if r.status == "failed"}
            described = gather(folder, recordings, shards)
            write_failures(folder, recordings)
            if whole:
                check_some_clip(recordings, str(folder / "failures.csv"))
            lost = describe_losses(recordings, work.separator, classes=whole)
            if lost and not self.accept_failures:
                _leave_unfinished(folder, recordings, shards, at_listing, lost)
            complete(folder, self.done, about, recordings, described, work.row_shape)
            if whole:
                for text in notice_lost_classes(
                    folder, recordings, work.separator
                ) + notice_silence(recordings):
                    notice(text)
        return folder


def _leave_unfinished(
    out: Path,
    recordings: list[Recording],
    shards: list[Shard],
    at_listing: set[int],
    lost: str,
) -> None:
    """Too much failed: what did is to be tried again, for the data may come back."""
    again = {r.id for r in recordings if r.status == "failed"} - at_listing
    for shard in shards:
        if not again.isdisjoint(range(shard.first, shard.end)):
            shard.forget(out)
    raise DataError(
        f"{lost}; see {out / 'failures.csv'}. The store is left unfinished: {AGAIN}, or with "
        "`accept_failures` to finish it without them"
    )


# Of a recording its file, size and time of change, why it is unusable, and where clips may start.
Source = tuple[str | None, int, int, str | None, list[tuple[int, int]] | None]


def _extract_missing(
    out: Path,
    work: Work,
    shards: list[Shard],
    progress: Callable[[Progress], None] | None,
    notice: Callable[[str], None],
) -> None:
    """Make the shards that are missing in a folder; an interruption keeps those that are whole."""
    for text in work.listing.notices:
        notice(text)
    missing = find_missing(out, shards)
    total = sum(shard.n_recordings for shard in shards)
    before = total - sum(shard.n_recordings for shard in missing)
    stop = threading.Event()
    run = Extraction(
        work.spec.to_json(),
        work.cut.to_json(),
        work.about["dtype"],
        sources=_list_sources(work),
        folder=out / "shards",
        shards=missing,
        threads=work.threads,
        read=work.listing.read,
        decode=functools.partial(_decode, work.listing, stop),
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


def _list_sources(work: Work) -> list[Source]:
    """List the recordings as the engine takes them."""
    coverage = parse_coverage(work.about)
    sources: list[Source] = []
    for r, file in zip(work.listing.recordings, work.listing.files, strict=True):
        if r.status == "failed":
            sources.append((None, 0, 0, r.error, None))
        else:
            wanted = None if coverage is None else coverage.wanted(r.events or ())
            sources.append((file, r.n_bytes, r.mtime_ns, None, wanted))
    return sources


def _decode(listing: Listing, stop: threading.Event, i: int) -> tuple[int, int, Decoding] | None:
    """Decode recording `i` in another process: its rate, channels and blocks of samples.

    None if nothing knows its format: the engine has said so already.
    """
    source: str | bytes | None = listing.files[i]
    try:
        if source is None:
            assert listing.read is not None
            source = listing.read(i)[0]
        decoding = Decoding(source, stop)
    except LimitError:
        raise
    except OSError:
        return None
    return decoding.sample_rate, decoding.channels, decoding
