"""Do near-identical recordings sit on both sides of a split? Then the test score is memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocls.training.data.splits import TEST, TRAIN, Split

if TYPE_CHECKING:
    from audiocls.store.store import Store

# Of 7,050 real recordings of notes, two of one pitch and instrument reach 0.988 and others, but for
# copies and near-silence, too; copies give 1.0, good MP3 and Ogg re-encodes 0.99 and more.
THRESHOLD = 0.99
PROJECTED = 512  # dimensions of the compared vectors
LIMIT = 20_000  # recordings of a side; above it a random sample is compared
FRAMES = 48  # that are compared where clips differ in length


def find_near_duplicates(store: Store, part: Mapping[str, int]) -> list[tuple[str, str, float]]:
    """Finds pairs of recordings that are probably one recording.

    The clips in the middle are compared, of recordings with equally many clips. If clips differ in
    length, the middle 48 frames are compared, of recordings with equally many frames. Each feature
    loses its mean over all of them; then come a projection to 512 random dimensions (Johnson &
    Lindenstrauss 1984) and cosine similarity. Each test recording gives its nearest pair. At most
    20,000 recordings of a side are compared, a random sample if there are more, so time and memory
    are bounded. Copies that were cut, made louder or strongly compressed are not found.

    Args:
        store: of the recordings.
        part: recording path → TRAIN, VAL or TEST.

    Returns:
        (training path, test path, similarity), the most similar pair first.
    """
    rng = np.random.default_rng(0)
    clips_of: dict[int, list[int]] = {}
    for clip, r in enumerate(store.clip_recording.tolist()):
        clips_of.setdefault(r, []).append(clip)
    sides: list[NDArray[np.int64]] = []
    for side in (TRAIN, TEST):
        own = [i for i in clips_of if part.get(store.recordings[i].path) == side]
        if len(own) > LIMIT:
            own = sorted(rng.choice(own, LIMIT, replace=False).tolist())
        sides.append(np.array(own, np.int64))
    train, test = sides
    if len(train) == 0 or len(test) == 0:
        return []

    both = np.concatenate(sides)
    middle = np.array([clips_of[i][(len(clips_of[i]) - 1) // 2] for i in both])
    if store.clip_shape[0] is None:
        size = np.diff(store.features.offsets)[middle]
    else:
        size = np.array([len(clips_of[i]) for i in both])
    vectors = _project(store, middle, rng)
    a, b = vectors[: len(train)], vectors[len(train) :]
    found = []
    for start in range(0, len(b), 1024):
        similarity = b[start : start + 1024] @ a.T
        theirs = size[len(train) + start : len(train) + start + 1024]
        similarity[theirs[:, None] != size[: len(train)]] = -1
        for j, i in enumerate(similarity.argmax(axis=1)):
            if similarity[j, i] >= THRESHOLD:
                pair = (store.recordings[train[i]].path, store.recordings[test[start + j]].path)
                found.append((*pair, float(similarity[j, i])))
    return sorted(found, key=lambda pair: -pair[2])


def describe_leaks(store: Store, split: Split) -> list[str]:
    """Returns one warning if near-identical recordings are in the training and the test part."""
    pairs = find_near_duplicates(store, split.part)
    if not pairs:
        return []
    train, test, _ = pairs[0]
    return [
        f"{len(pairs)} test recording(s) are nearly identical to a training recording, "
        f"e.g. {test!r} and {train!r}: the test score flatters; consider `group_by`"
    ]


def _project(
    store: Store, clips: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns unit vectors [n, 512] of the given clips; zero for clips without any deviation."""
    frames, features = store.clip_shape
    frames = frames or FRAMES
    matrix = rng.standard_normal((frames * features, PROJECTED)).astype(np.float32)
    blocks = [clips[i : i + 1024] for i in range(0, len(clips), 1024)]
    mean = sum(_clips(store, block).mean(axis=1, dtype=np.float64).sum(axis=0) for block in blocks)
    mean = (mean / len(clips)).astype(np.float32)
    out = np.empty((len(clips), PROJECTED), np.float32)
    for i, block in enumerate(blocks):
        x = _clips(store, block).astype(np.float32) - mean
        out[1024 * i : 1024 * i + len(block)] = x.reshape(len(block), -1) @ matrix
    norm = np.linalg.norm(out, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(out, norm, out=np.zeros_like(out), where=norm > 0)
    return unit


def _clips(store: Store, clips: NDArray[np.int64]) -> NDArray[np.generic]:
    """Returns [n, frames, features]; if clips differ in length, the middle of each."""
    rows = store.features[clips]
    if isinstance(rows, list):
        at = [max(len(x) - FRAMES, 0) // 2 + np.arange(FRAMES) for x in rows]
        rows = np.stack([x[i % len(x)] for x, i in zip(rows, at, strict=True)])
    clips_: NDArray[np.generic] = rows
    return clips_
