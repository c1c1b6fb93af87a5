"""The features that a trial trains on: those of a store, or computed from a store of samples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from audiocls.engine.augmentation import NOTHING
from audiocls.engine.level import holds_mel
from audiocls.engine.spec import FeatureSpec, presets
from audiocls.errors import SettingError
from audiocls.store.command import find_nearest_preset
from audiocls.store.computed import ComputedStore
from audiocls.store.store import Store, open_store
from audiocls.training.recipe import WAVEFORM, Recipe

if TYPE_CHECKING:
    from audiocls.training.start import Start


def open_features(
    path: str | Path,
    recipe: Recipe,
    feature: str | FeatureSpec | None = None,
    clip_s: float | None = None,
    hop_s: float | None = None,
    start: Start | None = None,
) -> Store:
    """Opens a store of features, or a store of samples from which features are computed.

    Args:
        path: of the store.
        recipe: its augmentation must fit the store.
        feature: for a store of samples; by default `mel`, or the first preset of mel bands at the
            rate of the samples, or with `start` the features of that model.
        clip_s: for a store of samples; by default 0.5, or that of `start`.
        hop_s: for a store of samples; by default 0.5, or that of `start`.
        start: the model to begin with.

    Raises:
        SettingError: a store of features is asked for another feature, or for augmentation that
            needs samples or mel bands; or as `open_store` and `ComputedStore`.
    """
    store = open_store(path)
    if not holds_mel(store.spec):
        rule = f"is for a store of logarithmic mel features, {store.path} holds {store.feature}"
        _refuse(recipe, ("mel_shift", "mel_band", "mel_noise"), rule)
    if store.spec.kind == "samples":
        cut = store.cut.replace(clip_s=0.5, hop_s=0.5)
        if start is not None:
            own = start.description
            named = find_nearest_preset(own.spec)
            exact = FeatureSpec.preset(named) == own.spec
            feature = feature or (named if exact else own.spec)
            cut = cut.replace(clip_s=own.cut.clip_s, hop_s=own.cut.hop_s)
        feature = feature or _mel_at(store.spec.sample_rate)
        name = feature if isinstance(feature, str) else "custom"
        spec = FeatureSpec.preset(feature) if isinstance(feature, str) else feature
        return ComputedStore(store, spec, name, cut.replace(clip_s=clip_s, hop_s=hop_s))
    rule = f"needs a store of samples (`audiocls extract --feature samples`), {store.path} holds "
    if feature is not None:
        raise SettingError("feature", str(feature), rule + store.feature)
    _refuse(recipe, WAVEFORM, rule + store.feature)
    return store


def _refuse(recipe: Recipe, fields: Iterable[str], rule: str) -> None:
    """Raises SettingError if one of the fields was asked for: is neither its default nor off."""
    asked, defaults, off = recipe.to_dict(), Recipe().to_dict(), NOTHING.__dict__
    for name in fields:
        if asked[name] not in (defaults[name], off.get(name, 0.0)):
            raise SettingError(name, asked[name], rule)


def _mel_at(sample_rate: int) -> str:
    fitting = (n for n, s in presets().items() if (s.kind, s.sample_rate) == ("mel", sample_rate))
    return next(fitting, "mel")
