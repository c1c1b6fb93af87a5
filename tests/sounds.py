"""Small recordings for tests: tones in WAV files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16000


def tone(seconds: float, hz: float, seed: int = 0, rate: int = RATE) -> NDArray[np.float64]:
    """A sine with a little noise, float [samples]."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return 0.3 * np.sin(2 * np.pi * hz * t) + 0.02 * noise


def write(file: Path, samples: NDArray[np.float64], rate: int = RATE) -> None:
    """Writes a WAV file of 16 bits; samples [n] or [n, channels] in -1..1."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(file), "wb") as out:
        out.setnchannels(pcm.shape[1] if pcm.ndim == 2 else 1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm.tobytes())
