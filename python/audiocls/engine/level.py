"""How loud a clip is, told by its features: one measure for stores, models and waveforms."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audiocls.engine.spec import FeatureSpec

# The level of a whole recording below which there is no sound; 16-bit silence with dither is at
# -98 dB of full scale.
SILENCE_DB = -90.0

# A decibel of power in each logarithm.
_DECIBEL = {"db": 1.0, "natural": math.log(10) / 10, "log10": 0.1}


def compute_decibel_step(spec: FeatureSpec) -> float | None:
    """Computes how much higher all features are if the sound is a decibel louder.

    Returns:
        None if the features do not shift by a constant: without a logarithm, of cepstra, of slopes
        and of normalized features.
    """
    spectrum = spec.kind in ("spectrogram", "mel") and spec.log != "none"
    if not spectrum or spec.deltas or spec.normalize != "none":
        return None
    exponent = spec.power / 2 if spec.log != "db" else 1
    return spec.scale * _DECIBEL[spec.log] * exponent


def holds_mel(spec: FeatureSpec) -> bool:
    """Whether features are logarithmic mel bands, which the fields `mel_…` of a recipe are for."""
    return spec.kind == "mel" and compute_decibel_step(spec) is not None


def measure_levels(features: NDArray[np.generic], spec: FeatureSpec) -> NDArray[np.float64]:
    """The level of each clip in decibels, [n]; only differences between clips mean something.

    features: [n, frames, n_features], as an extractor with `spec` makes them. Of spectra it is the
    mean power of all cells; of cepstra what their first coefficient stands for: the mean energy, or
    the mean over frames of the geometric mean of the bands. 0 for all where `normalize` took the
    level away.
    """
    if spec.normalize != "none":
        return np.zeros(len(features))
    x = np.asarray(features, np.float64)
    energy = spec.kind == "mfcc" and spec.energy != "none"
    if spec.kind == "mfcc":  # the DCT is orthonormal: the first coefficient is √n_mels × the mean
        x = x[..., :1] / (1.0 if energy else np.sqrt(spec.n_mels))
    elif spec.deltas:
        x = x[..., : x.shape[-1] // (1 + spec.deltas)]
    x = (x - spec.offset) / spec.scale
    exponent = 2 if spec.power == 1 and spec.log != "db" and not energy else 1
    nats = np.log(10) / 10 / _DECIBEL[spec.log] if spec.log != "none" else 0.0
    power = np.exp(x * nats) if nats else np.abs(x)
    mean: NDArray[np.float64] = (power**exponent).mean(axis=(1, 2))
    return 10 * np.log10(np.maximum(mean, 1e-30))
