"""The trained model that a training begins with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiocls.classifier.description import (
    WEIGHTS,
    Description,
    model_folder,
)
from audiocls.classifier.model import Classifier, versions
from audiocls.errors import SettingError
from audiocls.models import architecture
from audiocls.store.command import find_nearest_preset, format_command
from audiocls.training.recipe import Recipe
from audiocls.training.trial import LINEAR

if TYPE_CHECKING:
    from audiocls.store.store import Store

CALIBRATION = ("temperature", "offset")


@dataclass(frozen=True)
class Start:
    """A trained model, of which all weights that fit are taken. Feature, clips and normalisation
    are its own; the head has new rows for the classes that it does not know."""

    name: str  # as it was given
    folder: Path
    classifier: Classifier
    identity: str  # SHA-256 over its weights and what they are of

    @classmethod
    def load(cls, path: str | Path) -> Start:
        """Reads it from a run folder or model folder, or `orchestra`; raises as
        `Classifier.load`."""
        folder = model_folder(path)
        classifier = Classifier.load(folder)
        about = classifier.description
        content = [about.architecture, about.classes, about.spec.to_dict(), about.cut.clip_s]
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes())
        digest.update(json.dumps(content).encode())
        return cls(str(path), folder, classifier, digest.hexdigest())

    @property
    def description(self) -> Description:
        """What its model.json says."""
        return self.classifier.description

    def model(self, name: str | None) -> str:
        """The model that is trained if `name` is asked for: the architecture of this one, or
        `linear`. SettingError for another architecture."""
        own = self.description.architecture
        if name == LINEAR:
            return LINEAR
        if name is not None and architecture(name) != own:
            rule = f"the model to begin with, {self.name!r}, is {own}: must be {own} or {LINEAR}"
            raise SettingError("model", name, rule)
        return own

    def recipe(self, recipe: Recipe, model: str) -> Recipe:
        """The recipe as it is followed: the level is taken out of features as this model wants it;
        a linear head is fitted at once."""
        recipe = replace(recipe, remove_level=self.description.remove_level)
        if model == LINEAR:
            recipe = replace(recipe, epochs=1, patience=0, ema=0.0, fit_head=False, freeze_epochs=0)
        return recipe

    def check(self, store: Store) -> None:
        """Raises SettingError, with the command that makes one that fits, where the features or
        clips of a store are others."""
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

    def kept(self, classes: list[str]) -> list[str]:
        """The classes whose rows of the head are kept."""
        return [name for name in classes if name in self.description.classes]

    def begin(self, store: Store, quiet_db: float) -> Classifier:
        """A classifier for the classes of a store: new rows of the head are drawn from torch's
        generator."""
        own = self.description
        about = Description.of(store, own.architecture, versions(), own.remove_level, quiet_db)
        init = {"model": self.name, "identity": self.identity}
        classifier = Classifier(replace(about, init=init))
        head, ours = classifier.network.head, self.classifier.network.head
        weight, bias = head.weight.detach().clone(), head.bias.detach().clone()
        for name in self.kept(about.classes):
            i, j = about.classes.index(name), own.classes.index(name)
            weight[i], bias[i] = ours.weight[j].detach(), ours.bias[j].detach()
        names = {id(p): n for n, p in classifier.named_parameters()}
        rows = {names[id(head.weight)]: weight, names[id(head.bias)]: bias}
        # What calibrates is of the classes, and found anew.
        fresh = {n: v for n, v in classifier.state_dict().items() if n in CALIBRATION}
        taken = {n: v for n, v in self.classifier.state_dict().items() if n not in CALIBRATION}
        classifier.load_state_dict(taken | rows | fresh)
        return classifier
