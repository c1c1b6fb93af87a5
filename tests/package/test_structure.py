"""What the import contract cannot see: who knows the native module."""

import ast
from pathlib import Path

import audiocls

ROOT = Path(audiocls.__file__).parent


def test_only_the_engine_wing_imports_the_native_module() -> None:
    found = set()
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            if {"_native", "audiocls._native"} & set(names):
                found.add(file.relative_to(ROOT).parts[0])
    assert found == {"engine"}
