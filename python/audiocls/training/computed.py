"""A store of features that are computed from a store of samples as they are asked for."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.data.store import Store, open_store
from audiocls.errors import SettingError
from audiocls.level import holds_mel
from audiocls.spec import FeatureSpec, presets
from audiocls.training.augment import Augmenter
from audiocls.training.augmentation import NONE, Augmentation
from audiocls.training.recipe import Recipe


def open_features(
    path: str | Path,
    recipe: Recipe,
    feature: str | FeatureSpec | None = None,
    clip_s: float = 0.5,
    hop_s: float = 0.5,
) -> Store:
    """A store of features, or of samples the features computed from it: by default `mel`, or the
    first preset of mel bands at the rate of the samples.

    Raises what `open_store` and `ComputedStore` raise, and SettingError where a feature, or a
    change of waveforms by the recipe, is asked of a store that holds features already, or one of
    mel features of another.
    """
    store = open_store(path)
    if not holds_mel(store.spec):
        rule = f"is for a store of logarithmic mel features, {store.path} holds {store.feature}"
        _refuse(recipe, ("mel_shift", "mel_band", "mel_noise"), rule)
    if store.spec.kind == "samples":
        feature = feature or _mel_at(store.spec.sample_rate)
        name = feature if isinstance(feature, str) else "custom"
        spec = FeatureSpec.preset(feature) if isinstance(feature, str) else feature
        return ComputedStore(store, spec, name, clip_s, hop_s)
    rule = f"needs a store of samples (`audiocls extract --feature samples`), {store.path} holds "
    if feature is not None:
        raise SettingError("feature", str(feature), rule + store.feature)
    _refuse(recipe, [f.name for f in dataclasses.fields(Augmentation)], rule + store.feature)
    return store


def _refuse(recipe: Recipe, fields: Iterable[str], rule: str) -> None:
    """Raises SettingError where one of the fields was asked for: is neither its default nor off."""
    defaults = Recipe()
    for name in fields:
        value = getattr(recipe, name)
        if value not in (getattr(defaults, name), NONE.get(name, 0.0)):
            raise SettingError(name, value, rule)


def _mel_at(sample_rate: int) -> str:
    fitting = (n for n, s in presets().items() if (s.kind, s.sample_rate) == ("mel", sample_rate))
    return next(fitting, "mel")


class ComputedStore(Store):
    """What `extract` with the same settings would have stored, of the recordings in `samples`.

    clip_s, hop_s: of the grid of clips. Raises SettingError where `samples` holds features, has
    another sample rate than `spec`, or was cut into clips already.
    """

    def __init__(
        self, samples: Store, spec: FeatureSpec, feature: str, clip_s: float, hop_s: float
    ) -> None:
        if samples.spec.kind == "samples" and samples.clip_s > 0:
            rule = "must hold whole recordings: extract samples with `clip_s` 0"
            raise SettingError("clip_s", samples.clip_s, rule)
        if hop_s <= 0:
            raise SettingError("hop_s", hop_s, "must be > 0")
        self.whole = samples
        self._within: NDArray[np.int64]  # which recording of the samples each clip is cut from
        self._start: NDArray[np.int64]  # its first sample there
        self._plain = Augmenter(
            spec, Recipe.preset("study"), clip_s=clip_s, short=samples.about["short"]
        )
        self._within, self._start = self._plain.grid(samples, hop_s)
        about = samples.about | {
            "spec": spec.to_dict(),
            "feature": feature,
            "clip_s": clip_s,
            "hop_s": hop_s,
            "counts": samples.counts | {"clips": len(self._within)},
            "shape": [len(self._within), *self._plain.clip_shape],
            "dtype": "float32",
        }
        super().__init__(samples.path, about)
        self.recordings = samples.recordings

    @cached_property
    def features(self) -> Any:
        """Array-like [n_clips, frames, features]."""
        return _Computed(self._plain, self.whole, self._within, self._start)

    @cached_property
    def _clips(self) -> NDArray[np.int64]:
        return np.stack([self.whole.clip_recording[self._within], self._start], axis=1)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over what the samples are of, and how features are made of them."""
        about = f"{self.whole.identity} {self.spec.to_json()} {self.clip_s} {self.hop_s}"
        return hashlib.sha256(about.encode()).hexdigest()

    def augmenter(self, recipe: Recipe, seed: int) -> Augmenter:
        """What makes clips of these recordings for training."""
        short = self.about["short"]
        return Augmenter(self.spec, recipe, clip_s=self.clip_s, short=short, seed=seed)

    def recording_index(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which rows of `whole` the clips are cut from."""
        rows: NDArray[np.int64] = self._within[clips]
        return rows


class _Computed:
    """Rows of features that exist when they are asked for."""

    def __init__(
        self,
        plain: Augmenter,
        samples: Store,
        index: NDArray[np.int64],
        first: NDArray[np.int64],
    ) -> None:
        self._of = plain, samples, index, first
        self.shape = (len(index), *plain.clip_shape)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, clips: Any) -> NDArray[np.float32]:
        plain, samples, index, first = self._of
        ids = np.arange(len(self))[clips]
        rows = plain.plain(samples, index[np.atleast_1d(ids)], first[np.atleast_1d(ids)])
        return rows if np.ndim(ids) else rows[0]

    def numpy(self) -> NDArray[np.float32]:
        """All rows."""
        return self[:]
