"""What varies in the waveforms of training clips. It needs a store of samples.

The engine does the work. Probabilities and ranges stand in the order in which they act. A range is
[least, greatest].
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from audiocls import _native
from audiocls._native import Augmenter as NativeAugmenter
from audiocls.errors import SettingError

__all__ = [
    "FOLDERS",
    "MOST_FOLLOWING",
    "NOTHING",
    "Augmentation",
    "NativeAugmenter",
    "select_settings",
]

# Notes that follow in a phrase at most.
MOST_FOLLOWING = _native.MOST_FOLLOWING

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How likely and how strongly the waveform of a training clip is changed, and by what."""

    pitch_p: float = 0.5
    """Probability of a change of pitch and speed, by resampling."""
    pitch_semitones: float = 3.0
    """Greatest change of pitch, up or down."""
    phrase_p: float = 0.0
    """Probability of a phrase: within the clip other recordings of its class and source begin, as
    notes follow each other in music."""
    phrase_note_s: Pair = (0.1, 1.0)
    """How long a note of a phrase lasts."""
    phrase_gain_db: Pair = (-6.0, 6.0)
    """How much louder than the first a note that follows is."""
    phrase_rest_db: Pair = (-60.0, 0.0)
    """What is left of what sounds when the next note begins."""
    filter_p: float = 0.7
    """Probability of random filters: a low shelf, a high shelf and two peaks."""
    filter_db: float = 12.0
    """Greatest boost or cut of each filter."""
    reverb_p: float = 0.5
    """Probability of reverberation."""
    reverb_rt60_s: Pair = (0.1, 1.0)
    """Time in which reverberation decays by 60 dB."""
    reverb_direct_db: Pair = (-3.0, 20.0)
    """Power of the direct sound over that of the reverberation."""
    impulses: str | None = None
    """Folder of impulse responses that make the reverberation; without one they are computed."""
    band_limit_p: float = 0.2
    """Probability that what lies outside a band is cut off."""
    band_limit_low_hz: Pair = (20.0, 400.0)
    """Lower end of the band."""
    band_limit_high_hz: Pair = (3000.0, 16_000.0)
    """Upper end of the band."""
    noise_p: float = 0.5
    """Probability of noise."""
    noise_snr_db: Pair = (5.0, 40.0)
    """Power of the clip over that of the noise."""
    noise_colour: Pair = (0.0, 2.0)
    """Slope of the noise: its power falls as 1/f to this; 0 white, 1 pink, 2 brown."""
    noises: str | None = None
    """Folder of recordings that are the noise; without one it is computed."""
    gain_p: float = 0.8
    """Probability of a gain."""
    gain_db: Pair = (-24.0, 6.0)
    """The gain."""
    clip_p: float = 0.1
    """Probability of soft clipping."""
    clip_db: Pair = (0.0, 12.0)
    """How far the clip's peak lies above the level at which clipping sets in."""
    polarity_p: float = 0.5
    """Probability that the sign is changed."""
    shift_p: float = 0.1
    """Probability of a shift in time; what comes in is silence."""
    shift_s: float = 0.1
    """Greatest shift, earlier or later."""

    def __post_init__(self) -> None:
        # The engine knows the rules, and names the field that breaks one.
        for name in FOLDERS:
            folder = getattr(self, name)
            if folder is not None and not isinstance(folder, str):
                raise SettingError(name, folder, "must be text or none")
        given = select_settings(self)
        for name, value in json.loads(_native.check_augmentation(json.dumps(given))).items():
            if name in given:
                object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)


# Fields that the engine does not know: it takes the sounds themselves.
FOLDERS = ("impulses", "noises")


def select_settings(augmentation: Augmentation) -> dict[str, Any]:
    """The fields that the engine's augmenter knows."""
    fields = dataclasses.asdict(augmentation)
    return {name: value for name, value in fields.items() if name not in FOLDERS}


# The augmentation that changes no waveform.
_CHANCES: dict[str, Any] = {
    f.name: 0.0 for f in dataclasses.fields(Augmentation) if f.name.endswith("_p")
}
NOTHING = Augmentation(**_CHANCES)
