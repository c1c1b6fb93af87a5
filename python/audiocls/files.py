"""Files that are complete or absent, whatever happens while they are written: CSV, JSON, any."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from audiocls.errors import DataError

# A metadata cell may be long, and Python's limit is 128 kB. The most that fits every C long.
_LONGEST_CELL = 2**31 - 1

# No description of a store or a model is longer.
LARGEST_DOCUMENT = 64 << 20

# What ends a line somewhere, moves a terminal's cursor or has no UTF-8, and what escapes it.
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_ESCAPED = re.compile(r"\\([\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|)")
_SHORT = {"\\": "\\", "\n": "n", "\r": "r", "\t": "t"}
_PLAIN = {short: c for c, short in _SHORT.items()}


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole: even after a crash a reader finds the old or the new one."""
    with _replacing(path) as file:
        file.write(data)


def write_json(path: Path, document: Any) -> None:
    """Writes plain data as JSON, whole as `replace_file` does.

    The file is ASCII, so that any string fits. Two surrogates that make a pair come back as the
    character that they are.
    """
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())


def link_file(source: Path, path: Path) -> None:
    """Gives a file a second name, or copies it if the file system has no links.

    The file is whole, as with `replace_file`. Its name is on the disk after `sync_folder`.
    """
    path.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), path)
    except OSError:  # another file system, or one without links
        with source.open("rb") as original, _replacing(path) as copy:
            shutil.copyfileobj(original, copy)


def read_json(path: Path) -> Any:
    """The document of a JSON file. Raises DataError if it is none, OSError if it cannot be read."""
    try:
        return json.loads(read_regular(path, LARGEST_DOCUMENT))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is damaged, it is no JSON ({error})") from None


def read_regular(path: Path, most: int) -> bytes:
    """The contents of a regular file of at most `most` bytes. Raises OSError for anything else."""
    with open_regular(path, most) as (file, n_bytes):
        return file.read(n_bytes)


@contextlib.contextmanager
def open_regular(path: Path, most: int) -> Iterator[tuple[BinaryIO, int]]:
    """Opens a regular file of at most `most` bytes for reading; gives the file and its size.

    Raises:
        OSError: for anything else. A pipe, a device or what only looks like a file (/proc/kmsg)
            would block, or go on for ever.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a zero byte, or what no file system can hold
        raise OSError(f"{escape(str(path))}: is no name of a file ({error})") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path}: is a pipe, socket or device, not a regular file")
        if status.st_size > most:
            raise OSError(f"{path}: is larger than {most} bytes")
        yield file, status.st_size


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as UTF-8, a line a row, whole as `replace_file` does.

    None becomes an empty cell; strings are written as `escape` says, so that `read_csv` gives back
    any text.
    """
    with _replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        for row in itertools.chain([header], rows):
            writer.writerow([escape(c) if isinstance(c, str) else c for c in row])
        text.detach()  # flushed; the file is closed where it was opened


def read_csv(path: Path) -> Iterator[list[str]]:
    """The rows of a table that `write_csv` wrote, its header first.

    Raises:
        DataError: the table is damaged.
        OSError: the file cannot be read.
    """
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(newline="", encoding="utf-8") as text:
        reader = csv.reader(text, strict=True)
        try:
            for row in reader:
                yield [unescape(cell) for cell in row]
        except (ValueError, csv.Error) as error:
            raise DataError(f"{path}: line {reader.line_num} is damaged ({error})") from None


def escape(text: str) -> str:
    r"""Writes a text as one line of valid UTF-8.

    A backslash becomes `\\`, a byte that is not UTF-8 `\xHH`. A control character, line separator,
    byte order mark or lone surrogate becomes `\n`, `\r`, `\t` or `\uHHHH`.
    """

    def escaped(match: re.Match[str]) -> str:
        c = match[0]
        if c in _SHORT:
            return "\\" + _SHORT[c]
        return f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else f"\\u{ord(c):04x}"

    return _UNSAFE.sub(escaped, text)


def make_printable(text: str) -> str:
    """Writes a text as one line that a terminal shows and does not obey.

    What is no letter, sign or space is written as `escape` writes it, and so is what turns the
    direction of text. A backslash stays, so this is for people only.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(c: str) -> str:
    if c.isprintable() or c in _SHORT:
        return c if c.isprintable() else "\\" + _SHORT[c]
    if "\udc80" <= c <= "\udcff":
        return f"\\x{ord(c) - 0xDC00:02x}"
    return f"\\x{ord(c):02x}" if ord(c) < 0x100 else f"\\u{ord(c):04x}"


def unescape(text: str) -> str:
    """The inverse of `escape`. Raises ValueError for a backslash that escapes nothing."""

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code in _PLAIN:
            return _PLAIN[code]
        if not code:
            raise ValueError(f"a backslash escapes nothing in {text!r}")
        return chr(int(code[1:], 16) + 0xDC00 * (code[0] == "x"))

    return _ESCAPED.sub(plain, text) if "\\" in text else text


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when it is whole and on the disk."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)  # the name is in the folder
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk says which file it had no room for
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names of the files in a folder outlast a crash."""
    if os.name != "posix":
        return  # Windows cannot open a folder, and needs no such step.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
