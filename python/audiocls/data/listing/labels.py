"""The labels of a listing: where they stand, which count, and what the user should know of them."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections import Counter

from audiocls.data.grouping import find_values
from audiocls.data.labelling import Labelling
from audiocls.data.recordings import Listing, notice_similar_labels
from audiocls.data.tables import holds_bytes
from audiocls.errors import SettingError
from audiocls.files import escape


def exclude(listing: Listing, patterns: tuple[str, ...]) -> None:
    """Leaves out the recordings that `patterns` name by their path or by a folder of it."""
    if not patterns:
        return

    def named(path: str) -> bool:
        parts = path.split("/")
        above = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        return any(
            fnmatch.fnmatchcase(name, pattern.rstrip("/"))
            for pattern in patterns
            for name in (*above, *parts)
        )

    kept = [i for i, r in enumerate(listing.recordings) if not named(r.path)]
    gone = len(listing.recordings) - len(kept)
    listing.take(kept)
    listing.others = [path for path in listing.others if not named(path)]
    listing.folders = [path for path in listing.folders if not named(path)]
    listing.notices.append(f"left out by `exclude`: {format_count(gone, 'recording')}")


def label_by(listing: Listing, by: str) -> None:
    """Gives recordings the labels that a column or an expression says; one that has none fails."""
    values, rule = find_values(listing.recordings, by, "label_by")
    for recording, value in zip(listing.recordings, values, strict=True):
        recording.label = sys.intern((value or "").strip())
    listing.no_label = rule


def finish(listing: Listing, labelling: Labelling) -> None:
    """Makes labels text and says what is alike; a recording without one fails."""
    for recording in listing.recordings:
        if recording.events is None:
            recording.label = sys.intern(
                _text(recording.label.strip(), listing, labelling.encoding)
            )
    _separate(listing, labelling.label_separator)
    for recording in listing.recordings:
        if not recording.label and recording.events is None and not recording.error:
            recording.status, recording.error = "failed", listing.no_label
    there = _all_labels(listing)
    listing.notices += notice_similar_labels(there)
    if labelling.label_separator is None:
        listing.notices += _several_in_one(there)


def _text(label: str, listing: Listing, encoding: str | None) -> str:
    """A label that may have been a folder's name, which need not be UTF-8."""
    if not holds_bytes(label):
        return label
    if encoding is not None:
        try:
            return os.fsencode(label).decode(encoding)
        except (UnicodeError, LookupError):
            rule = f"does not fit the folder {escape(label)}"
            raise SettingError("encoding", encoding, rule) from None
    said = f"the name of folder {escape(label)} is not UTF-8: `encoding` tells which it is in"
    if said not in listing.notices:
        listing.notices.append(said)
    return escape(label)


def _separate(listing: Listing, separator: str | None) -> None:
    """Makes the recordings have several labels each. One whose label cannot be separated fails."""
    listing.label_separator = separator
    for recording in listing.recordings if separator is not None else ():
        if not recording.error and recording.label and "" in recording.labels(separator):
            recording.status = "failed"
            recording.error = f"label {recording.label!r}: one side of {separator!r} is empty"


def _all_labels(listing: Listing) -> set[str]:
    separator = listing.label_separator
    return {label for r in listing.recordings for label in r.labels(separator) if label}


def _several_in_one(labels: set[str]) -> list[str]:
    """A notice if a label looks like several: parts of it are labels, too."""
    for separator in ";,|/+":
        for label in sorted(label for label in labels if separator in label):
            if sum(part.strip() in labels for part in label.split(separator)) > 1:
                said = (
                    f"label {label!r} is one class: `label_separator` {separator!r} makes several"
                )
                return [f"{said} of it"]
    return []


def format_count(n: int, what: str) -> str:
    """How many, in words that fit."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def keep_classes(listing: Listing, classes: tuple[str, ...]) -> None:
    """Keeps the labels `classes`, if any are named, and the recordings that have one.

    Raises:
        SettingError: no recording has such a class.
    """
    if not classes:
        return
    wanted = {name.strip() for name in classes}
    there = _all_labels(listing)
    if missing := sorted(wanted - there):
        rule = f"no recording has this label; there are {', '.join(sorted(there)) or 'none'}"
        raise SettingError("classes", missing[0], rule)
    separator = listing.label_separator
    kept, gone = [], Counter[str]()
    for i, recording in enumerate(listing.recordings):
        own = recording.labels(separator)
        gone.update(label for label in own if label and label not in wanted)
        if recording.events is not None:
            recording.events = tuple(e for e in recording.events if e.label in wanted)
            kept.append(i)
        elif left := [label for label in own if label in wanted]:
            if separator is not None:
                recording.label = sys.intern(separator.join(left))
            kept.append(i)
        elif not recording.label:
            kept.append(i)  # it has failed, and is said to
    listing.take(kept)
    if gone:
        names = ", ".join(sorted(gone)[:5]) + (", …" if len(gone) > 5 else "")
        what = (
            "stretches" if any(r.events is not None for r in listing.recordings) else "recordings"
        )
        listing.notices.append(f"left out by `classes`: {sum(gone.values())} {what} of {names}")
