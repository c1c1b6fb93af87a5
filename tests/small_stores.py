"""Small recordings to make stores of, and what two stores must have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import audiocls


def write(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    n = 3000 + 1500 * seed
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, n).astype(np.float32)
    soundfile.write(file, samples, 16000, subtype="FLOAT")


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store, its parts apart."""
    names = (file.relative_to(store) for file in store.rglob("*") if file.is_file())
    kept = [name for name in names if name.parts[0] not in ("parts", ".lock")]
    return {str(name): (store / name).read_bytes() for name in kept}


def told(store: audiocls.Store) -> list[dict[str, Any]]:
    """Recordings, but for the times of a copy."""
    names = [name for name in store.recordings[0].__slots__ if name != "mtime_ns"]
    return [{name: getattr(r, name) for name in names} for r in store.recordings]


def equal(one: audiocls.Store, other: audiocls.Store) -> bool:
    same = told(one) == told(other) and one.counts == other.counts
    return same and np.array_equal(one.numpy(), other.numpy())
