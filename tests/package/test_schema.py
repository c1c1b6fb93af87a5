"""One check of every JSON document: whatever is wrong is one line that names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocls.errors import DataError
from audiocls.files import read_json, write_json
from audiocls.schema import Rule, at_least, one_of, optional, validate

SHAPE = {
    "name": str,
    "n": at_least(1),
    "share": float,
    "ok": bool,
    "kind": one_of("a", "b"),
    "shape": Rule([int], "must have 2 sizes", lambda sizes: len(sizes) == 2),
    "counts": {str: at_least(0)},
    "parts": [{"rows": at_least(0)}],
    "any": object,
    "later": optional({"x": int}),
}
GOOD = {
    "name": "x",
    "n": 1,
    "share": 1,
    "ok": False,
    "kind": "a",
    "shape": [1, -2],
    "counts": {"a": 0},
    "parts": [{"rows": 3, "more": None}],
    "any": [None],
}


def test_what_fits_is_given_back() -> None:
    assert validate(GOOD, SHAPE, "d.json") is GOOD
    validate({**GOOD, "later": None}, SHAPE, "d.json")
    validate({**GOOD, "later": {"x": 1}, "more": []}, SHAPE, "d.json")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name", 1, "name 1 is invalid: must be text"),
        ("n", 0, "n 0 is invalid: must be >= 1"),
        ("n", True, "n True is invalid: must be a whole number"),
        ("n", 1.0, "n 1.0 is invalid: must be a whole number"),
        ("n", 10**400, "must be finite and at most 9007199254740992"),
        ("share", float("nan"), "share nan is invalid: must be finite"),
        ("share", float("inf"), "share inf is invalid: must be finite"),
        ("share", "1", "share '1' is invalid: must be a number"),
        ("ok", 1, "ok 1 is invalid: must be true or false"),
        ("kind", [], r"kind \[\] is invalid: must be one of a, b"),
        ("shape", [1], r"shape \[1\] is invalid: must have 2 sizes"),
        ("shape", [1, None], r"shape\[1\] None is invalid"),
        ("shape", {}, r"shape {} is invalid: must be a list"),
        ("counts", {"a": -1}, r"counts\.a -1 is invalid: must be >= 0"),
        ("counts", {"\n" * 99: ""}, r"counts\.\\n.* '' is invalid: must be a whole number"),
        ("counts", [], r"counts \[\] is invalid: must be an object"),
        ("parts", [{}], r"has no parts\[0\]\.rows"),
        ("later", {}, r"has no later\.x"),
    ],
)
def test_what_does_not_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^d\.json: .*{message}"):
        validate({**GOOD, name: value}, SHAPE, "d.json")


def test_what_is_missing_is_named() -> None:
    for name in GOOD:
        with pytest.raises(DataError, match=f"^d.json: has no {name}$"):
            validate({k: v for k, v in GOOD.items() if k != name}, SHAPE, "d.json")
    for document in (None, [], "x", 1):
        with pytest.raises(DataError, match=r"^d\.json: .* is invalid: must be an object"):
            validate(document, SHAPE, "d.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_any_document_passes_or_is_refused_in_one_line(name: str, value: Any) -> None:
    text = ""
    try:
        validate({**GOOD, name: value}, SHAPE, "d.json")
    except DataError as error:
        text = str(error)
    assert len(text) < 200
    assert "\n" not in text


def test_json_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    write_json(file, GOOD)
    assert read_json(file) == GOOD
    for text in (b"", b"{", b"\xff", b'{"n": 1' + b"0" * 5000 + b"}", b"[" * 100_000):
        file.write_bytes(text)
        with pytest.raises(DataError, match=r"d\.json: is damaged, it is no JSON"):
            read_json(file)


def test_only_a_regular_file_of_some_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="is a pipe, socket or device, not a regular file"):
            read_json(name)
    monkeypatch.setattr("audiocls.files.LARGEST_DOCUMENT", 4)
    (tmp_path / "d.json").write_text("[1, 2]")
    with pytest.raises(OSError, match=r"d\.json: is larger than 4 bytes"):
        read_json(tmp_path / "d.json")
