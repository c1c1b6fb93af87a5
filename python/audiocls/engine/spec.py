"""What to compute from a waveform: `FeatureSpec` mirrors spec.rs, the presets are the engine's."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from audiocls import _native
from audiocls.errors import ChoiceError, SettingError

# Of steps that a preset leaves off: what they mean in its library once they are on.
_LIBROSA_SLOPES = {"deltas": {"delta_fit": "polynomial"}}
_CONVENTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "mel": _LIBROSA_SLOPES,
    "mfcc-librosa": _LIBROSA_SLOPES | {"lifter": {"lifter_first": 1}},
}


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """One feature, completely. Fields stand in the order in which they act.

    The defaults are the preset `spectrogram`: every later step is off. A setting of a step that
    is off must be left at its default.

    Raises:
        SettingError: a field or combination is invalid; names field, value and rule.
    """

    kind: Literal["samples", "stft", "spectrogram", "mel", "mfcc"] = "spectrogram"
    """The last step computed; samples: none, the waveform as it is."""
    sample_rate: int = 22_050
    """Samples a second of the input."""
    preemphasis: float = 0.0
    """c in y[n] = x[n] − c·x[n−1]; 0 switches it off."""
    preemphasis_on: Literal["signal", "frame"] = "signal"
    """What it filters: the signal (python_speech_features) or each frame (Kaldi)."""
    frame_length: int = 2048
    """Samples a frame."""
    hop_length: int = 512
    """Samples from one frame to the next."""
    n_fft: int = 2048
    """Points of the Fourier transform; a shorter frame is padded with zeros: on both sides if
    frames are centred (`padding` zero or reflect), else at its end."""
    padding: Literal["none", "tail", "zero", "reflect", "symmetric"] = "zero"
    """What stands around the signal. none: only whole frames (Kaldi). tail: zeros after the end
    until the last frame is whole (python_speech_features). zero, reflect: n_fft / 2 zeros or
    mirrored samples on both sides, so that frames are centred (librosa; torchaudio). symmetric:
    mirrored with the edge itself, frame t centred on sample (t + ½) · hop (Kaldi without
    snip_edges)."""
    drop_last_frame: bool = False
    """Leaves the last frame out (Whisper)."""
    remove_dc: bool = False
    """Subtracts its mean from every frame."""
    window: Literal[
        "hann", "hamming", "blackman", "blackman_harris", "bartlett", "povey", "rectangular"
    ] = "hann"
    """The window each frame is multiplied with; povey is Hann to the power 0.85 (Kaldi)."""
    window_periodic: bool = True
    """Periodic or symmetric window."""
    precision: Literal["single", "double"] = "single"
    """Arithmetic of window, Fourier transform and power. single: float32, several times faster;
    what lies 80 dB below a pure note is some thousandths of a decibel off. double: float64, right
    to the last digits of the float32 result."""
    power: int = 2
    """1: magnitude, 2: power."""
    scale_by_n_fft: bool = False
    """Divides the spectrum by n_fft."""
    n_mels: int = 0
    """Number of mel filters."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """slaney: linear below 1 kHz (librosa); htk: 2595·log10(1 + f / 700) (also Kaldi)."""
    mel_norm: Literal["none", "slaney"] = "none"
    """Height of the filters: peak 1, or area 1 over Hz."""
    mel_shape: Literal["hz", "mel", "bins"] = "hz"
    """Over which axis a filter is a triangle: Hz (librosa, torchaudio), mel (Kaldi), FFT bins with
    corners rounded down to whole bins (python_speech_features)."""
    fmin_hz: float = 0.0
    """Lower end of the lowest filter."""
    fmax_hz: float | None = None
    """Upper end of the highest filter; None: half the sample rate."""
    log: Literal["none", "db", "natural", "log10"] = "none"
    """The logarithm; db: 10·log10 of power, 20·log10 of magnitude."""
    log_floor: float = 1e-10
    """The value below which `log_floor_rule` acts."""
    log_floor_rule: Literal["max", "replace_zeros"] = "max"
    """max: raises to the floor; replace_zeros: replaces only exact zeros by it."""
    top_db: float | None = None
    """Raises what is more decibels below the clip's own maximum. Needs the whole clip."""
    scale: float = 1.0
    """Factor after the logarithm."""
    offset: float = 0.0
    """Added after `scale`."""
    n_mfcc: int = 0
    """Number of cepstral coefficients."""
    lifter: float = 0.0
    """L in 1 + L/2·sin(π(k + lifter_first)/L), by which coefficient k is multiplied; 0: none."""
    lifter_first: int = 0
    """What the lifter counts from: 0 (HTK, Kaldi, python_speech_features) or 1 (librosa)."""
    energy: Literal["none", "spectrum", "raw"] = "none"
    """What replaces the first coefficient: nothing, the log of the sum of the power spectrum
    (python_speech_features), or of the sum of squares before pre-emphasis and window (Kaldi)."""
    deltas: int = 0
    """1 appends the slope of every feature over time, 2 also the slope of the slope."""
    delta_width: int = 9
    """Frames over which a slope is fitted, odd."""
    delta_fit: Literal["line", "polynomial"] = "line"
    """What is fitted. line: its slope, edges repeated, then the slope of that (HTK, torchaudio,
    python_speech_features). polynomial: the first derivative of a line, the second of a parabola,
    near the edges those of the first and the last whole window (librosa)."""
    normalize: Literal["none", "mean", "mean_var"] = "none"
    """What each feature has subtracted (and is divided by) over the frames of a clip, at last."""

    def __post_init__(self) -> None:
        checked = json.loads(_native.check_spec(dump_fields(dataclasses.asdict(self))))
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> FeatureSpec:
        """The preset of that name, with some fields replaced.

        A lifter or slopes are then those of the library that owns the preset.

        Raises:
            SettingError: no such preset or field, or an invalid value.
        """
        named = _presets()
        if name not in named:
            raise ChoiceError("feature", name, named)
        for switch, fields in _CONVENTIONS.get(name, {}).items():
            if overrides.get(switch):
                overrides = fields | overrides
        return named[name].replace(**overrides)

    def replace(self, **overrides: Any) -> FeatureSpec:
        """A spec with some fields replaced.

        Raises:
            SettingError: no such field, or an invalid value.
        """
        if not overrides:
            return self
        fields = [field.name for field in dataclasses.fields(self)]
        for name in overrides:
            if name not in fields:
                raise ChoiceError("field", name, fields)
        return dataclasses.replace(self, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> FeatureSpec:
        """The inverse of `to_dict`.

        Raises:
            SettingError: an unknown field or an invalid value.
        """
        return cls.from_json(dump_fields(fields))

    def to_json(self) -> str:
        """All fields as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        """The inverse of `to_json`.

        Raises:
            SettingError: an unknown field or an invalid value.
        """
        return cls._of_engine(_native.check_spec(text))

    @classmethod
    def _of_engine(cls, text: str) -> FeatureSpec:
        """The spec of all its fields as the engine wrote them, which need no second check."""
        spec = object.__new__(cls)
        for name, value in json.loads(text).items():
            object.__setattr__(spec, name, value)
        return spec


def presets() -> dict[str, FeatureSpec]:
    """Every preset by its name; each equals the library that owns its convention."""
    return dict(_presets())


@functools.cache
def _presets() -> dict[str, FeatureSpec]:
    return {name: FeatureSpec._of_engine(text) for name, text in _native.presets()}


def dump_fields(fields: dict[str, Any]) -> str:
    """Fields as JSON, as the engine reads them; numpy scalars are taken as Python's.

    Raises:
        SettingError: NaN or infinity, which JSON does not have; names the field.
    """
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in fields.items()
    }
    for name, value in plain.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(name, value, "must be finite")
    return json.dumps(plain)
