"""The rules of docs/STYLE.md that a program can check."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from conftest import ROOT

from audiocls.cli import COMMANDS, main

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MOST_WORDS_A_SENTENCE = 40
MOST_WORDS_A_PAGE = 1_800
MOST_WORDS = 15_000
# Words that say nothing, and inversions that the manual once had.
BANNED = (
    r"\bsimply\b", r"\beasily\b", r"\bobviously\b", r"\bof course\b", r"\bplease\b",
    r"\bHave you\b", r"\bIs loudness\b", r"\bAre there\b(?!\?)", r"\bwhosoever\b",
    r"\bthe said\b", r"\bdecides the one\b", r"\bbut for\b",
)  # fmt: skip


def prose(text: str) -> str:
    """A page without code, tables, headings, comments and links' targets."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"^(\|.*|#+ .*|<.*|  <.*)$", "", text, flags=re.M)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"`[^`]*`", "code", text)


def sentences(text: str) -> list[str]:
    """Sentences, list items and paragraphs, each on its own."""
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text)
    joined = [" ".join(block.split()) for block in blocks]
    return [s for block in joined for s in re.split(r"(?<=[.!?:;])\s+", block) if s]


def words(text: str) -> int:
    return len(re.findall(r"[A-Za-z0-9][\w’'-]*", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sentences_are_short(page: Path) -> None:
    long = [
        s for s in sentences(prose(page.read_text("utf-8"))) if words(s) > MOST_WORDS_A_SENTENCE
    ]
    assert not long, long


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_words_are_plain(page: Path) -> None:
    text = "" if page.name == "STYLE.md" else page.read_text("utf-8")  # that page names them
    text = prose(text)
    found = [m[0] for banned in BANNED for m in re.finditer(banned, text, re.I)]
    assert not found, found


def test_pages_and_the_manual_are_short() -> None:
    # What they say: words, not the marks of tables and code.
    code = re.compile(r"^```.*?^```$", re.M | re.S)
    counts = {p: words(code.sub("", p.read_text("utf-8"))) for p in PAGES}
    assert counts[ROOT / "README.md"] <= 600
    long = {str(p): n for p, n in counts.items() if n > MOST_WORDS_A_PAGE}
    assert not long, long
    manual = sum(n for p, n in counts.items() if p.name not in ("README.md", "STYLE.md"))
    assert manual <= MOST_WORDS, manual


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_short_sentences_and_a_whole_summary(name: str) -> None:
    with main.make_context("audiocls", []) as context:
        command = main.get_command(context, name)
    assert command is not None
    texts = [command.help or ""]
    texts += [p.help or "" for p in command.params if isinstance(p, click.Option)]
    for text in texts:
        text = text.split("\b")[0]
        long = [s for s in sentences(prose(text)) if words(s) > MOST_WORDS_A_SENTENCE]
        assert not long, long
    # `audiocls --help` shows it uncut in 80 columns.
    assert not command.get_short_help_str(80 - 6 - max(map(len, COMMANDS))).endswith("...")
