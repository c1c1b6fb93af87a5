"""From a store of samples to the features of augmented clips; the engine does the work.

Every clip is drawn from (seed, epoch, number of the draw) and nothing else: the same in any batch,
on any thread and rank, in a run that was resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.data.listing.folder import list_folder
from audiocls.engine.audio import read_excerpt
from audiocls.engine.augmentation import (
    FOLDERS,
    NOTHING,
    Augmentation,
    NativeAugmenter,
    select_settings,
)
from audiocls.engine.cut import Cut
from audiocls.errors import SettingError
from audiocls.parallel import count_usable_cores

if TYPE_CHECKING:
    from audiocls.engine.spec import FeatureSpec
    from audiocls.store.store import Store

# The number of a partner's draw: that of the clip it is mixed into, in a range of its own.
_PARTNER = 1 << 62
# In a folder of noises or impulse responses: 1 GiB in memory, an hour and a half at 44.1 kHz.
MOST_SAMPLES = 1 << 28


class Augmenter:
    """Augments clips as `augmentation` says and extracts their features; None changes nothing.

    impulses, noises: the user's impulse responses and background recordings, float32 [samples] at
    the sample rate of `spec`; default those in the folders that it names, and without such
    synthetic ones. cut: how long clips are, and what becomes of shorter recordings, by default
    `Cut()`; `clip_s` and `short` replace its fields. threads: default all cores.

    Raises:
        SettingError: an invalid field of the augmentation, a clip too short for a frame, an impulse
            response or noise that is silent or not finite, a folder of them that is empty, holds
            a broken file or more than `MOST_SAMPLES`.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        augmentation: Augmentation | None,
        *,
        cut: Cut | None = None,
        clip_s: float | None = None,
        short: str | None = None,
        seed: int = 0,
        threads: int | None = None,
        impulses: Sequence[NDArray[np.float32]] = (),
        noises: Sequence[NDArray[np.float32]] = (),
    ) -> None:
        self.spec = spec
        cut = (cut or Cut()).replace(clip_s=clip_s, short=short)
        self.clip_samples = cut.clip_len(spec.sample_rate)
        if self.clip_samples < 1:
            raise SettingError("clip_s", 0, "must hold a sample")
        # Scripts hand a whole recipe; what is done to waveforms is a part of it.
        augmentation = getattr(augmentation, "waveform", augmentation) or NOTHING
        settings = select_settings(augmentation)
        self._native = NativeAugmenter(
            spec.to_json(),
            json.dumps({**settings, "seed": seed}),
            self.clip_samples,
            short=cut.short,
            threads=count_usable_cores() if threads is None else threads,
            impulses=list(impulses) or _sounds("impulses", augmentation.impulses, spec.sample_rate),
            noises=list(noises) or _sounds("noises", augmentation.noises, spec.sample_rate),
        )

    @property
    def clip_shape(self) -> tuple[int, int]:
        """(frames, features) of a clip."""
        return self._native.n_frames, self._native.n_features

    def batch(
        self,
        store: Store,
        indices: NDArray[np.int64],
        epoch: int,
        out: NDArray[np.float32] | None = None,
        *,
        draws: NDArray[np.int64] | None = None,
        mix: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None,
        following: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Computes the features of clips, of each a window drawn anew in every epoch and augmented.

        Args:
            store: a store of samples.
            indices: int64 [n], the clips.
            epoch: its number.
            out: where the features go, C-contiguous.
            draws: int64 [n], the number of each draw in the epoch, if a clip is drawn more than
                once; default `indices`.
            mix: for each clip the index of another that is mixed into it, and the weight of the
                first, in 0..1.
            following: int64 [n, k], for each clip the indices of what may follow it in a phrase, at
                most `engine.augmentation.MOST_FOLLOWING`; without them there is no phrase.

        Returns:
            float32 [n, frames, features].

        Raises:
            SettingError: a store of features, or of another sample rate.
        """
        n = len(indices)
        numbers = np.ascontiguousarray(indices if draws is None else draws, np.int64)
        partners, weights = (np.empty(0, np.int64), None) if mix is None else mix
        later = np.empty((n, 0), np.int64) if following is None else following
        arrays, spans = self._samples(store, np.concatenate([indices, partners, later.ravel()]))
        mine, theirs, notes = np.split(spans, [n, n + len(partners)])
        other = None
        if weights is not None:
            other = (theirs, numbers | _PARTNER, np.ascontiguousarray(weights, np.float32))
        out = self._out(n, out)
        notes = notes.reshape(*later.shape, 3)
        self._native.batch(arrays, mine, numbers, epoch, out, other, notes)
        return out

    def plain(
        self,
        store: Store,
        indices: NDArray[np.int64],
        starts: NDArray[np.int64],
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Computes the features of clips without augmentation.

        With the starts of `Cut.grid`, they are what a store of features holds.

        Args:
            store: a store of samples.
            indices: int64 [n], the rows of the store.
            starts: int64 [n], first sample of each clip in its recording.
            out: where they go, as in `batch`.

        Returns:
            float32 [n, frames, features].
        """
        arrays, spans = self._samples(store, indices)
        out = self._out(len(indices), out)
        self._native.plain(arrays, spans, np.ascontiguousarray(starts, np.int64), out)
        return out

    def lengths(self, store: Store) -> NDArray[np.int64]:
        """int64 [n]: samples of each recording in a store of samples. Raises as `batch`."""
        _, spans = self._samples(store, np.arange(len(store)))
        lengths: NDArray[np.int64] = spans[:, 2] - spans[:, 1]
        return lengths

    def _samples(
        self, store: Store, indices: NDArray[np.int64]
    ) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        arrays, spans = store.samples(indices)
        if store.spec.sample_rate != self.spec.sample_rate:
            rate = self.spec.sample_rate
            rule = f"must be that of the features; extract samples with `--set sample_rate={rate}`"
            raise SettingError("sample_rate", store.spec.sample_rate, rule)
        return arrays, spans

    def _out(self, n: int, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        shape = (n, *self.clip_shape)
        if out is None:
            return np.empty(shape, np.float32)
        if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            found = f"{out.dtype} {out.shape}"
            raise SettingError("out", found, f"must be C-contiguous float32 {shape}")
        return out


def identify_sounds(augmentation: Augmentation | None) -> str:
    """SHA-256 over paths and sizes of the recordings in the folders of an augmentation.

    It is "" if the augmentation names no folder.
    """
    folders = {name: getattr(augmentation, name, None) for name in FOLDERS}
    content = {
        name: sorted((r.path, r.n_bytes) for r in list_folder(Path(folder)).recordings)
        for name, folder in folders.items()
        if folder is not None
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest() if content else ""


def _sounds(field: str, folder: str | None, sample_rate: int) -> list[NDArray[np.float32]]:
    """The recordings in a folder and those below it, in the order of their paths."""
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise SettingError(field, folder, "must be a folder of recordings")
    files = map(str, list_folder(Path(folder)).files)
    found: list[NDArray[np.float32]] = []
    room = MOST_SAMPLES
    for file in sorted(files, key=os.fsencode):
        try:
            samples = read_excerpt(file, sample_rate, 0, room + 1)
        except OSError as error:
            raise SettingError(
                field, folder, f"holds a recording that is broken: {error}"
            ) from None
        if not samples.any():
            raise SettingError(field, folder, f"holds a recording that is silent: {file!r}")
        found.append(samples)
        room -= len(samples)
        if room < 0:
            rule = f"holds more than {MOST_SAMPLES / sample_rate / 3600:.1f} hours of sound"
            raise SettingError(field, folder, rule)
    if not found:
        raise SettingError(field, folder, "must be a folder of recordings, holds none")
    return found
