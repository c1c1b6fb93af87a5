"""Tables as people write them: any encoding, any separator, columns under the names they have."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TextIO

from audiocls.errors import DataError, SettingError
from audiocls.files import escape

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
SEPARATORS = ",;\t|"
# What we read of a row, and the names that columns of it have elsewhere: ESC-50, UrbanSound8K,
# FSD50K, BirdCLEF, DCASE, Raven and what is usual. The first that is there is taken; case, spaces,
# "-" and "_" do not count.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "file_name": (
        "file name", "filename", "path", "filepath", "file path", "fname", "file",
        "slice file name", "audio file", "audio filename", "audio", "wav", "recording",
        "begin file",
    ),
    "label": (
        "label", "labels", "category", "class", "class name", "species", "event label",
        "primary label", "common name", "annotation", "sound class", "tag", "tags", "word",
        "target",
    ),
    "start_s": (
        "start s", "start", "onset", "begin", "start time", "start time s", "onset s", "begin s",
        "begin time", "begin time (s)", "start (s)", "onset (s)", "start seconds",
    ),
    "end_s": (
        "end s", "end", "offset", "stop", "end time", "end time s", "offset s", "stop s",
        "end time (s)", "end (s)", "offset (s)", "end seconds",
    ),
    "group": ("group",),
    "split": ("split",),
}  # fmt: skip
# What stands for a byte that the encoding does not know.
_BYTE = re.compile("[\udc80-\udcff]")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def detect_encoding(start: bytes, encoding: str | None) -> str:
    """The encoding of a text that begins with `start`.

    It is that of its byte order mark, else the given one, else UTF-8.

    Raises:
        SettingError: there is no such encoding.
    """
    if encoding is not None:
        try:
            codecs.lookup(encoding)
            b"a".decode(encoding)  # base64 and the like are codecs, but of no text
        except (LookupError, UnicodeError, ValueError):
            rule = "is no encoding of text that Python knows, such as latin-1, cp1252, utf-16"
            raise SettingError("encoding", encoding, rule) from None
    return next((name for mark, name in _MARKS if start.startswith(mark)), encoding or "utf-8")


def open_text(file: Path, encoding: str | None = None) -> TextIO:
    """Opens a text file for reading.

    Bytes that its encoding does not know become lone surrogates. `check_legible` refuses them, but
    the name of a file may have them.
    """
    with file.open("rb") as binary:
        found = detect_encoding(binary.read(4), encoding)
    return file.open(newline="", encoding=found, errors="surrogateescape")


def holds_bytes(text: str) -> bool:
    """Whether a text holds bytes that were not of the encoding that it was read in."""
    return _BYTE.search(text) is not None


def check_legible(text: str, where: str) -> str:
    """`text`, if all its bytes were of the encoding that it was read in. Raises DataError."""
    if holds_bytes(text):
        rule = "is not UTF-8; name the encoding of the table with `encoding`, for instance latin-1"
        raise DataError(f"{where}: {escape(text)} {rule}")
    return text


def normalize_name(name: str) -> str:
    """The name of a column without what does not count: case, spaces around, "-" and "_"."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def detect_separator(header: str) -> str:
    """What separates the cells of a table with this first line.

    It is what makes the most known columns of it, then what makes the most columns.
    """
    known = {name for names in KNOWN.values() for name in names}

    def worth(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=separator), [])
        return sum(normalize_name(cell) in known for cell in cells), len(cells)

    return max(SEPARATORS, key=worth)  # the first of equals: a comma


def read_rows(source: str, text: IO[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of each row of a table.

    The first line names the columns; spaces around a name do not count.

    Raises:
        DataError: a row has too many cells or too few.
    """
    first = text.readline()
    text.seek(0)
    reader = csv.reader(text, strict=True, delimiter=detect_separator(first))
    try:
        header = [check_legible(name, f"{source}: line 1").strip() for name in next(reader, [])]
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{source}: line {reader.line_num} has {len(cells)} cells, "
                    f"the header has {len(header)}"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{source}: line {reader.line_num}: {error}") from None


def match_columns(
    source: str, header: Iterable[str], given: Mapping[str, str], needed: Iterable[str]
) -> dict[str, str]:
    """Field of a row → column that holds it, of the fields in `KNOWN`.

    given: fields whose column was named by the user; "" for one that the table does not have, even
    if a column is called so. Raises SettingError if a column that was named is not there, DataError
    if a field that is `needed` has none.
    """
    header = list(header)
    by_name = {normalize_name(name): name for name in reversed(header)}
    found: dict[str, str] = {}
    for field, names in KNOWN.items():
        wanted = given.get(field)
        if wanted is None:
            column = next((by_name[name] for name in names if name in by_name), None)
            if column is not None:
                found[field] = column
        elif wanted:
            column = wanted if wanted in header else by_name.get(normalize_name(wanted))
            if column is None:
                rule = f"{source} has no such column; its columns are {', '.join(header)}"
                raise SettingError("columns", f"{field}={wanted}", rule)
            found[field] = column
    for field in needed:
        if field not in found:
            raise DataError(
                f"{source}: has no column {field}; its columns are {', '.join(header)}; "
                f"`columns` {field}=NAME says which it is"
            )
    # An end without a start, or the reverse, is metadata of another kind.
    if ("start_s" in found) != ("end_s" in found):
        for field in ("start_s", "end_s"):
            if given.get(field):
                other = "end_s" if field == "start_s" else "start_s"
                rule = f"{source} has no column for {other}; name it, too"
                raise SettingError("columns", f"{field}={given[field]}", rule)
            found.pop(field, None)
    return found


def parse_seconds(text: str) -> float:
    """A time in seconds; a comma may stand for the point. Raises ValueError if it is none."""
    value = float(text.strip().replace(",", "."))
    if not abs(value) < 1e9:
        raise ValueError("no time")
    return value
