"""A feature store in memory, for tests of learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from audiocls import FeatureSpec, Store
from audiocls.data.recordings import Recording
from audiocls.store.rows import Clips


def recording(path: str, label: str, n_clips: int = 1, **known: Any) -> Recording:
    """A recording that gave clips; its own group unless another is given."""
    return Recording(
        0, path, label, known.pop("group", path), n_clips=n_clips, status="ok", **known
    )


class TinyStore(Store):
    """A store whose parts are given instead of read."""

    def __init__(
        self,
        features: Any,  # float [n_clips, frames, features]
        recordings: list[Recording],
        clip_recording: Any,
        classes: list[str],
        **about: Any,
    ) -> None:
        super().__init__(
            Path("tiny"),
            {
                "spec": FeatureSpec().to_dict(),
                "feature": "tiny",
                "clip_s": 0.5,
                "hop_s": 0.5,
                "short": "pad",
                "min_rms": 0.0,
                "classes": classes,
                "counts": {"clips": len(features)},
                "shape": list(features.shape),
                **about,
            },
        )
        for i, known in enumerate(recordings):
            known.id = i
        self.features, self.recordings = features, recordings
        self._clips = np.stack([clip_recording, np.zeros_like(clip_recording)], axis=1)

    @property
    def clip_shape(self) -> tuple[int | None, int]:
        rows = self.features.frames if isinstance(self.features, Clips) else self.features
        return (rows.shape[1] if self.cut.clip_s > 0 else None), rows.shape[-1]


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
                recording(f"{name}/{name}_{i:03}.wav", name, n, extra={"player": group})
            )
            x = rng.standard_normal((n, frames, features)).astype(np.float32)
            x[:, :, c % features] += 2
            clips.append(x)
            owner += [len(recordings) - 1] * n
    return TinyStore(np.concatenate(clips), recordings, np.array(owner), sorted(sizes))


def several_store(
    labels: list[tuple[str, ...]] | None = None,
    n: int = 90,
    frames: int = 6,
    features: int = 5,
    seed: int = 0,
) -> TinyStore:
    """Recordings of 1–3 clips with several of four labels, each of which raises one feature."""
    rng = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"]
    if labels is None:
        labels = [tuple(n for n in names if rng.random() < 0.35) or ("a",) for _ in range(n)]
    recordings, clips, owner = [], [], []
    for i, own in enumerate(labels):
        n_clips = 1 + i % 3
        extra = {"player": f"p{i // 2}"}
        recordings.append(recording(f"{i:03}.wav", ";".join(own), n_clips, extra=extra))
        x = rng.standard_normal((n_clips, frames, features)).astype(np.float32)
        for name in own:
            x[:, :, names.index(name)] += 2
        clips.append(x)
        owner += [i] * n_clips
    about = {"task": "several", "label_separator": ";"}
    return TinyStore(np.concatenate(clips), recordings, np.array(owner), names, **about)
