"""What a column of the metadata, or an expression searched in the path, says of recordings."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import regex

from audiocls.data.recordings import Recording
from audiocls.errors import ChoiceError, DataError, SettingError

# Seconds that an expression may take on all paths: many times what any sound one needs.
SEARCH_S = 5.0
SEARCH_S_A_PATH = 1e-3


def list_columns(recordings: Sequence[Recording]) -> list[str]:
    """The columns that `find_values` takes."""
    return sorted({name for r in recordings for name in r.extra} | {"group"})


def find_values(
    recordings: Sequence[Recording], by: str, name: str, others: Sequence[str] = ()
) -> tuple[list[str | None], str]:
    """What `by` says of each recording, None if nothing, and the rule that those break.

    by: a metadata column, or a regular expression searched in the path, whose captured groups,
    joined by "/", are the value (without captured groups: the whole match). name: of the setting,
    others: what else it takes, for errors.

    Raises SettingError for an expression that does not compile or a word that is no column.
    """
    columns = list_columns(recordings)
    if by in columns:
        values = [r.group if by == "group" else r.extra.get(by) for r in recordings]
        return [str(value) if value else None for value in values], f"has no value in column {by!r}"
    if re.fullmatch(r"\w+", by):
        raise ChoiceError(name, by, [*others, *columns, "a regular expression"])
    matches = _searched(by, name, [r.path for r in recordings])
    values = [m and ("/".join(g or "" for g in m.groups()) or m[0]) for m in matches]
    return [value or None for value in values], f"does not match `{name}` {by!r}"


def _searched(by: str, name: str, paths: Sequence[str]) -> list[regex.Match[str] | None]:
    """What the expression `by` finds in each path.

    Some expressions take for ever on a long path (catastrophic backtracking). The package `regex`
    takes the expressions of `re`, and a time limit.
    """
    try:
        pattern = regex.compile(by)
    except regex.error as error:
        raise SettingError(name, by, f"no valid expression: {error}") from None
    matches, end = [], time.monotonic() + SEARCH_S + SEARCH_S_A_PATH * len(paths)
    for path in paths:
        try:
            matches.append(pattern.search(path, timeout=max(end - time.monotonic(), 0.01)))
        except TimeoutError:
            shown = path if len(path) <= 80 else f"{path[:80]}…"
            rule = f"takes too long on {shown!r}: one repetition within another, as in (a+)+?"
            raise SettingError(name, by, rule) from None
    return matches


def find_groups(
    recordings: Sequence[Recording], group_by: str | None, name: str = "group_by"
) -> list[str]:
    """The group of each recording.

    group_by: None: the data set's `group` column where it has one, else the recording itself;
    `recording`: always the recording itself; else as `find_values` takes it.

    Raises what `find_values` raises; DataError for recordings without a value or a match.
    """
    if group_by is None:
        return [r.group for r in recordings]
    if group_by == "recording":
        return [r.path for r in recordings]
    groups, rule = find_values(recordings, group_by, name, ["recording"])
    without = [r.path for r, group in zip(recordings, groups, strict=True) if not group]
    if without:
        more = f" (and {len(without) - 1} more)" if len(without) > 1 else ""
        raise DataError(f"recording {without[0]!r}{more} {rule}")
    return [str(group) for group in groups]
