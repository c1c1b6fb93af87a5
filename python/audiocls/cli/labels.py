"""The options that find the labels of a data set: one for each field of `Labelling`."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from audiocls.cli import Option
from audiocls.cli.fields import read_field_docs
from audiocls.data.labelling import Labelling
from audiocls.errors import SettingError

HEADING = "Labels"
_METAVARS = {
    "label_by": "COLUMN|REGEX",
    "columns": "FIELD=NAME,…",
    "label_separator": "SEP",
    "table": "FILE",
    "annotations": "DIR",
    "min_overlap": "SHARE",
    "background": "NAME",
    "classes": "A,B",
    "exclude": "PATTERN",
    "encoding": "NAME",
}


def add_labelling_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets them as one `labelling`."""

    @functools.wraps(command)
    def with_labelling(**options: Any) -> None:
        given = {name: options.pop(name) for name in _METAVARS}
        command(**options, labelling=make_labelling(given))

    docs = read_field_docs(Labelling)
    for field in reversed(fields(Labelling)):
        shape: dict[str, Any] = {"metavar": _METAVARS[field.name]}
        if field.name == "min_overlap":
            shape |= {"type": float, "default": field.default, "show_default": True}
        with_labelling = click.option(
            f"--{field.name.replace('_', '-')}",
            field.name,
            cls=Option,
            heading=HEADING,
            help=" ".join(docs[field.name].split()),
            multiple=field.name == "exclude",
            **shape,
        )(with_labelling)
    return with_labelling


def make_labelling(options: dict[str, Any]) -> Labelling:
    """The labelling of the options.

    Raises:
        SettingError: what no data set could honour.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if "columns" in given:
        pairs = [pair.partition("=") for pair in given["columns"].split(",")]
        if not all(equals and name.strip() for name, equals, _ in pairs):
            rule = "must be FIELD=NAME, several with commas, such as file_name=clip,label=bird"
            raise SettingError("columns", given["columns"], rule)
        given["columns"] = {name.strip(): column.strip() for name, _, column in pairs}
    if "classes" in given:
        given["classes"] = tuple(name.strip() for name in given["classes"].split(","))
    return Labelling(**given)


def refuse(labelling: Labelling, what: str) -> None:
    """Raises SettingError if any option is given, for `what` has its labels already."""
    plain = Labelling()
    for field in fields(Labelling):
        value = getattr(labelling, field.name)
        if value != getattr(plain, field.name):
            raise SettingError(field.name, _shown(field.name, value), f"is for recordings; {what}")


def format_options(labelling: Labelling) -> str:
    """The options of a labelling, to be shown: with a space before, or ""."""
    plain, words = Labelling(), [""]
    for field in fields(Labelling):
        value = getattr(labelling, field.name)
        if value == getattr(plain, field.name):
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if field.name == "exclude":
            words += [f"{flag} {shlex.quote(pattern)}" for pattern in value]
        else:
            words.append(f"{flag} {shlex.quote(str(_shown(field.name, value)))}")
    return " ".join(words)


def _shown(name: str, value: Any) -> Any:
    if name == "columns":
        return ",".join(f"{field}={column}" for field, column in value)
    return ",".join(value) if isinstance(value, tuple) else value
