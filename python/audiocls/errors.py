"""The errors a user can cause. Every message names the thing, its value and the rule it broke."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AudioclsError(Exception):
    """Base of all errors that are the input's fault, not a defect of the program."""


class SettingError(AudioclsError, ValueError):
    """An option or argument that no run could honour. The command line exits with 2."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(f"{name} {value!r} is invalid: {rule}")
        self.name, self.value, self.rule = name, value, rule


class ChoiceError(SettingError):
    """A value outside a fixed set; the message suggests the nearest valid one if there is one."""

    def __init__(self, name: str, value: str, choices: Iterable[str]) -> None:
        choices = list(choices)
        near = difflib.get_close_matches(value.lower(), choices, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(name, value, f"{hint}choose from {', '.join(choices)}")


class DataError(AudioclsError, ValueError):
    """Recordings or a store that cannot be used as asked. The command line exits with 1."""


class UnusableError(AudioclsError, OSError):
    """A recording that can be decoded, but holds a NaN or more than 24 hours."""


class LimitError(AudioclsError, OSError):
    """A recording that takes more time or memory than any sound one: decoding it was given up."""


def explain_failure(path: str, error: Exception) -> str:
    """Why a recording gave nothing, without its path, which stands beside it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path!r} ")


def condense_message(error: Exception) -> str:
    """Put what an error says on one line; the name of its type if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
