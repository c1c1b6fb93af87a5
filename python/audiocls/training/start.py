"""The trained model that a training begins with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocls.classifier.description import (
    WEIGHTS,
    Description,
    model_folder,
)
from audiocls.classifier.model import Model, installed_versions
from audiocls.errors import SettingError
from audiocls.models import resolve_architecture
from audiocls.store.command import find_nearest_preset, format_command
from audiocls.training.recipe import Recipe
from audiocls.training.trial import LINEAR

if TYPE_CHECKING:
    from audiocls.store.store import Store

CALIBRATION = ("temperature", "offset")


@dataclass(frozen=True)
class Start:
    """A trained model, of which all weights that fit are taken.

    Features, clips and normalisation are its own. The head has new rows for the classes that it
    does not know.
    """

    name: str  # as it was given
    folder: Path
    model: Model
    identity: str  # SHA-256 over its weights and what they are of

    @classmethod
    def load(cls, path: str | Path) -> Start:
        """Reads it from a run folder or model folder, or `orchestra`; raises as `Model.load`."""
        folder = model_folder(path)
        model = Model.load(folder)
        about = model.description
        content = [about.architecture, about.classes, about.spec.to_dict(), about.cut.clip_s]
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes())
        digest.update(json.dumps(content).encode())
        return cls(str(path), folder, model, digest.hexdigest())

    @property
    def description(self) -> Description:
        """The content of its model.json."""
        return self.model.description

    def resolve_model(self, name: str | None) -> str:
        """Returns the model that is trained for a `name`: its own architecture, or `linear`.

        Raises:
            SettingError: `name` is another architecture.
        """
        own = self.description.architecture
        if name == LINEAR:
            return LINEAR
        if name is not None and resolve_architecture(name) != own:
            rule = f"the model to begin with, {self.name!r}, is {own}: must be {own} or {LINEAR}"
            raise SettingError("model", name, rule)
        return own

    def adapt_recipe(self, recipe: Recipe, model: str) -> Recipe:
        """Returns the recipe as it is followed.

        Features lose their level if this model was trained so. A linear head is fitted at once.
        """
        recipe = replace(recipe, remove_level=self.description.remove_level)
        if model == LINEAR:
            recipe = replace(
                recipe,
                epochs=1,
                patience=0,
                ema=0.0,
                fit_head=False,
                freeze_epochs=0,
                keep_start=0.0,
            )
        return recipe

    def check(self, store: Store) -> None:
        """Checks that the features and clips of a store are its own.

        Raises:
            SettingError: they are not; it names the command that makes a store that fits.
        """
        own = self.description
        has = (store.spec, store.cut.clip_s, store.cut.short)
        if has == (own.spec, own.cut.clip_s, own.cut.short):
            return
        clips = {"clip_s": own.cut.clip_s, "hop_s": own.cut.hop_s, "short": own.cut.short}
        out = store.path.with_name(f"{store.path.name}-{find_nearest_preset(own.spec)}")
        command = format_command(str(store.about.get("data", "DATA")), own.spec, clips, out)
        made = f"{store.feature}, clips of {store.cut.clip_s:g} s"
        rule = f"{self.name!r} takes other features or clips than these ({made}): {command}"
        raise SettingError("features", str(store.path), rule)

    def known_among(self, classes: list[str]) -> list[str]:
        """Returns those of some classes that its head knows."""
        return [name for name in classes if name in self.description.classes]

    def new_model(self, store: Store, quiet_db: float) -> Model:
        """Returns a model for the classes of a store; new rows of the head are drawn."""
        own = self.description
        about = Description.of(
            store, own.architecture, installed_versions(), own.remove_level, quiet_db
        )
        init = {"model": self.name, "identity": self.identity}
        model = Model(replace(about, init=init))
        head, ours = model.network.head, self.model.network.head
        weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
        for name in self.known_among(about.classes):
            i, j = about.classes.index(name), own.classes.index(name)
            weight[i], bias[i] = ours.weight[j].detach(), ours.bias[j].detach()
        names = {id(p): n for n, p in model.named_parameters()}
        rows = {names[id(head.weight)]: weight, names[id(head.bias)]: bias}
        # What calibrates is of the classes, and found anew.
        fresh = {n: v for n, v in model.state_dict().items() if n in CALIBRATION}
        taken = {n: v for n, v in self.model.state_dict().items() if n not in CALIBRATION}
        model.load_state_dict(taken | rows | fresh)
        return model


def load_start(init: str | Path | Start | None) -> Start | None:
    """Returns the model to begin with, read if `init` names one; raises as `Start.load`."""
    return init if isinstance(init, Start) or init is None else Start.load(init)


def choose_recipe(recipe: Recipe | str | None, start: Start | None, **overrides: Any) -> Recipe:
    """Returns a recipe with some fields replaced: by default `modern`, with a start `finetune`."""
    if recipe is None:
        recipe = "modern" if start is None else "finetune"
    if isinstance(recipe, str):
        return Recipe.preset(recipe, **overrides)
    return recipe.replace(**overrides) if overrides else recipe
