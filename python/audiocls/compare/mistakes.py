"""The most confident mistakes, to look at and to listen to."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocls.engine.audio import read_excerpt
from audiocls.engine.features import Extractor
from audiocls.engine.spec import FeatureSpec
from audiocls.scores import plots
from audiocls.store.store import Store
from audiocls.training.fitting.predictions import PredictionRow

MOST = 20
# 20 × 2 s of 16-bit samples are 1.7 MB of base64; their pictures half a megabyte.
HEARD_S, RATE = 2.0, 16_000
PICTURE = FeatureSpec.preset("mel-16k", hop_length=320)


@dataclass(frozen=True)
class Mistake:
    """A clip that was taken for another class; audio and picture as data: addresses."""

    row: PredictionRow
    audio: str | None
    picture: str | None
    heard_s: float
    clip_s: float  # what the model heard, from the start


def find_confident_mistakes(rows: Iterable[PredictionRow], store: Store | None) -> list[Mistake]:
    """Finds the wrong answers with the highest probability, one a recording.

    A recording that is not as the store found it has neither audio nor picture.
    """
    chosen: dict[str, PredictionRow] = {}
    for row in sorted(rows, key=lambda row: (-row.probability, row.path, row.start_s or 0)):
        if len(chosen) < MOST:
            chosen.setdefault(row.path, row)
    return illustrate_mistakes(list(chosen.values()), store)


def illustrate_mistakes(rows: Sequence[PredictionRow], store: Store | None) -> list[Mistake]:
    """Adds audio and picture to each row."""
    extractor = Extractor(PICTURE, threads=1)
    return [_mistake(row, store, extractor) for row in rows]


def _mistake(row: PredictionRow, store: Store | None, extractor: Extractor) -> Mistake:
    clip_s = store.cut.clip_s if store is not None else 0.0
    samples = _samples(row, store)
    if samples is None:
        return Mistake(row, None, None, 0.0, clip_s)
    heard_s = len(samples) / RATE
    picture = plots.draw_spectrogram(extractor(samples))
    return Mistake(
        row,
        "data:audio/wav;base64," + base64.b64encode(_wav(samples)).decode(),
        "data:image/png;base64," + base64.b64encode(picture).decode(),
        heard_s,
        min(clip_s, heard_s) if clip_s > 0 else heard_s,
    )


def _samples(row: PredictionRow, store: Store | None) -> NDArray[np.float32] | None:
    """The recording from the start of the clip, two seconds at most; None if it is gone."""
    file = None if store is None else _found(row.path, store)
    if file is None:
        return None
    start = int((row.start_s or 0.0) * RATE)
    try:
        samples = read_excerpt(file, RATE, start, start + int(HEARD_S * RATE))
    except (OSError, ValueError):
        return None
    # Shorter than the picture's frame, there is nothing to see or hear.
    return samples if len(samples) >= PICTURE.n_fft else None


def _found(path: str, store: Store) -> Path | None:
    """The file of a recording, if it is the one that the store was made of.

    A stranger's store can name any file of this machine, and its sound would be in a page that is
    passed on. Only someone who has read the file here knows its size and the nanosecond of its last
    change.
    """
    data = store.about.get("data")
    recording = next((r for r in store.recordings if r.path == path), None)
    if not isinstance(data, str) or recording is None:
        return None
    root = Path(data)
    try:
        root = root if root.is_dir() else root.parent
        status = (root / path).stat()
    except (OSError, ValueError):
        return None
    same = (status.st_size, status.st_mtime_ns) == (recording.n_bytes, recording.mtime_ns)
    return root / path if same else None


def _wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
