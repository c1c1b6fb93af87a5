"""Mean and deviation of each feature over the training part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.classifier.model import subtract_level

if TYPE_CHECKING:
    from audiocls.store.store import Store

BLOCK = 1024  # clips that are read at once
# A band in which a source has no sound deviates by its rounding noise alone. Scaled to 1, that
# noise would be the largest feature: no deviation counts as less than this share of the median.
LEAST_SHARE = 0.1


def compute_statistics(
    store: Store, clips: NDArray[np.int64], remove_level: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns mean and deviation of each feature over all frames of the given clips.

    Args:
        store: of the clips.
        clips: their numbers, int64 [n].
        remove_level: whether each clip loses its level first.

    Returns:
        Two float32 [features], computed in float64. The deviation of a constant feature is 1, so
        that it becomes 0 and stays finite.
    """
    # The store is read once: blocks are joined as by Chan, Golub & LeVeque 1979, eq. 2.1.
    n, (mean, square) = 0, np.zeros((2, store.clip_shape[1]))
    for i in range(0, len(clips), BLOCK):
        block = _frames(store, clips[i : i + BLOCK], remove_level)
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


def _frames(store: Store, clips: NDArray[np.int64], remove_level: bool) -> NDArray[np.float64]:
    """Returns all frames of some clips, [frames, features]."""
    rows = store.features[clips]
    clips_alike = [clip[np.newaxis] for clip in rows] if isinstance(rows, list) else [rows]
    flat = []
    for block in clips_alike:
        x = torch.from_numpy(block.astype(np.float64))
        x = subtract_level(x, store.spec) if remove_level else x
        flat.append(x.numpy().reshape(-1, block.shape[2]))
    return np.concatenate(flat)
