"""Labelled stretches of recordings, and the files in which people keep them.

Raven's selection tables and Audacity's label tracks are read here; TextGrid and others by crowsetta
(extra `annotations`).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from audiocls.data.tables import (
    check_legible,
    match_columns,
    normalize_name,
    open_text,
    parse_seconds,
    read_rows,
)
from audiocls.errors import DataError, SettingError, condense_message
from audiocls.files import escape
from audiocls.scores.events import Stretch

# How a selection table of Raven begins, and what every row of one needs.
RAVEN_COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
    "High Freq (Hz)",
)  # fmt: skip
# Endings of files that may hold annotations: of texts the content decides.
TEXT = ("txt", "tsv", "csv")
CROWSETTA = {"textgrid": "textgrid", "phn": "timit"}

# A row of an Audacity label track; the row below it may give frequencies.
_AUDACITY = re.compile(r"\s*(-?[\d.,]+)\t(-?[\d.,]+)(?:\t(.*))?\s*$")


@dataclass(frozen=True, order=True, slots=True)
class Event:
    """A labelled stretch of a recording."""

    start_s: float  # seconds from the recording's start
    end_s: float
    label: str


class Labelled(Stretch, Protocol):
    """An event that a model found, as tables have it."""

    @property
    def probability(self) -> float:
        """How sure the model is, 0 to 1."""


def merge_events(events: Iterable[Event]) -> list[Event]:
    """Merges events of one label that overlap or touch, in order of time.

    Nothing that hears them together could tell them apart.
    """
    found: list[Event] = []
    for event in sorted(events, key=lambda e: (e.label, e.start_s)):
        last = found[-1] if found else None
        if last is not None and last.label == event.label and event.start_s <= last.end_s:
            found[-1] = Event(last.start_s, max(last.end_s, event.end_s), event.label)
        else:
            found.append(event)
    return sorted(found)


@dataclass
class Annotations:
    """What a file says of one recording."""

    form: str  # Raven, Audacity, …
    events: list[Event] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # rows that are no events, and why
    where: list[str] = field(default_factory=list, compare=False)  # file and row of each event

    def add(self, start: str, end: str, label: str, where: str) -> None:
        """The event of a row, or why it is none."""
        try:
            self.events.append(parse_event(start, end, label))
            self.where.append(where)
        except ValueError as error:
            self.left_out.append(f"{where} {error}")

    def add_whole(self, label: str, where: str) -> None:
        """A row that speaks of all of the recording."""
        if label.strip():
            self.events.append(Event(0.0, math.inf, label.strip()))
            self.where.append(where)
        else:
            self.left_out.append(f"{where} has no label")

    def join(self, other: Annotations) -> None:
        """What another file says of the same recording."""
        self.events += other.events
        self.where += other.where
        self.left_out += other.left_out

    def leave_out(self, wrong: Callable[[Event], str]) -> None:
        """Leaves out the events that are `wrong`, for the reason that this gives, if any."""
        found = [
            (event, where, wrong(event))
            for event, where in zip(self.events, self.where, strict=True)
        ]
        self.events = [event for event, _, reason in found if not reason]
        self.where = [where for _, where, reason in found if not reason]
        self.left_out += [f"{where} {reason}" for _, where, reason in found if reason]


def parse_event(start: str, end: str, label: str) -> Event:
    """The event that a row describes. Raises ValueError with the rule that it breaks."""
    label = label.strip()
    try:
        event = Event(parse_seconds(start), parse_seconds(end), label)
    except ValueError:
        raise ValueError(f"has no start and end in seconds: {start!r}, {end!r}") from None
    if not label:
        raise ValueError("has no label")
    if event.start_s < 0:
        raise ValueError(f"starts before the recording: {event.start_s:g} s")
    if event.end_s < event.start_s:
        raise ValueError(f"ends before it starts: {event.start_s:g} to {event.end_s:g} s")
    if event.end_s == event.start_s:
        raise ValueError(f"is a point without a length, at {event.start_s:g} s")
    return event


def read_annotations(
    file: Path, *, columns: Mapping[str, str] | None = None, encoding: str | None = None
) -> Annotations | None:
    """The annotations in a file; None if it holds none: another text, perhaps a transcript.

    columns: of a Raven table, as `tables.match_columns` takes them. Raises DataError if a table
    lacks a column or cannot be read, SettingError if a column that is named is not there, or
    without crowsetta if the file needs it, OSError if it cannot be opened.
    """
    suffix = file.suffix[1:].lower()
    if suffix in CROWSETTA:
        return _by_crowsetta(file, CROWSETTA[suffix])
    with open_text(file, encoding) as text:
        try:
            first = text.readline()
            text.seek(0)
            if is_raven(first):
                return _raven(file, text, columns or {})
            if _AUDACITY.match(first):
                return _audacity(file, text)
        except UnicodeError as error:
            raise DataError(f"{file}: is no text ({error}); `encoding` names another") from None
    return None


def is_raven(header: str) -> bool:
    """Whether a table with this first line is one of Raven's."""
    names = {normalize_name(name) for name in header.split("\t")}
    return {"selection", "begin time (s)", "end time (s)"} <= names


def _raven(file: Path, text: IO[str], given: Mapping[str, str]) -> Annotations:
    found, views = Annotations("Raven"), Views()
    columns: dict[str, str] = {}
    for number, row in read_rows(str(file), text):
        # A table beside a recording is about it, whatever file it names.
        columns = columns or match_columns(str(file), row, {**given, "file_name": ""}, ["label"])
        where = f"{file}: line {number}"
        cells = [row[columns[name]] for name in ("start_s", "end_s", "label")]
        if wrong := views.check_view(row, cells):
            found.left_out += [f"{where} {wrong}"] if wrong != REPEATED else []
        else:
            found.add(cells[0], cells[1], check_legible(cells[2], where), where)
    return found


REPEATED = "is the same selection in another view"


class Views:
    """Raven writes a row for each view of a selection, waveform and spectrogram: one event."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def check_view(self, row: Mapping[str, str], cells: list[str]) -> str:
        """Checks whether a row repeats a selection.

        Args:
            row: cells by column.
            cells: start, end and label of the row.

        Returns:
            "" for a selection's first view. For another view `REPEATED`, or what is wrong if its
            cells are not those of the first.
        """
        by_name = {normalize_name(name): cell for name, cell in row.items()}
        view, selection = by_name.get("view", ""), by_name.get("selection", "")
        key = selection, by_name.get("begin file", "")
        first_view, first = self._first.setdefault(key, (view, cells))
        if not view or not selection or view == first_view:
            return ""
        same = "has another start, end or label than in view"
        return REPEATED if cells == first else f"selection {selection} {same} {first_view!r}"


def _audacity(file: Path, text: IO[str]) -> Annotations:
    found = Annotations("Audacity")
    for number, line in enumerate(text, 1):
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith("\\"):  # frequencies of the label above
            continue
        where = f"{file}: line {number}"
        match = _AUDACITY.match(line)
        if match is None:
            found.left_out.append(f"{where} is no label: must be start, end and label with tabs")
        else:
            found.add(match[1], match[2], check_legible(match[3] or "", where), where)
    return found


def _by_crowsetta(file: Path, form: str) -> Annotations:
    try:
        import crowsetta
    except ImportError:
        rule = f"a .{file.suffix[1:]} needs crowsetta: pip install 'audiocls[annotations]'"
        raise SettingError("annotations", str(file), rule) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries below it
            annotation = crowsetta.Transcriber(form).from_file(file).to_annot()
        sequences = annotation.seq if isinstance(annotation.seq, list) else [annotation.seq]
        rows = [
            (float(start), float(end), str(label))
            for sequence in sequences
            for start, end, label in zip(
                sequence.onsets_s, sequence.offsets_s, sequence.labels, strict=True
            )
        ]
    except Exception as error:  # what its readers raise is their own affair
        raise DataError(f"{file}: crowsetta cannot read it: {condense_message(error)}") from None
    found = Annotations(form)
    for number, (start, end, label) in enumerate(rows, 1):
        if label.strip():  # a TextGrid covers its silence with intervals, too
            found.add(str(start), str(end), label, f"{file}: interval {number}")
    return found


def format_raven(events: Iterable[Labelled], high_hz: float) -> str:
    """Formats events as a selection table of Raven, with their probability as the score.

    Args:
        events: in order.
        high_hz: the top of the boxes.
    """
    rows = ["\t".join((*RAVEN_COLUMNS, "Annotation", "Score"))]
    for number, e in enumerate(events, 1):
        span = f"{e.start_s:.6f}\t{e.end_s:.6f}\t0\t{high_hz:g}"
        rows.append(f"{number}\tSpectrogram 1\t1\t{span}\t{escape(e.label)}\t{e.probability:.6f}")
    return "".join(f"{row}\n" for row in rows)


def format_audacity(events: Iterable[Labelled]) -> str:
    """Formats events as a label track of Audacity: start, end, label, with tabs between.

    See https://manual.audacityteam.org/man/importing_and_exporting_labels.html.
    """
    return "".join(f"{e.start_s:.6f}\t{e.end_s:.6f}\t{escape(e.label)}\n" for e in events)
