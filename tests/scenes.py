"""Made recordings in which several sounds are at once, for tests of the whole way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocls.data.annotations import Event

RATE = 16_000
# A tone for each label; Hz.
TONES = {"bell": 3000.0, "hum": 300.0, "whistle": 1200.0}
NOTHING = "nothing"


def scene(events: Sequence[Event], duration_s: float, seed: int) -> NDArray[np.float32]:
    """Quiet noise, and the tone of each event from its start to its end."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * RATE)) / RATE
    y = rng.normal(0, 0.003, len(t))
    for event in events:
        inside = (t >= event.start_s) & (t < event.end_s)
        y += 0.1 * np.sin(2 * np.pi * TONES[event.label] * t + rng.uniform(0, 6)) * inside
    return y.astype(np.float32)


def write_scenes(folder: Path, n: int = 36, seed: int = 0) -> Path:
    """One second each with some of the tones, or `NOTHING`, and metadata.csv with labels such as
    bell;hum.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = ["file_name,label"]
    for i in range(n):
        names = [name for name in TONES if rng.random() < 0.5]
        y = scene([Event(0.0, 1.0, name) for name in names], 1.0, seed + i)
        soundfile.write(folder / f"{i:03}.wav", y, RATE)
        rows.append(f"{i:03}.wav,{';'.join(names) or NOTHING}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def draw_events(rng: np.random.Generator, duration_s: float) -> list[Event]:
    """Events of each label with pauses of their own: they overlap."""
    events = []
    for name in TONES:
        at = rng.uniform(0, 3)
        while (end := at + rng.uniform(0.6, 2.5)) < duration_s:
            events.append(Event(round(at, 3), round(end, 3), name))
            at = end + rng.uniform(0.5, 3)
    return sorted(events)
