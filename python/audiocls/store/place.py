"""Stores, and parts of stores, behind URLs.

A store is read through memory maps. So it is copied into a cache on this machine, file by file with
its checksums. What is made for a URL is made in that copy, and sent when it is whole. The
description (store.json or part.json) is the last file that is sent and the first that is replaced:
at a URL, too, a store is whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from audiocls.engine.dataset import FileLock
from audiocls.errors import AudioclsError, DataError, SettingError
from audiocls.files import replace_file
from audiocls.parallel import for_each
from audiocls.store.format import find_damage, list_files, read_about
from audiocls.url import connect, is_url, translate_error


def locate_cache() -> Path:
    """The folder of copies: AUDIOCLS_CACHE, else XDG_CACHE_HOME/audiocls, else ~/.cache/audiocls.

    The copies can be removed at any time when nothing runs.
    """
    if own := os.environ.get("AUDIOCLS_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "audiocls"


def is_store(path: str | Path) -> bool:
    """Whether a finished store is at a path or URL. Raises DataError where that cannot be told."""
    return Copy(str(path)).is_there() if is_url(path) else (Path(path) / "store.json").is_file()


def store_name(path: str | Path) -> str:
    """What a store at a path or URL is called: its last component."""
    if is_url(path):
        return str(path).rstrip("/").rpartition("/")[2]
    return Path(path).resolve().name


def local_copy(path: str | Path, done: str = "store.json") -> Path:
    """A path as it is; of a URL the folder of its copy, which is brought up to date first.

    Raises SettingError if there is nothing at the URL, DataError if it cannot be read or what
    arrives is not what its description says.
    """
    return Copy(str(path), done).fetch() if is_url(path) else Path(path)


@contextlib.contextmanager
def writing_to(out: str | Path, restart: bool, done: str = "store.json") -> Iterator[Path]:
    """The folder in which to make `out`; for a URL its copy, which is sent at the end.

    The copy holds what is at the URL already, unless `restart`. It is not sent if there is an
    error.

    Raises:
        DataError: the URL cannot be read or written.
    """
    if not is_url(out):
        yield Path(out)
        return
    copy = Copy(str(out), done)
    copy.check_writable()  # before anything is made
    if not restart and copy.is_there():
        copy.fetch()
    yield copy.folder
    copy.send()


def list_parts(url: str) -> list[str]:
    """The URLs of the finished parts below the URL of a store."""
    fs, root = connect("OUT", url)
    try:
        files = fs.glob(f"{root}/parts/*-of-*/part.json")
    except FileNotFoundError:
        return []
    except Exception as error:  # what a file system raises is its own affair
        raise translate_error("OUT", url, error, "listed") from None
    return [f"{url.rstrip('/')}/parts/{file.split('/')[-2]}" for file in sorted(files)]


class Copy:
    """A store, or a part of one, at a URL, and its copy on this machine."""

    def __init__(self, url: str, done: str = "store.json") -> None:
        self.url, self.done = url.rstrip("/"), done
        readable = re.sub(r"[^\w.-]+", "-", store_name(url))
        name = f"{readable}-{hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()}"
        self.folder = locate_cache() / "stores" / name
        self._turn = Lock()

    @cached_property
    def _at(self) -> tuple[Any, str]:
        fs, root = connect("store", self.url)
        if hasattr(fs, "auto_mkdir"):  # file://
            fs.auto_mkdir = True
        return fs, root

    def is_there(self) -> bool:
        """Whether its description is at the URL: then all is."""
        return self._description() is not None

    def check_writable(self) -> None:
        """Raises DataError, or SettingError where there is no such bucket, if it cannot be made."""
        fs, root = self._at
        try:
            fs.pipe_file(f"{root}/.writable", b"\n")
            fs.rm_file(f"{root}/.writable")
        except Exception as error:  # what a file system raises is its own affair
            raise self._failure(error, "written") from None

    def fetch(self) -> Path:
        """Brings the copy up to date: files that it has already, byte for byte, are kept."""
        description = self._description()
        if description is None:
            rule = f"there is no feature store: it has no {self.done}"
            raise SettingError("store", self.url, rule)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            file = self.folder / self.done
            if file.is_file() and file.read_bytes() == description:
                names = list_files(read_about(file)).items()
                if not any(find_damage(self.folder / n, e, whole=False) for n, e in names):
                    return self.folder
            self._bring(description)
        return self.folder

    def send(self) -> None:
        """Sends the copy, its description last. What an interrupted run has sent is kept."""
        description = (self.folder / self.done).read_bytes()
        there = self._description()
        if there == description:
            return
        fs, root = self._at
        files = list_files(read_about(self.folder / self.done))
        sent = self.folder.with_name(f"{self.folder.name}.sent")
        known = set(sent.read_text().splitlines()) if sent.exists() else set()

        def send(item: tuple[str, dict[str, Any] | None]) -> None:
            name, expected = item
            line = f"{expected['xxh128'] if expected else ''} {name}"
            if line in known:
                return
            with self._in_turn():
                fs.put_file(str(self.folder / name), f"{root}/{name}")
            with self._turn, sent.open("a") as log:
                log.write(f"{line}\n")

        try:
            if there is not None:
                sent.unlink(missing_ok=True)
                known.clear()
                fs.rm_file(f"{root}/{self.done}")
            for_each(send, list(files.items()))
            if (self.folder / "failures.csv").exists():
                fs.put_file(str(self.folder / "failures.csv"), f"{root}/failures.csv")
            fs.pipe_file(f"{root}/{self.done}", description)
        except AudioclsError:
            raise
        except Exception as error:  # what a file system raises is its own affair
            raise self._failure(error, "written") from None
        sent.unlink(missing_ok=True)

    def _bring(self, description: bytes) -> None:
        fs, root = self._at
        arriving = self.folder.with_name(f"{self.folder.name}.arriving") / self.done
        arriving.parent.mkdir(exist_ok=True)
        replace_file(arriving, description)
        files = list_files(read_about(arriving))
        if not all(files.values()):
            raise DataError(f"{self.url}: is of version 1, without checksums: extract it anew")
        # From here on the copy is whole only when all is there.
        for name in (self.done, "unfinished.json"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "shards").mkdir(exist_ok=True)

        def bring(item: tuple[str, dict[str, Any] | None]) -> None:
            name, expected = item
            if not find_damage(self.folder / name, expected, whole=True):
                return
            temporary = self.folder / f"{name}.tmp"
            try:
                with self._in_turn():
                    fs.get_file(f"{root}/{name}", str(temporary))
            except FileNotFoundError:
                raise DataError(f"{self.url}/{name}: is missing") from None
            except Exception as error:  # what a file system raises is its own affair
                raise self._failure(error, "read", name) from None
            if wrong := find_damage(temporary, expected, whole=True):
                temporary.unlink()
                raise DataError(f"{self.url}/{name}: {wrong}")
            temporary.replace(self.folder / name)

        for_each(bring, list(files.items()))
        self._bring_failures(fs, root)
        arriving.replace(self.folder / self.done)
        arriving.parent.rmdir()

    def _bring_failures(self, fs: Any, root: str) -> None:
        """failures.csv, which no description names and many have not."""
        (self.folder / "failures.csv").unlink(missing_ok=True)
        try:
            replace_file(self.folder / "failures.csv", fs.cat_file(f"{root}/failures.csv"))
        except (FileNotFoundError, NotADirectoryError):
            return
        except Exception as error:  # what a file system raises is its own affair
            raise self._failure(error, "read", "failures.csv") from None

    def _description(self) -> bytes | None:
        fs, root = self._at
        try:
            found: bytes = fs.cat_file(f"{root}/{self.done}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # what a file system raises is its own affair
            raise self._failure(error, "read") from None
        return found

    def _failure(self, error: Exception, done: str, name: str = "") -> AudioclsError:
        url = f"{self.url}/{name}" if name else self.url
        return translate_error("store", url, error, done)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Makes other processes that need the copy wait while this one brings it up to date.

        Raises:
            DataError: a run is making the copy.
        """
        while True:
            try:
                turn = FileLock(self.folder.with_name(f"{self.folder.name}.lock"))
                break
            except BlockingIOError:
                time.sleep(0.1)
        try:
            own = FileLock(self.folder / ".lock")
        except BlockingIOError:
            raise DataError(f"{self.folder}: another run is writing this store") from None
        try:
            yield
        finally:
            del own, turn

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """File systems that are not made for many threads serve one at a time."""
        fs, _ = self._at
        with contextlib.nullcontext() if fs.async_impl else self._turn:
            yield
