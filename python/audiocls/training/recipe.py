"""How a model is trained: every setting that decides it, in one place.

The options of the command line, their defaults and their help are made from these fields.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from audiocls.engine.augmentation import NOTHING, Augmentation
from audiocls.errors import ChoiceError, SettingError


@dataclass(frozen=True)
class Range:
    """The values that a numeric field may have."""

    low: float
    high: float = math.inf
    above_low: bool = False  # `low` itself is not allowed

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above_low else self.low <= value) and (
            value <= self.high and math.isfinite(value)
        )

    def __str__(self) -> str:
        least = f"must be {'>' if self.above_low else '>='} {self.low:g}"
        return least if self.high == math.inf else f"{least} and <= {self.high:g}"


Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are the preset `modern`.

    Raises:
        SettingError: a field is invalid; names field, value and rule.
    """

    epochs: Annotated[int, Range(1)] = 30
    """Rounds over the training part."""
    batch_size: Annotated[int, Range(2)] = 64
    """Clips a step; batch normalisation needs two."""
    lr: Annotated[float, Range(0, above_low=True)] = 3e-3
    """Highest learning rate."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """adam (Kingma & Ba 2015), or with the weight decay apart from the gradient, adamw (Loshchilov
    & Hutter 2019)."""
    weight_decay: Annotated[float, Range(0)] = 0.05
    """How strongly weights are drawn to 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate: half a cosine down to 0, or constant."""
    warm_up: Share = 0.1
    """Share of the steps in which the learning rate rises from 0."""
    label_smoothing: Share = 0.1
    """Share of a label that is spread over all classes (Szegedy et al. 2016)."""
    mixup: Annotated[float, Range(0)] = 0.2
    """Clips are mixed in pairs, in a proportion drawn from Beta(a, a) with this a; 0: no
    mixing (Zhang et al. 2018)."""
    time_mask: Share = 0.15
    """Largest share of the frames that is masked in a clip (SpecAugment, Park et al. 2019)."""
    freq_mask: Share = 0.15
    """Largest share of the features that is masked in a clip (SpecAugment)."""
    mel_shift: Share = 0.05
    """Largest share of the bands by which a store's mel features are shifted up or down."""
    mel_band: Share = 0.3
    """Probability that what lies outside a drawn band is taken out of a store's mel features."""
    mel_noise: Share = 0.5
    """Probability that noise of a drawn level and colour is added to a store's mel features."""
    mixstyle: Share = 0.0
    """Probability that mean and deviation of every band are mixed with those of another clip
    (Freq-MixStyle, Schmid et al. 2022)."""
    remove_level: bool = True
    """Whether the level of a clip is taken out of its features, in training and in use; for spectra
    only if they are logarithmic."""
    quiet_db: Annotated[float, Range(0)] = 15.0
    """In the answer for a recording, clips that are more decibels below its loudest one do not
    count; 0: all do."""
    ema: Annotated[float, Range(0, 0.99999)] = 0.998
    """Decay a step of the moving average of the weights that is evaluated and kept; 0: the weights
    themselves."""
    patience: Annotated[int, Range(0)] = 10
    """Epochs without progress on validation after which training ends; 0: never early."""
    sampler: Literal["balanced", "natural", "sqrt"] = "balanced"
    """How often a class is drawn: equally, as it came, or in between."""
    source: str | None = None
    """Where recordings come from, a column or expression as for `group_by`. All sources of a class
    are drawn equally often."""
    source_temperature: Share = 0.0
    """With `source`: a source is drawn as often as its number of clips to this power says; 0: all
    sources of a class equally, 1: in proportion to their clips."""
    clips_per_recording: Annotated[int, Range(0)] = 0
    """At most so many clips of a recording train, evenly spread over it, the first among them; 0:
    all. Validation and test keep all."""
    fit_head: bool = False
    """With `init`: the head begins as a logistic regression on what the body gives for the
    training part (Kumar et al. 2022, arXiv:2202.10054)."""
    freeze_norm: bool = False
    """With `init`: batch normalisation keeps its statistics, because few recordings estimate
    them badly."""
    freeze_epochs: Annotated[int, Range(0)] = 0
    """With `init`: epochs in which the head alone is trained, and the body stays as it is."""
    keep_start: Share = 0.0
    """With `init`: share of the weights that training began with in the model that is evaluated and
    kept (Wortsman et al. 2022, arXiv:2109.01903)."""
    keep: Literal["best", "last"] = "best"
    """The epoch whose model is kept: the best on validation, or the last. A validation part of a
    few recordings cannot tell epochs apart."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; auto: bfloat16 if the device is faster in it."""
    waveform: Augmentation | None = field(default_factory=Augmentation)
    """What is varied in waveforms: for a store of samples; None: nothing."""

    def __post_init__(self) -> None:
        for name, kind in own_field_types(type(self)).items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), kind))

    @classmethod
    def preset(cls, name: str = "modern", **overrides: Any) -> Recipe:
        """Returns the recipe of that name, with some fields replaced.

        modern: the defaults. study: as in the study that this project grew from. orchestra: how the
        model in the box was trained, for a store of samples from several sources. finetune: for a
        model that begins with another.

        Args:
            name: one of `PRESETS`.
            overrides: fields of `Recipe` or, as if they were its own, of `Augmentation`.

        Raises:
            SettingError: no such preset or field, or an invalid value.
        """
        if name not in PRESETS:
            raise ChoiceError("recipe", name, PRESETS)
        return cls().replace(**PRESETS[name]).replace(**overrides)

    def replace(self, **overrides: Any) -> Recipe:
        """Returns a recipe with some fields replaced; see `preset`."""
        kinds = field_types(type(self))
        for name in overrides:
            if name not in kinds and name != "waveform":
                raise ChoiceError("field", name, kinds)
        waveform = {name: overrides.pop(name) for name in WAVEFORM if name in overrides}
        if waveform and "waveform" not in overrides:
            overrides["waveform"] = dataclasses.replace(self.waveform or NOTHING, **waveform)
        return dataclasses.replace(self, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields, those of `waveform` among them, as `replace` takes them."""
        fields = {name: getattr(self, name) for name in own_field_types(type(self))}
        fields = dataclasses.asdict(self.waveform or NOTHING) | fields
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


# What a preset changes of the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "modern": {},
    "study": {
        "waveform": None,
        "epochs": 50,
        "batch_size": 16,
        "lr": 0.01,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "schedule": "constant",
        "warm_up": 0.0,
        "label_smoothing": 0.0,
        "mixup": 0.0,
        "time_mask": 0.0,
        "freq_mask": 0.0,
        "mel_shift": 0.0,
        "mel_band": 0.0,
        "mel_noise": 0.0,
        "remove_level": False,
        "quiet_db": 0.0,
        "ema": 0.0,
        "patience": 0,
    },
    "finetune": {
        "epochs": 40,
        "batch_size": 16,
        "lr": 1e-3,
        "ema": 0.99,
        "fit_head": True,
        "freeze_norm": True,
        "keep_start": 0.5,
        "keep": "last",
        "patience": 0,
    },
    "orchestra": {
        "phrase_p": 0.5,
        "noise_p": 0.6,
        "noise_snr_db": (-5.0, 40.0),
        "epochs": 80,
        "mixup": 0.0,
        "time_mask": 0.0,
        "freq_mask": 0.0,
        "mixstyle": 0.4,
        "patience": 0,
    },
}


# The fields of a recipe's `waveform`.
WAVEFORM = tuple(f.name for f in dataclasses.fields(Augmentation))


def own_field_types(recipe: type[Recipe]) -> dict[str, Any]:
    """Returns the type of each field but `waveform`, with its range."""
    hints = get_type_hints(recipe, include_extras=True)
    return {name: kind for name, kind in hints.items() if name != "waveform"}


def field_types(recipe: type[Recipe]) -> dict[str, Any]:
    """Returns the same, and the types of the fields of its `waveform`."""
    return own_field_types(recipe) | get_type_hints(Augmentation, include_extras=True)


def _checked(name: str, value: Any, kind: Any) -> Any:
    allowed = None
    if get_origin(kind) is Annotated:
        kind, allowed = get_args(kind)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ChoiceError(name, str(value), get_args(kind))
    elif kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            rule = "must be a whole number" if kind is int else "must be a number"
            raise SettingError(name, value, rule)
        if allowed is not None and value not in allowed:
            raise SettingError(name, value, str(allowed))
        value = kind(value)
    elif kind is bool and not isinstance(value, bool):
        raise SettingError(name, value, "must be true or false")
    elif kind == str | None and not isinstance(value, kind):
        raise SettingError(name, value, "must be text or none")
    return value
