"""The generated pages are those of the program."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import ROOT

_SPEC = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _SPEC is not None
assert _SPEC.loader is not None
generate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(generate)


@pytest.mark.parametrize(("name", "text"), generate.pages().items())
def test_a_page_is_current(name: str, text: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == text, "make reference writes it"
