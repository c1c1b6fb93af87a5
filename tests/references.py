"""The library that owns each preset's convention, asked for its features; and the test signals.

Computed in float64 where the library allows it, on the very samples that the engine gets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import kaldi_native_fbank as knf
import librosa
import numpy as np
import oracle
import python_speech_features as psf
import torch
import torchaudio
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from audiocls import Extractor

Array = NDArray[np.float64]


def librosa_mel(y: Any, sample_rate: int = 44_100, **settings: Any) -> Array:
    """librosa `power_to_db(melspectrogram(y))`."""
    with warnings.catch_warnings():
        # "n_fft is too large for input signal": the clip is zero-padded, as intended here.
        warnings.filterwarnings("ignore", "n_fft=", UserWarning)
        mel = librosa.feature.melspectrogram(
            y=np.asarray(y, np.float64), sr=sample_rate, dtype=np.float64, **settings
        )
    return librosa.power_to_db(mel).T


def librosa_mfcc(y: Any) -> Array:
    """librosa `mfcc(y)`, all defaults."""
    return librosa.feature.mfcc(S=librosa_mel(y, 22_050).T, n_mfcc=20).T


@cache
def _torchaudio(**settings: Any) -> torch.nn.Module:
    # Built under this default, its window and filters are float64 too.
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():
            # "At least one mel filterbank has all zero values": true of some drawn settings.
            warnings.filterwarnings("ignore", "At least one mel", UserWarning)
            return torch.nn.Sequential(
                torchaudio.transforms.MelSpectrogram(**settings),
                torchaudio.transforms.AmplitudeToDB("power"),
            )
    finally:
        torch.set_default_dtype(torch.float32)


def torchaudio_mel(y: Any, **settings: Any) -> Array:
    """torchaudio `AmplitudeToDB()(MelSpectrogram(16000, n_mels=80)(y))`."""
    transform = _torchaudio(**{"sample_rate": 16_000, "n_mels": 80, **settings})
    return transform(torch.from_numpy(np.array(y, np.float64))[None])[0].T.numpy()


def speech_mfcc(y: Any) -> Array:
    """python_speech_features `mfcc(y, 12000)`, all other arguments at their defaults."""
    return psf.mfcc(np.asarray(y, np.float64), 12_000)


def _kaldi(extractor: Any, y: Any) -> Array:
    extractor.accept_waveform(16_000, np.asarray(y, np.float32))
    extractor.input_finished()
    rows = [extractor.get_frame(t) for t in range(extractor.num_frames_ready)]
    return np.array(rows, np.float64).reshape(len(rows), extractor.dim)


def kaldi_fbank(y: Any, snip_edges: bool = True) -> Array:
    """kaldi-native-fbank `OnlineFbank`, 80 filters, no dither."""
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = snip_edges
    options.mel_opts.num_bins = 80
    return _kaldi(knf.OnlineFbank(options), y)


def kaldi_mfcc(y: Any, snip_edges: bool = True) -> Array:
    """kaldi-native-fbank `OnlineMfcc`, no dither."""
    options = knf.MfccOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = snip_edges
    return _kaldi(knf.OnlineMfcc(options), y)


whisper = cache(WhisperFeatureExtractor)


def whisper_mel(y: Any) -> Array:
    """transformers' Whisper features in numpy (float64 but for the complex64 spectrum)."""
    samples = np.asarray(y, np.float64)
    return np.float64(whisper()._np_extract_fbank_features(samples[None], "cpu")[0].T)


def whisper_mel_torch(y: Any) -> Array:
    """transformers' Whisper features as its users get them: torch, float32."""
    samples = np.asarray(y, np.float32)
    got = whisper()(samples, sampling_rate=16_000, padding="do_not_pad", return_tensors="np")
    return np.float64(got["input_features"][0].T)


# --- comparison --------------------------------------------------------------------------------

RANGE_DB = 80.0
"""Only bins within this of the clip's maximum count: below is float32's rounding noise."""
POWER_TOLERANCE = 1e-4
"""Largest allowed error of a power spectrum, relative to its peak."""


def steady(spec: Any, y: Any, range_db: float) -> NDArray[np.bool_]:
    """The frames of a cepstrum [n_frames] none of whose mel bins lies further below the clip's
    maximum than `range_db`: what `errors` does bin by bin, for values that mix the bins.
    """
    log_mel = spec.replace(
        kind="mel", n_mfcc=0, lifter=0.0, lifter_first=0, energy="none", log="db", log_floor=1e-30,
        log_floor_rule="max", scale=1.0, offset=0.0,
    )  # fmt: skip
    db = oracle.features(log_mel, y)
    return db.min(axis=1) >= db.max(initial=-np.inf) - range_db


def errors(unit: str, got: Any, want: Any, range_db: float = RANGE_DB) -> tuple[float, float]:
    """Largest errors: of the values in `unit`, and of the power relative to its peak.

    Args:
        unit: "dB" and "nat" are logarithms of power, of which only bins within `range_db` of the
            clip's maximum count; "absolute" compares everything, and has no power (0 is returned).
        got: [n_frames, n_features]
        want: the same from a reference.
    """
    assert got.shape == want.shape, f"{got.shape} is not the reference's {want.shape}"
    assert np.isfinite(got).all()
    if not want.size:
        return 0.0, 0.0
    got = np.asarray(got, np.float64)
    difference = np.abs(got - want)
    if unit == "absolute":
        return float(difference.max()), 0.0
    bels = {"dB": 0.1, "nat": 1 / np.log(10)}[unit]
    below = (want.max() - want) * bels
    power = np.abs(10 ** ((got - want.max()) * bels) - 10**-below)
    return float(difference[below * 10 <= range_db].max()), float(power.max())


def against_oracle(
    spec: Any, reference: Reference, clips: Iterable[Any]
) -> tuple[float, float, float]:
    """Largest errors over the clips, all from the float64 oracle: of the engine's values and of
    the library's, in `reference.unit`, and of the engine's power relative to its peak.
    """
    extractor, worst = Extractor(spec, threads=1), (0.0, 0.0, 0.0)
    for y in clips:
        if len(y) < reference.min_samples:
            continue
        want = oracle.features(spec, y)
        got = reference.errors(extractor(y), want)
        library = reference.errors(reference.features(y), want)
        worst = (max(worst[0], got[0]), max(worst[1], library[0]), max(worst[2], got[1]))
    return worst


@dataclass(frozen=True)
class Reference:
    """A preset's library.

    Attributes:
        library: distribution name.
        features: samples → [n_frames, n_features].
        unit: in which errors are measured, see `errors`.
        tolerance: largest allowed error in that unit.
        per_value: factor from the feature's values to that unit.
        min_samples: shortest clip the library takes.
    """

    library: str
    features: Callable[[Any], Array]
    unit: str
    tolerance: float
    per_value: float = 1.0
    min_samples: int = 1

    @property
    def version(self) -> str:
        """Version of the library."""
        return version(self.library)

    def errors(self, got: Any, want: Any, range_db: float = RANGE_DB) -> tuple[float, float]:
        """Largest errors of the values, in `unit`, and of the power; see `errors`."""
        return errors(self.unit, got * self.per_value, want * self.per_value, range_db)

    def check(self, got: Any, want: Any, what: str, range_db: float = RANGE_DB) -> None:
        """Fails, naming `what` was computed, if `got` is not equal to `want` as promised."""
        value, power = self.errors(got, want, range_db)
        assert value <= self.tolerance, f"{what}: {value:.3g} {self.unit} > {self.tolerance}"
        assert power <= POWER_TOLERANCE, f"{what}: power is {power:.3g} of the peak off"


REFERENCES = {
    "mel": Reference("librosa", librosa_mel, "dB", 1e-3),
    "mel-16k": Reference("torchaudio", torchaudio_mel, "dB", 1e-3, min_samples=201),
    "mfcc": Reference("python_speech_features", speech_mfcc, "absolute", 1e-4),
    "mfcc-librosa": Reference("librosa", librosa_mfcc, "absolute", 1e-3),
    "fbank": Reference("kaldi-native-fbank", kaldi_fbank, "nat", 6e-3),
    "mfcc-kaldi": Reference("kaldi-native-fbank", kaldi_mfcc, "absolute", 1e-3),
    # Whisper's values are (log10 + 4) / 4.
    "whisper": Reference("transformers", whisper_mel, "dB", 1e-3, per_value=40.0, min_samples=201),
}


# --- signals -----------------------------------------------------------------------------------


def music(n: int, rate: int) -> Array:
    """A chord of decaying harmonics, a new one every quarter of a second."""
    t = np.arange(n) / rate
    y = np.zeros(n)
    for i, root in enumerate([220.0, 174.6, 261.6, 196.0]):
        since = t - 0.25 * i
        for note in (1, 1.25, 1.5):
            for h in range(1, 12):
                if root * note * h < rate / 2:
                    decay = np.exp(-4 * h**0.5 * np.maximum(since, 0)) * (since >= 0)
                    y += decay * np.sin(2 * np.pi * root * note * h * since + h) / h
    return 0.1 * y


def speech(n: int, rate: int, seed: int = 0) -> Array:
    """Glottal pulses with vibrato through three formants, breath, and pauses of fricative noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / rate
    phase = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 3 * t)) / rate
    harmonics = np.arange(1, int(min(rate / 2, 6000) / 140) + 1)[:, None]
    tilt = sum(
        g / (1 + ((120 * harmonics - f) / b) ** 2)
        for f, b, g in [(600, 80, 1.0), (1200, 100, 0.5), (2500, 150, 0.25)]
    )
    voiced = (tilt * np.sin(harmonics * phase)).sum(axis=0)
    syllable = np.clip(np.sin(2 * np.pi * 4 * t), 0, None) ** 0.5
    breath = (0.02 - 0.018 * syllable) * rng.standard_normal(n)
    return 0.15 * syllable * voiced + breath


def signals(n: int, rate: int) -> dict[str, NDArray[np.float32]]:
    """Easy and hard clips of `n` samples, float32.

    Their levels are such that what Kaldi's floor of 1.2e-7 leaves lies within 80 dB of the clip's
    maximum: below that, single precision is rounding noise, and cepstra have no bins to leave out.
    """
    t = np.arange(n) / rate
    rng = np.random.default_rng(n)
    impulse = np.zeros(n)
    impulse[n // 3] = 1
    made = {
        "noise": 0.1 * rng.standard_normal(n),
        "music": music(n, rate),
        "speech": speech(n, rate),
        "impulse": impulse,
        "tone": 0.1 * np.sin(2 * np.pi * 1000 * t),
        "near-silence": 1e-5 * rng.standard_normal(n),
        "silence": np.zeros(n),
        "dc": np.full(n, 0.25),
        "square": np.sign(np.sin(2 * np.pi * 100 * t) + 1e-12),
    }
    return {name: y.astype(np.float32) for name, y in made.items()}


def tonal(n: int, rate: int) -> dict[str, NDArray[np.float32]]:
    """Clips of `n` samples, float32, with peaks and deep gaps and not a trace of noise."""
    t = np.arange(n) / rate
    made = {f"tone {f} Hz": np.sin(2 * np.pi * f * t) for f in (100, 440, 734, 997, 2500, 5000)}
    made["quiet tone"] = 0.1 * np.sin(2 * np.pi * 440 * t)
    made["chirp"] = np.sin(2 * np.pi * (50 + 1000 * t / t[-1]) * t)
    phase = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 3 * t)) / rate
    made["voice"] = sum(0.1 * np.sin(h * phase) / h for h in range(1, 30))
    made["chord"] = sum(0.1 * np.sin(2 * np.pi * f * h * t + h) / h
                        for f in (220, 277.2, 329.6) for h in range(1, 12))  # fmt: skip
    return {name: y.astype(np.float32) for name, y in made.items()}
