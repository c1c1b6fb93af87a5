"""What a model said of each clip or recording of the test part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from audiocls.errors import DataError
from audiocls.files import read_csv, write_csv


class Prediction(NamedTuple):
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


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Writes a table of predictions."""
    write_csv(
        path,
        Prediction._fields,
        ([f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in predictions),
    )


def read_predictions(path: Path) -> list[Prediction] | None:
    """The predictions in a file; None where there is none, DataError where it is damaged."""
    try:
        header, *rows = read_csv(path)
        if tuple(header) != Prediction._fields:
            raise DataError(f"{path}: is not a table of predictions of this version")
        return list(_parsed(rows))
    except FileNotFoundError:
        return None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is damaged ({error})") from None


def _parsed(rows: Sequence[Sequence[str]]) -> Iterator[Prediction]:
    for path, group, label, start_s, predicted, *probabilities in rows:
        own, of_label, uncalibrated = map(float, probabilities)
        start = float(start_s) if start_s else None
        yield Prediction(path, group, label, start, predicted, own, of_label, uncalibrated)
