"""Tables and documents that come back as they were written, or not at all."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiocls.data.recordings import Recording, read_recordings, write_recordings
from audiocls.errors import DataError
from audiocls.files import escape, read_csv, unescape, write_csv, write_json

# Any string that Python can hold: lone surrogates stand for bytes that are not UTF-8.
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
# What ends a line for somebody: str.splitlines, csv, a terminal; and what has no UTF-8.
UNSAFE = "\x00\t\n\r\x0b\x0c\x1b\x1c\x1d\x1e\x7f\x85\u2028\u2029\ufeff\ud800\udc80\udfff\\,\" '"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all draws of a property."""
    return tmp_path_factory.mktemp("files")


@given(TEXT)
@example(UNSAFE)
@example("\\x41 \\u0041 \\\\")
def test_escape_is_reversible_and_one_line_of_utf8(text: str) -> None:
    escaped = escape(text)
    assert escaped.encode("utf-8").decode("utf-8-sig") == escaped
    assert len(escaped.splitlines()) <= 1
    assert unescape(escaped) == text


def test_unescape_reads_what_older_versions_wrote() -> None:
    assert unescape(r"a\\b\xff\x80") == "a\\b\udcff\udc80"
    for damaged in ("\\", r"\y", r"\x4", r"\u12"):
        with pytest.raises(ValueError, match="escapes nothing"):
            unescape(damaged)


@given(rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=4))
@example(rows=[["", "", ""], [UNSAFE, "", "x"]])
def test_a_table_is_read_as_it_was_written(rows: list[list[str]], folder: Path) -> None:
    write_csv(folder / "t.csv", ["a", "", UNSAFE], rows)
    assert list(read_csv(folder / "t.csv")) == [["a", "", UNSAFE], *rows]
    text = (folder / "t.csv").read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(rows) + 1


@given(texts=st.lists(TEXT, max_size=4), names=st.sets(TEXT, max_size=3))
@example(texts=[UNSAFE, ""], names={UNSAFE, ""})
def test_recordings_csv_keeps_any_text(texts: list[str], names: set[str], folder: Path) -> None:
    recordings = [
        Recording(i, text, text, text[::-1], text, error=text, extra=dict.fromkeys(names, text))
        for i, text in enumerate(texts)
    ]
    write_recordings(folder / "recordings.csv", recordings)
    assert read_recordings(folder / "recordings.csv") == recordings


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    rows = [["x" * 300_000], ["\r" * 100_000]]  # Python's reader stops at 131,072 by itself
    write_csv(tmp_path / "t.csv", ["a"], rows)
    assert list(read_csv(tmp_path / "t.csv")) == [["a"], *rows]


def test_numbers_and_none(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("a", "b"), [(1, None), (0.1, "x,y")])
    assert (tmp_path / "t.csv").read_bytes() == b'a,b\n1,\n0.1,"x,y"\n'
    with (tmp_path / "t.csv").open(newline="") as text:
        assert [row["b"] for row in csv.DictReader(text)] == ["", "x,y"]


@pytest.mark.parametrize("damaged", [b'a\n"b', b"a\nb\xff\n", b"a\nb\\\n", b'a\n"b"c\n'])
def test_a_damaged_table_is_named(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(damaged)
    with pytest.raises(DataError, match=r"t\.csv: line \d is damaged"):
        list(read_csv(tmp_path / "t.csv"))


def test_json_holds_any_string(tmp_path: Path) -> None:
    document = {UNSAFE[::-1]: [UNSAFE[::-1], 1.5, None]}
    write_json(tmp_path / "d.json", document)
    assert json.loads((tmp_path / "d.json").read_bytes()) == document
    (tmp_path / "d.json").read_text(encoding="ascii")


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    """A write that the system refuses, as on a full disk: here by a limit on the size of files."""
    file = tmp_path / "t.csv"
    write_csv(file, ["old"], [])
    program = (
        "import resource, signal, sys; from pathlib import Path; from audiocls import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))\n"
        "try: files.write_csv(Path(sys.argv[1]), ['a'], [['x' * 99]] * 9999)\n"
        "except OSError as error: print(error.filename, error.strerror, sep='; ')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{file}; File too large\n"
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "old\n"
