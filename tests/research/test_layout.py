"""The laboratory uses the product; the product does not know the laboratory."""

from __future__ import annotations

import ast

from conftest import ROOT


def imports_of(source: str) -> set[str]:
    """The first words of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


def test_the_package_imports_no_script_of_the_laboratory() -> None:
    scripts = {path.stem for path in (ROOT / "research").rglob("*.py")}
    assert {"elsewhere", "study"} <= scripts
    for path in (ROOT / "python" / "audiocls").rglob("*.py"):
        assert not imports_of(path.read_text("utf-8")) & scripts, path
