"""What identifies a run: two runs of equal trials give the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from audiocls.engine.augmentation import NOTHING, select_settings
from audiocls.errors import SettingError
from audiocls.models import resolve_architecture
from audiocls.store.augmenter import identify_sounds
from audiocls.training.recipe import Recipe

if TYPE_CHECKING:
    from audiocls.store.store import Store

LINEAR = "linear"  # a model: the body of the one that it begins with, and a linear head

_IF_CHOSEN = ("recordings_per_class", "sounds", "init")  # settings that most trials lack


@dataclass(frozen=True)
class Trial:
    """One model, trained by one recipe on one split of one store.

    Raises:
        SettingError: the model is unknown, the seed is impossible, or a field needs a model to
            begin with and there is none.
    """

    model: str
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0  # of the split, the first weights and all draws
    group_by: str | None = None
    fold: str | None = None
    feature: str = ""  # the store's name
    store: str = ""  # its identity
    sounds: str = ""  # that of the recordings in the folders of the recipe, where it names any
    recordings_per_class: int | None = None  # in the training part; None: all there are
    init: str = ""  # that of the model it begins with (`Start`); none: with random weights

    def __post_init__(self) -> None:
        if self.model != LINEAR:
            object.__setattr__(self, "model", resolve_architecture(self.model))
        elif not self.init:
            raise SettingError("model", LINEAR, "needs `init`: the model whose body it takes")
        for name in ("fit_head", "freeze_norm", "freeze_epochs", "keep_start"):
            if (value := getattr(self.recipe, name)) and not self.init:
                raise SettingError(name, value, "needs `init`: a model to begin with")
        if isinstance(self.seed, bool) or not 0 <= self.seed < 2**32:
            raise SettingError("seed", self.seed, "must be 0 to 4294967295")

    @property
    def name(self) -> str:
        """FEATURE-MODEL-SEED, with the fold and the recordings a class if they were chosen."""
        fold = f"-fold{self.fold.replace('/', 'of')}" if self.fold else ""
        few = f"-{self.recordings_per_class}each" if self.recordings_per_class else ""
        return f"{self.feature}-{self.model}-{self.seed}{fold}{few}"

    def with_store(self, store: Store) -> Trial:
        """Returns the trial with the identity of a store and of the recipe's folders."""
        return replace(self, store=store.identity, sounds=identify_sounds(self.recipe.waveform))

    def settings(self) -> dict[str, Any]:
        """Returns what was chosen, as metrics.json shows it."""
        own = {key: getattr(self, key) for key in ("model", "seed", "group_by", "fold")}
        known = {key: value for key in _IF_CHOSEN if (value := getattr(self, key))}
        return own | self.recipe.to_dict() | known

    def differences(self, settings: dict[str, Any], store: str) -> Iterator[str]:
        """Yields how a run of other `settings` on a store of identity `store` differs."""
        own = self.settings()
        sounds, init = (own.pop(key, "") for key in ("sounds", "init"))
        if settings.get("init", "") != init:
            yield "`init` was another model, or has changed"
        # Prefixes of the fields of what is never done to a waveform here.
        chances = (name for name in select_settings(NOTHING) if name.endswith("_p"))
        off = tuple(name.removesuffix("p") for name in chances if not own[name])
        for key, value in own.items():
            if key not in settings and (not value or key.startswith(off)):
                continue  # an earlier version did not know it, and here it is off
            if settings.get(key) != value:
                yield f"`{key}` was {settings.get(key)}, is {value} now"
        if settings.get("sounds", sounds) != sounds:  # earlier versions did not keep it
            yield "the recordings in `impulses` or `noises` have changed"
        if store != self.store:
            yield "the feature store has changed"
