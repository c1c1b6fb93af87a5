"""A feature store in memory, with the attributes of `audiocls.Store`, for tests of learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audiocls import FeatureSpec


@dataclass
class Recording:
    path: str
    label: str
    n_clips: int = 1
    group: str = ""
    split: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    status: str = "ok"

    def __post_init__(self) -> None:
        self.group = self.group or self.path


@dataclass
class TinyStore:
    features: Any  # float [n_clips, frames, features]
    recordings: list[Recording]
    clip_recording: Any
    classes: list[str]
    spec: FeatureSpec = field(default_factory=FeatureSpec)
    clip_s: float = 0.5
    hop_s: float = 0.5

    @property
    def labels(self) -> Any:
        index = {c: i for i, c in enumerate(self.classes)}
        of_recording = np.array([index[r.label] for r in self.recordings])
        return of_recording[self.clip_recording]


def tiny_store(
    sizes: dict[str, int] | None = None, frames: int = 6, features: int = 5, seed: int = 0
) -> TinyStore:
    """Classes that differ by one raised feature; recordings of 1–3 clips; noise of their own."""
    sizes = sizes or {"drum": 24, "flute": 36, "viola": 12}
    rng = np.random.default_rng(seed)
    recordings, clips, owner = [], [], []
    for c, (name, size) in enumerate(sizes.items()):
        for i in range(size):
            n = 1 + i % 3
            group = f"{name}/{i // 2}"
            recordings.append(
                Recording(f"{name}/{name}_{i:03}.wav", name, n, extra={"player": group})
            )
            x = rng.standard_normal((n, frames, features)).astype(np.float32)
            x[:, :, c % features] += 2
            clips.append(x)
            owner += [len(recordings) - 1] * n
    return TinyStore(np.concatenate(clips), recordings, np.array(owner), sorted(sizes))
