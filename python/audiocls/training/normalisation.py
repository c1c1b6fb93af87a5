"""Mean and deviation of each feature over the training part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from audiocls.data.store import Store

BLOCK = 1024  # clips that are read at once
# A band in which a source has no sound deviates by its rounding noise alone. Scaled to 1, that
# noise would be the largest feature: no deviation counts as less than this share of the median.
LEAST_SHARE = 0.1


def statistics(
    store: Store, clips: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each feature over all frames of the given clips.

    Returns two float32 [features], computed in float64. The deviation of a constant feature is 1,
    so that it becomes 0 and stays finite.
    """
    # The store is read once: blocks are joined as by Chan, Golub & LeVeque 1979, eq. 2.1.
    n, (mean, square) = 0, np.zeros((2, store.clip_shape[1]))
    for i in range(0, len(clips), BLOCK):
        block = _frames(store, clips[i : i + BLOCK]).astype(np.float64)
        away = block.mean(axis=0) - mean
        block -= mean + away
        square += (block**2).sum(axis=0) + away**2 * n * len(block) / (n + len(block))
        mean += away * len(block) / (n + len(block))
        n += len(block)
    std = np.sqrt(square / n)
    constant = std <= 1e-6 * np.maximum(1.0, np.abs(mean))
    if not constant.all():
        std = np.maximum(std, LEAST_SHARE * np.median(std[~constant]))
    std = np.where(constant, 1.0, std)
    return mean.astype(np.float32), std.astype(np.float32)


def _frames(store: Store, clips: NDArray[np.int64]) -> NDArray[np.generic]:
    """All frames of some clips, [frames, features]."""
    rows = store.features[clips]
    if isinstance(rows, list):
        return np.concatenate(rows)
    flat: NDArray[np.generic] = rows.reshape(-1, rows.shape[2])
    return flat
