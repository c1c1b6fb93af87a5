"""Parts of a store, made anywhere by `extraction.extract_part`, and their joining into the store.

A part is the folder OUT/parts/I-of-N with some of the shards, its own rows of recordings.csv and,
written last, part.json. The joined store is byte for byte that of one run on one machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from audiocls.data.recordings import EVENTS, Recording, iterate_recordings
from audiocls.errors import DataError, SettingError
from audiocls.files import link_file, read_csv, sync_folder, write_csv
from audiocls.store.completion import check_some_clip, complete, describe_losses
from audiocls.store.format import UNFINISHED, list_files, read_about, verify
from audiocls.store.place import list_parts, local_copy, writing_to
from audiocls.store.resume import PARTS, compare_settings, open_locked
from audiocls.store.store import Store, open_store
from audiocls.url import is_url


@dataclass(frozen=True)
class Part:
    """A finished part."""

    path: Path
    about: dict[str, Any]  # part.json

    @property
    def number(self) -> int:
        """Which part it is, from 1."""
        return int(self.about["part"]["number"])

    @property
    def of(self) -> int:
        """How many parts there are."""
        return int(self.about["part"]["of"])


@overload
def locate_part(out: Path, number: int, of: int) -> Path: ...
@overload
def locate_part(out: str | Path, number: int, of: int) -> str | Path: ...
def locate_part(out: str | Path, number: int, of: int) -> str | Path:
    """Where a part of the store `out` is made: a path, or a URL where `out` is one."""
    name = f"{number}-of-{of}"
    return f"{str(out).rstrip('/')}/{PARTS}/{name}" if is_url(out) else Path(out) / PARTS / name


def read_part(path: str | Path) -> Part:
    """The part in a folder, or at a URL. Raises DataError if it is unfinished, damaged or none."""
    path = local_copy(path, "part.json")
    if not (path / "part.json").is_file():
        unfinished = any((path / name).is_file() for name in ("unfinished.json", ".lock"))
        what = "is unfinished: run its `audiocls extract` again" if unfinished else (
            "is no part of a store: it has no part.json"
        )  # fmt: skip
        raise DataError(f"{path}: {what}")
    return Part(path, read_about(path / "part.json"))


def merge(
    out: str | Path,
    parts: Sequence[str | Path] = (),
    *,
    accept_failures: bool = False,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Store:
    """Joins parts, by default all under OUT/parts, into the store `out`, and opens it.

    The order does not matter, and a part may be there twice. All is checked, every byte included,
    before the store is touched, and store.json comes last. The shards stay in the parts too, under
    a second name where the file system has such. `progress` is called with files read, of how many.

    Raises:
        DataError: a part is missing, unfinished, damaged, there twice with different contents, or
            of other settings or data; or too many recordings failed (unless `accept_failures`).
        SettingError: something else is in `out`.
        OSError: `out` cannot be written.
    """
    joined = _that_fit([read_part(folder) for folder in _folders(out, parts)])
    _check_bytes(joined, progress)
    recordings = _recordings(joined)
    see = "the failures.csv of the parts"
    check_some_clip(recordings, see)
    if not accept_failures and (
        lost := describe_losses(recordings, joined[0].about.get("label_separator"))
    ):
        raise DataError(
            f"{lost}; see {see}. Nothing is merged: make the parts again with `restart`, or merge "
            "with `accept_failures`"
        )
    first = joined[0].about
    about = {name: first[name] for name in UNFINISHED if name in first}
    shards = [shard for part in joined for shard in part.about["shards"]]
    with (
        writing_to(out, restart=False) as folder,
        open_locked(folder, "store.json", about, recordings, False, notice or (lambda text: None)),
    ):
        if (folder / "store.json").exists():
            if read_about(folder / "store.json")["shards"] != shards:
                raise DataError(f"{out}: holds other shards than the parts; remove its store.json")
        else:
            for part in joined:
                for name in list_files(part.about):
                    if name not in ("recordings.csv", EVENTS):
                        link_file(part.path / name, folder / name)
            sync_folder(folder / "shards")
            _join_failures(folder, joined)
            complete(folder, "store.json", about, recordings, shards, first["shape"][1:])
    return open_store(folder)


def _join_failures(out: Path, parts: list[Part]) -> None:
    """The failures.csv of all parts as one."""
    files = [part.path / "failures.csv" for part in parts]
    rows = [row for file in files if file.exists() for row in list(read_csv(file))[1:]]
    (out / "failures.csv").unlink(missing_ok=True)
    if rows:
        write_csv(out / "failures.csv", ("path", "reason"), rows)


def _folders(out: str | Path, parts: Sequence[str | Path]) -> list[str | Path]:
    there = list_parts(str(out)) if is_url(out) else sorted((Path(out) / PARTS).glob("*-of-*"))
    folders = list(parts or there)
    if not folders:
        rule = "has no parts: `audiocls extract DATA --shard I/N --out OUT` makes them"
        raise SettingError("OUT", str(out), rule)
    return folders


def _that_fit(parts: list[Part]) -> list[Part]:
    """Each part once, in their order, if they are all parts of one store."""
    first, by_number = parts[0], dict[int, Part]()
    for part in parts:
        if part.number > part.of:
            raise DataError(f"{part.path}: is damaged, it is part {part.number} of {part.of}")
        if part.of != first.of:
            raise DataError(f"{part.path}: is one of {part.of} parts, {first.path} of {first.of}")
        if differences := compare_settings(first.about, part.about):
            texts = [text.replace(", now ", f" in {first.path}, here ") for text in differences]
            raise DataError(f"{part.path}: was made with other settings: {'; '.join(texts)}")
        if part.about["part"]["listing"] != first.about["part"]["listing"]:
            raise DataError(f"{part.path}: was made from other data than {first.path}")
        twin = by_number.setdefault(part.number, part)
        if twin is not part and any(
            twin.about[name] != part.about[name] for name in ("shards", "files")
        ):
            rule = "has other contents; merge one of them, or make both again"
            raise DataError(f"{part.path}: is the same part as {twin.path} and {rule}")
    # No more than a few are looked at: `of` may be any number.
    numbers = (str(i) for i in range(1, first.of + 1) if i not in by_number)
    if missing := list(itertools.islice(numbers, 5)):
        n_missing = first.of - len(by_number)
        names = ", ".join(missing) + (", …" if n_missing > len(missing) else "")
        raise DataError(
            f"{n_missing} of {first.of} parts missing: {names}; "
            f"`audiocls extract DATA --shard {missing[0]}/{first.of}` makes one"
        )
    return [by_number[number] for number in sorted(by_number)]


def _check_bytes(parts: list[Part], progress: Callable[[int, int], None] | None) -> None:
    done = 0
    total = sum(len(list_files(part.about)) for part in parts)

    def told(read: int, _: int) -> None:
        if progress is not None:
            progress(done + read, total)

    for part in parts:
        for name, wrong in verify(part.path, told, done="part.json").items():
            rule = "run the `audiocls extract` of this part again"
            raise DataError(f"{part.path / name} {wrong}: {rule}")
        done += len(list_files(part.about))


def _recordings(parts: list[Part]) -> list[Recording]:
    """The recordings of all parts, once it is clear that they and the shards join without a gap."""
    recordings: list[Recording] = []
    n_shards = 0
    for part in parts:
        if part.about["part"]["first_shard"] != n_shards:
            raise DataError(f"{part.path / 'part.json'}: is damaged: its first shard is another")
        n_shards += len(part.about["shards"])
        for recording in iterate_recordings(part.path / "recordings.csv"):
            if recording.id != len(recordings):
                raise DataError(f"{part.path / 'recordings.csv'}: does not go on where it should")
            recordings.append(recording)
    return recordings
