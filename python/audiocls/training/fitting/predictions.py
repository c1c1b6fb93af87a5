"""Tables of predictions: a row for each clip or recording of the test part."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from audiocls.errors import DataError
from audiocls.files import read_csv, write_csv


class PredictionRow(NamedTuple):
    """A row of predictions.csv (a clip) or predictions_recording.csv (a whole recording)."""

    path: str
    group: str
    label: str
    start_s: float | None  # of the clip in its recording; None of a whole recording
    predicted: str
    probability: float  # of `predicted`
    label_probability: float  # of `label`
    uncalibrated: float  # highest probability before temperature scaling

    @property
    def right(self) -> bool:
        """Whether the label was found."""
        return self.predicted == self.label


class MultilabelRow(NamedTuple):
    """A row of the same tables if a clip has several labels."""

    path: str
    group: str
    labels: tuple[str, ...]
    start_s: float | None
    probabilities: dict[str, float]  # of each class


# Then a column for each class.
_SCORED = MultilabelRow._fields[:-1]


def write_predictions(
    path: Path, predictions: Iterable[PredictionRow] | Iterable[MultilabelRow]
) -> None:
    """Writes a table of predictions."""
    rows: Iterator[PredictionRow | MultilabelRow] = iter(predictions)
    first = next(rows, None)
    header: Sequence[str] = PredictionRow._fields
    if isinstance(first, MultilabelRow):
        header = [*_SCORED, *first.probabilities]
    known: list[PredictionRow | MultilabelRow] = [] if first is None else [first]
    cells = (_cells(row) for row in itertools.chain(known, rows))
    write_csv(path, header, cells)


def _cells(row: PredictionRow | MultilabelRow) -> list[object]:
    values: Iterable[object] = row
    if isinstance(row, MultilabelRow):
        labels = json.dumps(row.labels, ensure_ascii=False)
        values = (row.path, row.group, labels, row.start_s, *row.probabilities.values())
    return [f"{v:.6g}" if isinstance(v, float) else v for v in values]


def read_predictions(path: Path) -> list[PredictionRow] | list[MultilabelRow] | None:
    """Reads a table of predictions; None if there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    try:
        header, *rows = read_csv(path)
        if tuple(header) == PredictionRow._fields:
            return list(_parsed(rows))
        if tuple(header[: len(_SCORED)]) == _SCORED:
            return list(_scored(header[len(_SCORED) :], rows))
        raise DataError(f"{path}: is not a table of predictions of this version")
    except FileNotFoundError:
        return None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is damaged ({error})") from None


def _scored(classes: list[str], rows: Sequence[Sequence[str]]) -> Iterator[MultilabelRow]:
    for path, group, labels, start_s, *cells in rows:
        start = float(start_s) if start_s else None
        probabilities = dict(zip(classes, map(float, cells), strict=True))
        yield MultilabelRow(path, group, tuple(json.loads(labels)), start, probabilities)


def _parsed(rows: Sequence[Sequence[str]]) -> Iterator[PredictionRow]:
    for path, group, label, start_s, predicted, *probabilities in rows:
        own, of_label, uncalibrated = map(float, probabilities)
        start = float(start_s) if start_s else None
        yield PredictionRow(path, group, label, start, predicted, own, of_label, uncalibrated)
