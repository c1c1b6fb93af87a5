"""The docstrings of the fields of a dataclass, of which options are made."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap


@functools.cache
def read_field_docs(cls: type) -> dict[str, str]:
    """The docstrings that stand under the fields of a dataclass and of those it extends."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, doc in zip(body.body, body.body[1:], strict=False):
            match field, doc:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    docs[name] = inspect.cleandoc(text)
    return docs
