"""The features that a trial trains on: those of a store, or computed from a store of samples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from audiocls.engine.augmentation import NOTHING
from audiocls.engine.level import holds_mel
from audiocls.engine.spec import FeatureSpec, presets
from audiocls.errors import SettingError
from audiocls.store.computed import ComputedStore
from audiocls.store.store import Store, open_store
from audiocls.training.recipe import WAVEFORM, Recipe


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
    _refuse(recipe, WAVEFORM, rule + store.feature)
    return store


def _refuse(recipe: Recipe, fields: Iterable[str], rule: str) -> None:
    """Raises SettingError where one of the fields was asked for: is neither its default nor off."""
    asked, defaults, off = recipe.to_dict(), Recipe().to_dict(), NOTHING.__dict__
    for name in fields:
        if asked[name] not in (defaults[name], off.get(name, 0.0)):
            raise SettingError(name, asked[name], rule)


def _mel_at(sample_rate: int) -> str:
    fitting = (n for n, s in presets().items() if (s.kind, s.sample_rate) == ("mel", sample_rate))
    return next(fitting, "mel")
