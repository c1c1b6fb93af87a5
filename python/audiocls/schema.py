"""What a JSON document must look like, checked once and whole.

A shape is a type (`str`, `bool`, `int`, `float`; `object` for anything), `[shape]` for a list,
`{"name": shape}` for an object with at least these members, `{str: shape}` for one with members of
any name, or a `Rule`. JSON's true is no number, and NaN and infinity are none either.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audiocls.errors import DataError

_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
_BIGGEST = 2**53  # as JSON's own numbers; sums and products of a few stay exact


@dataclass(frozen=True)
class Rule:
    """A shape, and what else holds for every valid value."""

    shape: Any
    rule: str
    holds: Callable[[Any], bool] = lambda _: True
    optional: bool = False  # null will do, and so will its absence


def at_least(low: float, shape: type = int) -> Rule:
    """Makes the rule for a number that is `low` or more."""
    return Rule(shape, f"must be >= {low}", lambda value: value >= low)


def one_of(*choices: object) -> Rule:
    """Makes the rule for a value among fixed ones."""
    return Rule(object, f"must be one of {', '.join(map(str, choices))}", choices.__contains__)


def optional(shape: Any) -> Rule:
    """Makes the rule for a member that may be null or absent."""
    return Rule(shape, "", optional=True)


def validate(document: Any, shape: Any, source: str, name: str = "") -> Any:
    """`document`, if it has the shape. Raises DataError: source, name, value and rule if not."""

    def wrong(rule: str) -> DataError:
        what = f"{name} {reprlib.repr(document)}" if name else f"{reprlib.repr(document)}"
        return DataError(f"{source}: {what} is invalid: {rule}")

    if isinstance(shape, Rule):
        if not (shape.optional and document is None):
            validate(document, shape.shape, source, name)
            if not shape.holds(document):
                raise wrong(shape.rule)
    elif isinstance(shape, list):
        if not isinstance(document, list):
            raise wrong("must be a list")
        for i, item in enumerate(document):
            validate(item, shape[0], source, f"{name}[{i}]")
    elif isinstance(shape, dict):
        if not isinstance(document, dict):
            raise wrong("must be an object")
        for key in {**shape, **document} if str in shape else shape:
            if key is str:
                continue
            rule = shape.get(key, shape.get(str))
            if key not in document and not (isinstance(rule, Rule) and rule.optional):
                raise DataError(f"{source}: has no {f'{name}.' if name else ''}{key}")
            member = f"{name}." * bool(name) + reprlib.repr(key)[1:-1]
            validate(document.get(key), rule, source, member)
    elif shape is not object:
        kinds = (int, float) if shape is float else shape
        number = shape in (int, float)
        if not isinstance(document, kinds) or (number and isinstance(document, bool)):
            raise wrong(f"must be {_NAMES[shape]}")
        if number and not abs(document) <= _BIGGEST:  # nor is NaN
            raise wrong(f"must be finite and at most {_BIGGEST}")
    return document
