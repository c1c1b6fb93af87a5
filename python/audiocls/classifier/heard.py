"""Which recordings a model has heard in training: by a hash of their sound, so that a score on
them can say so."""

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
    """Keeps in a model's folder which recordings trained it or chose it."""
    rows = sorted(
        {(r.audio_hash, _ms(r.duration_s)) for r in recordings if r.audio_hash and r.duration_s}
    )
    write_csv(folder / FILE, _HEADER, rows)


def read_heard(folder: Path) -> dict[str, int]:
    """Hash → length in milliseconds of the recordings; none for a model that does not say. Raises
    DataError if the file is damaged."""
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


def heard_among(
    folder: Path, recordings: Iterable[Recording], files: Iterable[str | None]
) -> list[Recording]:
    """Those of some recordings that the model in `folder` has heard. Without a hash, as in a data
    set, those in a file whose length is known are decoded to compare."""
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
