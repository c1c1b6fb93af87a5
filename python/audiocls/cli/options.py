"""Options that are made from the fields of a dataclass: a field is an option, and its docstring the
help."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click

from audiocls.training.recipe import PRESETS, Recipe, field_types

F = TypeVar("F", bound=Callable[..., Any])


def recipe_options(recipe: type[Recipe] = Recipe) -> Callable[[F], F]:
    """Adds `--recipe` and an option for every field of `recipe`. None stands for not given."""

    def add(command: F) -> F:
        # A class has a hash; that its instances have none confuses mypy.
        docs = field_docs(recipe)  # type: ignore[arg-type]
        kinds = field_types(recipe)
        for field in reversed(fields(recipe)):
            command = _option(field.name, kinds[field.name], field.default, docs)(command)
        return click.option(
            "--recipe",
            "preset",
            metavar="|".join(PRESETS),
            help="How to train: a set of values for the options below that are not given.  "
            "[default: modern; with --init finetune]",
        )(command)

    return add


def recipe_of(preset: str | None, options: dict[str, Any], begun: bool = False) -> Recipe:
    """The recipe that `recipe_options` were given; begun: for models that begin with another."""
    preset = preset or ("finetune" if begun else "modern")
    return Recipe.preset(preset, **{k: v for k, v in options.items() if v is not None})


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
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


def _option(name: str, kind: Any, default: Any, docs: dict[str, str]) -> Callable[[F], F]:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(k for k in get_args(kind) if k is not type(None))
    flag = "--" + name.replace("_", "-")
    shape: dict[str, Any] = {"type": kind}
    if kind is bool:
        flag, shape = f"{flag}/--no-{flag[2:]}", {}
    elif get_origin(kind) is Literal:
        shape = {"type": str, "metavar": "|".join(get_args(kind))}
    elif get_origin(kind) is tuple:
        shape = {"type": get_args(kind)[0], "nargs": len(get_args(kind))}
    differing = "".join(
        f"; {preset}: {_shown(values[name])}"
        for preset, values in PRESETS.items()
        if name in values
    )
    help_text = f"{' '.join(docs[name].split())}  [default: {_shown(default)}{differing}]"
    return click.option(flag, name, default=None, help=help_text, **shape)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
