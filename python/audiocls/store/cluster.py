"""The parts of a store made on a Ray cluster, and joined here (extra `ray`).

A task is one part, as `audiocls extract --shard I/N` makes it, in a temporary folder of its worker.
Its files come back one by one through Ray's object store, so that no disk is shared and no memory
has to hold a part. What Ray loses with a worker it makes again; a part has the same bytes wherever
it is made.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from audiocls import __version__
from audiocls.data.labelling import Labelling
from audiocls.data.recordings import read_recordings
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import AudioclsError, DataError, SettingError, condense_message
from audiocls.files import replace_file
from audiocls.store.completion import describe_losses
from audiocls.store.extraction import Progress, extract, make_part
from audiocls.store.format import list_files
from audiocls.store.parts import locate_part, merge, read_part
from audiocls.store.place import writing_to
from audiocls.store.planning import Work, plan
from audiocls.store.resume import check_settings, open_locked
from audiocls.store.store import Store
from audiocls.url import is_url

# So many parts at most: a lost one costs little, and what each part costs does not matter.
MOST_PARTS = 1024
# How often a part is made again whose worker was lost, before its data are suspected of it.
RETRIES = 5
# A cluster that does not answer within this time cannot be reached.
CONNECT_S = 10.0


def extract_on_cluster(
    data: str | Path,
    feature: str | FeatureSpec = "mel",
    out: str | Path | None = None,
    *,
    address: str | None = None,
    restart: bool = False,
    accept_failures: bool = False,
    progress: Callable[[Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
    **settings: Any,
) -> Store:
    """Make on a Ray cluster the store that `extraction.extract` makes on one machine.

    Parts that are there are kept. What is damaged in a finished store is made again here.

    Args:
        data: all nodes must reach it under the same path or URL.
        feature: as in `extract`.
        out: as in `extract`.
        address: HOST:PORT of the cluster; by default RAY_ADDRESS, else the cluster that runs on
            this machine, which must be one of its nodes. All nodes need this version of audiocls.
        restart: as in `extract`.
        accept_failures: as in `extract`.
        progress: as in `extract`.
        notice: as in `extract`.
        **settings: as in `extract`. A task takes `threads` processors, by default those of the
            smallest node.

    Raises:
        AudioclsError: as `extract`; DataError also if a part cannot be made.
        OSError: the cluster cannot be reached.
        ModuleNotFoundError: ray is not installed.
    """
    ray: Any = importlib.import_module("ray")  # its types are not strict ones
    data = str(data) if is_url(data) else str(Path(data).absolute())
    given = {f.name: settings.pop(f.name) for f in fields(Labelling) if f.name in settings}
    labelling = replace(settings.pop("labelling", None) or Labelling(), **given)
    settings["labelling"] = labelling.from_here()
    work = plan(data, feature, **settings)
    out = out if out is not None else Path("features") / work.about["feature"]
    notice = notice or _ignore
    # At a URL it is made in the copy, and sent: workers need not reach it.
    with writing_to(out, restart) as folder:
        if (folder / "store.json").exists() and not restart:
            return extract(
                data,
                feature,
                folder,
                accept_failures=accept_failures,
                progress=progress,
                notice=notice,
                **settings,
            )
        of = min(len(work.shards), MOST_PARTS)
        parts = _opened_parts(folder, work, of, restart, notice)
        for text in work.listing.notices:
            notice(text)
        with _connected(ray, address):
            cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
            threads = _choose_threads(settings.get("threads"), cpus)
            chosen = settings | {"threads": threads, "name": work.about["feature"]}
            task = _Task(
                data, work.spec, tuple(sorted(chosen.items())), of, accept_failures, work.digest
            )
            # One part for each task that runs and for one that waits: more would fill Ray's memory.
            _make(ray, task, parts, 2 * sum(count // threads for count in cpus), progress)
        made = [part.folder for part in parts.values()]
        store = merge(folder, made, accept_failures=accept_failures, notice=notice)
        for part in made:
            shutil.rmtree(part)
        with contextlib.suppress(OSError):  # parts that others made
            (folder / "parts").rmdir()
    return store


def _choose_threads(wanted: int | None, cpus: list[int]) -> int:
    """How many processors a task takes, of nodes with so many: all of the smallest, if not told."""
    threads = wanted or min(filter(None, cpus), default=1)
    if threads > max(cpus, default=0):
        raise SettingError("threads", threads, f"the largest node has {max(cpus, default=0)}")
    return threads


def _ignore(_: str) -> None:
    pass


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Ray, connected; a connection that the caller has made already is left as it is."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    if address != "auto":
        host, colon, port = address.rpartition(":")
        if not colon or not host or "/" in host or not port.isdecimal():
            raise SettingError("ray_address", address, "must be HOST:PORT, such as 10.0.0.1:6379")
        # Ray itself would go on trying for minutes.
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise OSError(f"the Ray cluster {address} cannot be reached: {error}") from None
    try:
        ray.init(address, log_to_driver=False, configure_logging=False, logging_level="error")
    except Exception as error:  # of many kinds
        what = condense_message(error)
        raise OSError(f"the Ray cluster {address} cannot be used: {what}") from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what fails is told by us
    try:
        # Ray prints what it says of lost workers; stdout is for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


# --- here ---


@dataclass
class _Part:
    """What is known of a part before it is made."""

    folder: Path
    n_recordings: int

    @property
    def is_there(self) -> bool:
        return (self.folder / "part.json").exists()


def _opened_parts(
    out: Path, work: Work, of: int, restart: bool, notice: Callable[[str], None]
) -> dict[int, _Part]:
    """The parts by number; what is there of them is gone on with as a run on this machine would."""
    descriptions = {number: work.part((number, of)) for number in range(1, of + 1)}
    folders = {number: locate_part(out, number, of) for number in descriptions}
    if not restart:
        check_settings(out, "store.json", work.about)
        for folder in folders.values():
            check_settings(folder, "part.json", work.about)
    with open_locked(out, "store.json", work.about, work.listing.recordings, restart, notice):
        pass
    parts = {}
    for number, (about, own, _) in descriptions.items():
        with open_locked(folders[number], "part.json", about, own, restart, notice):
            parts[number] = _Part(folders[number], len(own))
    return parts


def _make(
    ray: Any,
    task: _Task,
    parts: dict[int, _Part],
    at_once: int,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Has all parts made that are missing; if that fails, what still runs is cancelled."""
    total = sum(part.n_recordings for part in parts.values())
    told = Progress(sum(p.n_recordings for p in parts.values() if p.is_there), total, 0, 0, 0.0)
    missing = [number for number, part in parts.items() if not part.is_there]
    threads = dict(task.settings)["threads"]
    remote = ray.remote(num_cpus=threads, max_retries=RETRIES)(send_part)
    running: dict[Any, int] = {}  # the files of a part as they come → its number
    try:
        while missing or running:
            while missing and len(running) < at_once:
                number = missing.pop(0)
                running[remote.remote(task, number)] = number
            if progress is not None:
                progress(told)
            # Between two waits Python runs its signal handlers: here Ctrl-C takes effect.
            ready, _ = ray.wait(list(running), timeout=0.1)
            for files in ready:
                try:
                    name, contents = ray.get(next(files))
                except StopIteration:
                    del running[files]
                    continue
                except Exception as error:
                    raise _failure(ray, error, running[files], task.of) from None
                part = parts[running[files]]
                replace_file(part.folder / name, contents)
                if name == "part.json":
                    told = _received(part, told)
    finally:
        for files in running:
            ray.cancel(files)


def _received(part: _Part, told: Progress) -> Progress:
    """The part is whole; the progress with it."""
    about = read_part(part.folder).about
    (part.folder / "unfinished.json").unlink()
    recordings = read_recordings(part.folder / "recordings.csv")
    return Progress(
        told.recordings + part.n_recordings,
        told.total,
        told.failed + about["counts"]["failed"],
        told.clips + about["counts"]["clips"],
        told.audio_s + sum(r.duration_s or 0.0 for r in recordings),
    )


def _failure(ray: Any, error: Exception, number: int, of: int) -> Exception:
    """What the user is told of a task that Ray could not finish."""
    where = f"part {number} of {of}"
    cause = getattr(error, "cause", None)
    if isinstance(cause, AudioclsError):
        return DataError(f"{where}: {cause}")
    if "No module named 'audiocls" in str(error):
        return DataError(f"{where}: a worker lacks audiocls: install it on every node")
    if isinstance(error, ray.exceptions.RayTaskError):
        raise error  # a defect of this program, with its traceback
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(f"{where}: its worker was lost, at try {RETRIES + 1}: {text}")


# --- on a worker ---


@dataclass(frozen=True)
class _Task:
    """What all parts have in common."""

    data: str
    spec: FeatureSpec
    settings: tuple[tuple[str, Any], ...]
    of: int
    accept_failures: bool
    listing: str  # the hash of what the driver lists
    version: str = __version__


@functools.lru_cache(maxsize=1)
def _planned(task: _Task) -> Work:
    """A worker makes many parts, and lists the data once."""
    work = plan(task.data, task.spec, **dict(task.settings))
    if work.digest != task.listing:
        raise DataError(f"has other recordings, or of other times, in {task.data}")
    return work


def send_part(task: _Task, number: int) -> Iterator[tuple[str, bytes]]:
    """Makes a part; gives the name and the bytes of each of its files, part.json last.

    Raises DataError, with the name of the machine, if anything there prevents it.
    """
    try:
        if task.version != __version__:
            raise DataError(f"has audiocls {__version__}, not {task.version}")
        with tempfile.TemporaryDirectory(prefix="audiocls-") as folder:
            part = make_part(_planned(task), Path(folder), (number, task.of), accept_failures=True)
            own = read_recordings(part.path / "recordings.csv")
            if not task.accept_failures and (lost := describe_losses(own, classes=False)):
                raise DataError(f"{lost}; `accept_failures` would finish without them")
            names = ["failures.csv"] if (part.path / "failures.csv").exists() else []
            for name in [*names, *list_files(part.about), "part.json"]:
                yield name, (part.path / name).read_bytes()
    except (AudioclsError, OSError) as error:
        # Not all of them can be pickled.
        raise DataError(f"{platform.node()}: {error}") from None
