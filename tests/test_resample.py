"""Resampling against the definition, and against soxr HQ (librosa's default)."""

from __future__ import annotations

import numpy as np
import pytest

from audiocls.audio import resample
from audiocls.errors import SettingError

# Both ways of the engine, down and up: by blocks, and (for ratios of large terms) by table.
PAIRS = [
    (44100, 16000),
    (44100, 12000),
    (44100, 22050),
    (44100, 48000),
    (44100, 11025),
    (16000, 44100),
    (44101, 16000),
    (8000, 44101),
]


def tones(rate: int, seconds: float, top_hz: float) -> np.ndarray:
    """A smooth burst of six tones up to ``top_hz``: the same sound at any rate."""
    t = np.arange(int(rate * seconds)) / rate
    envelope = np.sin(np.pi * t / seconds) ** 2
    hz = np.array([0.03, 0.11, 0.29, 0.53, 0.81, 1.0]) * top_hz
    return envelope * sum(np.sin(2 * np.pi * f * t + f) for f in hz) / len(hz)


def snr_db(signal: np.ndarray, other: np.ndarray) -> float:
    return float(20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(signal - other)))


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_band_limited_sound_is_the_same_at_the_new_rate(from_hz: int, to_hz: int) -> None:
    top = 0.91 * min(from_hz, to_hz) / 2
    got = resample(tones(from_hz, 1.0, top), from_hz, to_hz)
    assert snr_db(tones(to_hz, 1.0, top), got) >= 105


@pytest.mark.parametrize("value", [0, -1, 1.5, "16000", 2**32])
def test_a_rate_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(SettingError, match="whole number"):
        resample(np.zeros(8), 8000, value)  # type: ignore[arg-type]
