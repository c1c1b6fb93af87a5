"""Formats of predictions: for people, for programs, and tables of other programs."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import say
from audiocls.data.annotations import format_audacity, format_raven
from audiocls.files import make_printable

if TYPE_CHECKING:
    from audiocls.inference.prediction import Limits, Prediction

CSV_HEADER = ("path", "row", "start_s", "end_s", "label", "probability", "error")
# Columns of the probabilities of clips, before one for each class.
CLIP_COLUMNS = ("path", "start_s", "end_s")


class Format(ABC):
    """The output for the recordings of one call, on stdout or each in a file of its own.

    Args:
        top: number of labels to show.
        limits: the certainty from which on a label is given.
        high_hz: half the sample rate of the model.
        classes: of the model.
    """

    suffix = ""  # of the files; without one there are none
    on_stdout = True
    alone = False  # on stdout one recording only, for its name is not in the text
    begin = end = ""

    def __init__(self, top: int, limits: Limits, high_hz: float, classes: Sequence[str]) -> None:
        self.top, self.limits, self.high_hz, self.classes = top, limits, high_hz, classes
        self.written = 0

    @abstractmethod
    def text(self, path: str, found: Prediction) -> str:
        """The text for a recording."""

    def failure(self, path: str, why: str) -> str:
        """The text for a recording that cannot be used; else a line on stderr."""
        say(f"{path}: failed: {why}", err=True)
        return ""

    def show(self, path: str, found: Prediction | str) -> None:
        """Writes it on stdout, whole."""
        failed = isinstance(found, str)
        text = self.failure(path, found) if isinstance(found, str) else self.text(path, found)
        self.written += not (failed and not text)
        click.echo(text, nl=False)

    def file(self, path: str, found: Prediction) -> bytes:
        """The contents of a file of this recording alone."""
        return (self.begin + self.text(path, found) + self.end).encode("utf-8", "backslashreplace")


class Table(Format):
    """For people."""

    def text(self, path: str, found: Prediction) -> str:
        """A line for the recording, and one for each segment."""
        said = found.headline(self.top, self.limits)
        shown = said or found.top(self.top, self.limits)
        text = ", ".join(f"{make_printable(label)} {p:.3f}" for label, p in shown)
        lines = [f"{make_printable(path)}: {'' if said else 'nothing; at most '}{text}"]
        segments = found.segments(self.limits)
        if [(s.start_s, s.end_s) for s in segments] != [(0.0, found.duration_s)]:
            for s in segments:
                span = f"{s.start_s:8.2f} – {s.end_s:8.2f} s"
                lines.append(f"  {span}  {s.probability:.3f}  {make_printable(s.label)}")
        return "\n".join(lines) + "\n"

    def failure(self, path: str, why: str) -> str:
        """A line with the reason."""
        return f"{make_printable(path)}: failed: {make_printable(why)}\n"


class JsonLines(Format):
    """A line a recording, written at once."""

    suffix = ".jsonl"

    def text(self, path: str, found: Prediction) -> str:
        """One JSON document."""
        document = {"path": path, **found.to_dict(self.top, self.limits), "error": None}
        return json.dumps(document, ensure_ascii=True) + "\n"

    def failure(self, path: str, why: str) -> str:
        """A document with the reason."""
        return json.dumps({"path": path, "label": None, "error": why}, ensure_ascii=True) + "\n"


class Json(JsonLines):
    """One document, yet every recording is there as soon as it is known."""

    suffix = ".json"
    begin, end = "[", "\n]\n"

    def show(self, path: str, found: Prediction | str) -> None:
        """Writes it as the next element of the list."""
        text = self.failure(path, found) if isinstance(found, str) else self.text(path, found)
        click.echo(f"{',' * bool(self.written)}\n{text.rstrip()}", nl=False)
        self.written += 1

    def file(self, path: str, found: Prediction) -> bytes:
        """The document."""
        return self.text(path, found).encode()


class Csv(Format):
    """A row for the recording, or for each of its labels, then one for each segment."""

    suffix = ".csv"
    begin = ",".join(CSV_HEADER) + "\n"

    def text(self, path: str, found: Prediction) -> str:
        """A row for each label and segment."""
        labels: list[tuple[str, float | None]] = [*found.labels(self.limits)]
        rows = [
            (path, "recording", "0.000", f"{found.duration_s:.3f}", *_cells(label, p))
            for label, p in labels or [("", None)]
        ]
        rows += [
            (path, "segment", f"{s.start_s:.3f}", f"{s.end_s:.3f}", *_cells(s.label, s.probability))
            for s in found.segments(self.limits)
        ]
        return format_csv([*row, ""] for row in rows)

    def failure(self, path: str, why: str) -> str:
        """A row with the reason."""
        return format_csv([(path, "recording", "", "", "", "", why)])


class Audacity(Format):
    """A label track."""

    suffix, alone = ".txt", True

    def text(self, path: str, found: Prediction) -> str:
        """A line for each segment."""
        return format_audacity(found.segments(self.limits))


class Raven(Format):
    """A selection table."""

    suffix, alone = ".selections.txt", True

    def text(self, path: str, found: Prediction) -> str:
        """A row for each segment."""
        return format_raven(found.segments(self.limits), self.high_hz)


class ClipsCsv(Format):
    """All probabilities of every clip."""

    suffix = ".csv"

    def __init__(self, top: int, limits: Limits, high_hz: float, classes: Sequence[str]) -> None:
        super().__init__(top, limits, high_hz, classes)
        self.begin = format_csv([(*CLIP_COLUMNS, *classes)])

    def text(self, path: str, found: Prediction) -> str:
        """A row for each clip."""
        ends = found.starts_s + (found.clip_s or found.duration_s)
        return format_csv(
            (path, f"{start:.6f}", f"{min(end, found.duration_s):.6f}", *(f"{x:.6f}" for x in p))
            for start, end, p in zip(found.starts_s, ends, found.probabilities, strict=True)
        )


class ClipsParquet(ClipsCsv):
    """The same as Parquet."""

    suffix, on_stdout = ".parquet", False

    def file(self, path: str, found: Prediction) -> bytes:
        """A table of this recording."""
        return format_parquet([(path, found)], self.classes)


FORMATS: dict[str, type[Format]] = {
    "table": Table,
    "json": Json,
    "jsonl": JsonLines,
    "csv": Csv,
    "audacity": Audacity,
    "raven": Raven,
}
CLIP_FORMATS: dict[str, type[Format]] = {"csv": ClipsCsv, "parquet": ClipsParquet}


def format_parquet(predictions: Sequence[tuple[str, Prediction]], classes: Sequence[str]) -> bytes:
    """The probabilities of every clip of some recordings as Parquet, float32.

    Columns are path, start_s, end_s, and one for each class.
    """
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    paths: list[str] = []
    numbers = []
    for path, found in predictions:
        ends = np.minimum(found.starts_s + (found.clip_s or found.duration_s), found.duration_s)
        numbers.append(np.column_stack([found.starts_s, ends, found.probabilities]))
        # A path that is not UTF-8 is shown escaped.
        paths += [path.encode(errors="backslashreplace").decode()] * len(ends)
    rows = np.concatenate([np.empty((0, 2 + len(classes))), *numbers])
    columns = [pyarrow.array(paths, pyarrow.string()), *(pyarrow.array(c) for c in rows[:, :2].T)]
    columns += [pyarrow.array(column.astype(np.float32)) for column in rows[:, 2:].T]
    table = pyarrow.Table.from_arrays(columns, names=[*CLIP_COLUMNS, *classes])
    data = io.BytesIO()
    pyarrow.parquet.write_table(table, data)
    return data.getvalue()


def format_csv(rows: Any) -> str:
    """Rows as they stand in a CSV file; a name is shown, not obeyed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerows([make_printable(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cells(label: str, p: float | None) -> tuple[str, str]:
    return label, "" if p is None else f"{p:.6f}"
