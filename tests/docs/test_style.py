"""The rules of docs/STYLE.md that a program can check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from conftest import ROOT

from audiocls.cli import COMMANDS, main

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MODULES = sorted((ROOT / "python" / "audiocls").rglob("*.py"))
# What writes a line for people.
SPEAKERS = ("say", "say_note", "say_next", "warn")
MOST_WORDS_A_SENTENCE = 40
MOST_WORDS_A_PAGE = 1_800
MOST_WORDS = 15_000
# Words that say nothing, and inversions that the manual once had.
BANNED = (
    r"\bsimply\b", r"\beasily\b", r"\bobviously\b", r"\bof course\b", r"\bplease\b",
    r"\bHave you\b", r"\bIs loudness\b", r"(?-i:\bAre there\b)(?!\?)", r"\bwhosoever\b",
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


def faults(text: str) -> list[str]:
    """Sentences that are too long, and banned words."""
    text = prose(text)
    long = [s for s in sentences(text) if words(s) > MOST_WORDS_A_SENTENCE]
    return long + [m[0] for banned in BANNED for m in re.finditer(banned, text, re.I)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_are_plain(page: Path) -> None:
    text = page.read_text("utf-8")
    if page.name == "STYLE.md":  # it names what is banned
        text = re.sub(r"^(\d+\. Avoid|9\.|5\.) .*$", "", text, flags=re.M)
    assert not faults(text)


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
def test_help_is_plain_and_its_summary_whole(name: str) -> None:
    with main.make_context("audiocls", []) as context:
        command = main.get_command(context, name)
    assert command is not None
    texts = [command.help or ""]
    texts += [p.help or "" for p in command.params if isinstance(p, click.Option)]
    assert not [found for text in texts for found in faults(text.split("\b")[0])]
    # `audiocls --help` shows it uncut in 80 columns, of which click leaves two free.
    assert not command.get_short_help_str(78 - 6 - max(map(len, COMMANDS))).endswith("...")


def docstrings_and_messages(tree: ast.AST) -> Iterator[str]:
    """The docstrings of a module, and the constant parts of what it raises and says."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented):
            yield (ast.get_docstring(node) or "").split("\b")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name, parts = node.func.id, (n for a in node.args for n in ast.walk(a))
            strings = [n.value for n in parts if isinstance(n, ast.Constant)]
            if name in SPEAKERS or name.endswith("Error"):
                yield "".join(text for text in strings if isinstance(text, str))


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings_and_messages_are_plain(module: Path) -> None:
    texts = docstrings_and_messages(ast.parse(module.read_text("utf-8")))
    assert not [found for text in texts for found in faults(text)]
