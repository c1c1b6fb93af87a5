"""Options from the fields of a dataclass; the docstring of a field is the help."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click

from audiocls.cli import Option
from audiocls.cli.fields import read_field_docs
from audiocls.engine.augmentation import Augmentation
from audiocls.training.recipe import PRESETS, WAVEFORM, Recipe, field_types, own_field_types

F = TypeVar("F", bound=Callable[..., Any])

# What one sets most often stands among the first options of a command, not under a heading.
_FIRST = ("epochs", "batch_size", "lr")
_OF_FEATURES = (
    "mixup", "time_mask", "freq_mask", "mel_shift", "mel_band", "mel_noise", "mixstyle",
)  # fmt: skip


class PerClass(click.ParamType[Any]):
    """A number for all classes, or one for each of some: dog=0.4,bird=0.6."""

    name = "number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The shape of a value, for help."""
        return "X|CLASS=X,…"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """A number, or numbers by class."""
        if not isinstance(value, str):
            return value
        try:
            if "=" not in value:
                return _not_nan(value)
            pairs = (part.rpartition("=") for part in value.split(","))
            return {label.strip(): _not_nan(number) for label, _, number in pairs}
        except ValueError:
            self.fail(f"{value!r} must be a number, or such as dog=0.4,bird=0.6", param, ctx)


def _not_nan(text: str) -> float:
    if math.isnan(value := float(text)):
        raise ValueError("nothing is below NaN")
    return value


PER_CLASS = PerClass()


def add_recipe_options(recipe: type[Recipe] = Recipe) -> Callable[[F], F]:
    """Adds `--recipe` and an option for every field of `recipe`; None: not given."""

    def add(command: F) -> F:
        # A class has a hash; that its instances have none confuses mypy.
        docs = read_field_docs(Augmentation) | read_field_docs(recipe)  # type: ignore[arg-type]
        kinds, defaults = field_types(recipe), recipe().to_dict()
        for name in reversed([*own_field_types(recipe), *WAVEFORM]):
            command = _option(name, kinds[name], docs[name], defaults[name])(command)
        return click.option(
            "--recipe",
            "preset",
            metavar="|".join(PRESETS),
            help="How to train: a set of values for the options below that are not given.  "
            "[default: modern; with --init finetune]",
        )(command)

    return add


def make_recipe(preset: str | None, options: dict[str, Any], begun: bool = False) -> Recipe:
    """The recipe of the options; `begun` if the model begins with another."""
    preset = preset or ("finetune" if begun else "modern")
    return Recipe.preset(preset, **{k: v for k, v in options.items() if v is not None})


def _heading(name: str) -> str:
    if name in _FIRST:
        return ""
    if name in WAVEFORM:
        return "Augmentation of waveforms (from a store of samples)"
    return "Augmentation of features" if name in _OF_FEATURES else "Recipe"


def _option(name: str, kind: Any, doc: str, default: Any) -> Callable[[F], F]:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(k for k in get_args(kind) if k is not type(None))
    flag = "--" + name.replace("_", "-")
    shape: dict[str, Any] = {"type": kind}
    if kind is bool:
        flag, shape = f"{flag}/--no-{flag[2:]}", {}
    elif get_origin(kind) is Literal:
        shape = {"type": str, "metavar": "|".join(get_args(kind))}
    elif get_origin(kind) is tuple:
        shape = {"type": get_args(kind)[0], "nargs": len(get_args(kind))}
    differing = "".join(
        f"; {preset}: {_shown(values[name])}"
        for preset, values in _presets().items()
        if values.get(name, default) != default
    )
    help_text = f"{' '.join(doc.split())}  [default: {_shown(default)}{differing}]"
    heading = _heading(name)
    return click.option(
        flag, name, cls=Option, heading=heading, default=None, help=help_text, **shape
    )


@functools.cache
def _presets() -> dict[str, dict[str, Any]]:
    return {name: Recipe.preset(name).to_dict() for name in PRESETS}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
