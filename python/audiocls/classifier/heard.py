"""heard.csv: a hash of each recording that a model heard in training.

A score on recordings that trained the model is no evidence, and `evaluate` can say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from audiocls.data.recordings import Recording
from audiocls.engine.audio import load, probe
from audiocls.engine.dataset import audio_hash
from audiocls.errors import AudioclsError, DataError
from audiocls.files import read_csv, write_csv
from audiocls.parallel import for_each

FILE = "heard.csv"
_HEADER = ("audio_hash", "duration_ms")


def write_heard(folder: Path, recordings: Iterable[Recording]) -> None:
    """Writes the recordings that trained or chose a model into its folder."""
    rows = sorted(
        {(r.audio_hash, _ms(r.duration_s)) for r in recordings if r.audio_hash and r.duration_s}
    )
    write_csv(folder / FILE, _HEADER, rows)


def read_heard(folder: Path) -> dict[str, int]:
    """Reads the recordings that a model heard.

    Returns:
        Hash → length in milliseconds; empty for a model of an earlier version.

    Raises:
        DataError: the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return {}
    rows = read_csv(file)
    try:
        if tuple(next(rows, ())) != _HEADER:
            raise ValueError("unknown columns")
        return {audio: int(ms) for audio, ms in rows}
    except ValueError as error:
        raise DataError(f"{file}: is damaged ({error})") from None


def find_heard(
    folder: Path, recordings: Iterable[Recording], files: Iterable[str | None]
) -> list[Recording]:
    """Returns those of some recordings that the model in `folder` heard.

    Recordings of a data set have no hash. Those in a file whose length is known are decoded to
    compare.

    Args:
        folder: of the model.
        recordings: of a data set or store.
        files: the file of each recording, or None.
    """
    known = read_heard(folder)
    lengths = set(known.values())

    def is_known(listed: tuple[Recording, str | None]) -> bool:
        recording, file = listed
        if recording.audio_hash or file is None or recording.status == "failed":
            return recording.audio_hash in known
        try:
            seconds, _, _ = probe(file)
            if lengths.isdisjoint(range(_ms(seconds) - 1, _ms(seconds) + 2)):
                return False
            return audio_hash(load(file)[0]) in known
        except (OSError, AudioclsError):
            return False  # that it cannot be decoded is said elsewhere

    if not known:
        return []
    listed = list(zip(recordings, files, strict=True))
    return [r for (r, _), yes in zip(listed, for_each(is_known, listed), strict=True) if yes]


def _ms(seconds: float | None) -> int:
    return round(1000 * (seconds or 0.0))
