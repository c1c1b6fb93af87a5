"""What a column of the metadata, or an expression searched in the path, says of recordings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from audiocls.data.recordings import Recording
from audiocls.errors import DataError, SettingError, unknown


def columns_of(recordings: Sequence[Recording]) -> list[str]:
    """The columns that `values_of` takes."""
    return sorted({name for r in recordings for name in r.extra} | {"group"})


def values_of(
    recordings: Sequence[Recording], by: str, name: str, others: Sequence[str] = ()
) -> tuple[list[str | None], str]:
    """What `by` says of each recording, None if nothing, and the rule that those break.

    by: a metadata column, or a regular expression searched in the path, whose captured groups,
    joined by "/", are the value (without captured groups: the whole match). name: of the setting,
    others: what else it takes, for errors.

    Raises SettingError for an expression that does not compile or a word that is no column.
    """
    columns = columns_of(recordings)
    if by in columns:
        values = [r.group if by == "group" else r.extra.get(by) for r in recordings]
        return [str(value) if value else None for value in values], f"has no value in column {by!r}"
    if re.fullmatch(r"\w+", by):
        raise unknown(name, by, [*others, *columns, "a regular expression"])
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise SettingError(name, by, f"no valid expression: {error}") from None
    matches = [pattern.search(r.path) for r in recordings]
    values = [m and ("/".join(g or "" for g in m.groups()) or m[0]) for m in matches]
    return [value or None for value in values], f"does not match `{name}` {by!r}"


def groups_of(
    recordings: Sequence[Recording], group_by: str | None, name: str = "group_by"
) -> list[str]:
    """The group of each recording.

    group_by: None: the data set's `group` column where it has one, else the recording itself;
    `recording`: always the recording itself; else as `values_of` takes it.

    Raises what `values_of` raises; DataError for recordings without a value or a match.
    """
    if group_by is None:
        return [r.group for r in recordings]
    if group_by == "recording":
        return [r.path for r in recordings]
    groups, rule = values_of(recordings, group_by, name, ["recording"])
    without = [r.path for r, group in zip(recordings, groups, strict=True) if not group]
    if without:
        more = f" (and {len(without) - 1} more)" if len(without) > 1 else ""
        raise DataError(f"recording {without[0]!r}{more} {rule}")
    return [str(group) for group in groups]
