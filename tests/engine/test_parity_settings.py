"""Drawn settings: any spec that is valid equals the oracle, and a library that can express it."""

from __future__ import annotations

import warnings
from typing import Any

import librosa
import numpy as np
import oracle
import pytest
import python_speech_features
import references
import torch
import torchaudio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiocls import Extractor, FeatureSpec
from audiocls.errors import SettingError

# Noise has gaps of any depth in its spectrum: where errors are measured in decibels, what lies 60
# dB below the clip's maximum counts, still far above the rounding noise of single precision.
drawn = settings(
    deadline=None, derandomize=True, max_examples=100, suppress_health_check=list(HealthCheck)
)

WINDOWS = ["hann", "hamming", "blackman", "blackman_harris", "bartlett", "povey", "rectangular"]
# Powers of two, other products of small primes, odd numbers, primes.
SIZES = [
    2,
    3,
    16,
    31,
    64,
    96,
    127,
    200,
    251,
    256,
    300,
    320,
    375,
    400,
    441,
    480,
    509,
    512,
    600,
    1000,
]


@st.composite
def specs(draw: st.DrawFn, **fixed: Any) -> FeatureSpec:
    """Any valid spec whose last step is not the complex spectrum."""
    chosen: dict[str, Any] = {}

    def choose(name: str, strategy: st.SearchStrategy[Any]) -> Any:
        chosen[name] = fixed[name] if name in fixed else draw(strategy)
        return chosen[name]

    kind = choose("kind", st.sampled_from(["spectrogram", "mel", "mfcc"]))
    rate = choose("sample_rate", st.sampled_from([8000, 11_025, 16_000, 44_100]))
    if choose("preemphasis", st.sampled_from([0.0, 0.5, 0.97])):
        choose("preemphasis_on", st.sampled_from(["signal", "frame"]))
    n_fft = choose("n_fft", st.sampled_from(SIZES))
    whole = st.just(n_fft)
    choose("frame_length", whole | st.integers(1, n_fft))
    choose("hop_length", st.integers(max(1, n_fft // 8), n_fft + 50))
    fits = chosen["hop_length"] <= chosen["frame_length"]
    choose(
        "padding",
        st.sampled_from(["none", "tail", "zero", "reflect"] + ["symmetric"] * fits),
    )
    choose("drop_last_frame", st.booleans())
    choose("remove_dc", st.booleans())
    choose("window", st.sampled_from(WINDOWS))
    choose("window_periodic", st.booleans())
    choose("precision", st.sampled_from(["single", "double"]))
    power = choose("power", st.sampled_from([1, 2]))
    choose("scale_by_n_fft", st.booleans())
    if kind != "spectrogram":
        n_mels = choose("n_mels", st.integers(1, 140))
        choose("mel_scale", st.sampled_from(["slaney", "htk"]))
        choose("mel_norm", st.sampled_from(["none", "slaney"]))
        choose("mel_shape", st.sampled_from(["hz", "mel", "bins"]))
        choose("fmin_hz", st.sampled_from([0.0, 20.0, 133.3]))
        choose("fmax_hz", st.sampled_from([None, rate / 2, rate / 2 - 1, rate / 3]))
    logs = ["db", "natural", "log10"] + ["none"] * (kind != "mfcc")
    if choose("log", st.sampled_from(logs)) != "none":
        # Without its mean, nothing but rounding may be left of a frame's lowest bins.
        least = [] if chosen["remove_dc"] else [1e-10]
        choose("log_floor", st.sampled_from([*least, 1e-5, 2.0**-23]))
        rules = ["max"] if chosen["remove_dc"] else ["max", "replace_zeros"]
        choose("log_floor_rule", st.sampled_from(rules))
        choose("top_db", st.sampled_from([None, 80.0, 30.0]))
    choose("scale", st.sampled_from([1.0, 0.25]))
    choose("offset", st.sampled_from([0.0, 1.0]))
    if kind == "mfcc":
        choose("n_mfcc", st.integers(1, n_mels))
        if choose("lifter", st.sampled_from([0.0, 22.0])):
            choose("lifter_first", st.sampled_from([0, 1]))
        choose("energy", st.sampled_from(["none", "raw"] + ["spectrum"] * (power == 2)))
    if choose("deltas", st.integers(0, 2)):
        choose("delta_width", st.sampled_from([3, 5, 9]))
        choose("delta_fit", st.sampled_from(["line", "polynomial"]))
    choose("normalize", st.sampled_from(["none", "mean", "mean_var"]))
    return FeatureSpec(**chosen)


def _extractor(spec: FeatureSpec) -> Extractor:
    """The extractor, without the warning about empty filters: test_empty_filters is about that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_mels", UserWarning)
        return Extractor(spec, threads=1)


def _noise(n: int, seed: int) -> np.ndarray:
    return np.float32(0.1 * np.random.default_rng(seed).standard_normal(n))


# --- the oracle --------------------------------------------------------------------------------


@drawn
@given(specs(deltas=0, normalize="none"), st.integers(1, 4000), st.integers(0, 9))
def test_any_spec_equals_the_oracle(spec: FeatureSpec, n: int, seed: int) -> None:
    extractor, y = _extractor(spec), _noise(n, seed)
    if spec.padding == "reflect" and n <= spec.n_fft // 2:
        with pytest.raises(SettingError, match="reflect"):
            extractor(y)
        return
    got, want = np.float64(extractor(y)), oracle.features(spec, y)
    assert got.shape == want.shape
    if not want.size:
        return
    if spec.log == "none":
        peak = np.abs(want - spec.offset).max()
        # A filter whose edge falls on a bin has a weight of 1e-17 there in float64: nothing but the
        # oracle's own rounding.
        rounding = 1e-15 * np.abs(y).max() ** spec.power * abs(spec.scale)
        assert np.abs(got - want).max() <= 2e-6 * peak + 1e-6 * abs(spec.offset) + rounding
        return
    # In the unit of decibels, whatever the base and the scale.
    step = {"db": 1.0, "log10": 10.0, "natural": 10 / np.log(10)}[spec.log] / spec.scale
    step *= 1 if spec.log == "db" or spec.power == 2 else 2
    if spec.kind == "mfcc":
        rows = references.steady(spec, y, 60)
        error = np.abs(got - want)[rows] * step / (1 + spec.lifter / 2)
    else:
        error = np.abs(got - want)[want >= want.max() - 60 / step] * step
    assert error.max(initial=0.0) <= 1e-3


@drawn
@given(specs(log="db", log_floor_rule="max"), st.integers(1, 4000), st.integers(0, 9))
def test_slopes_and_normalisation_equal_the_oracle(spec: FeatureSpec, n: int, seed: int) -> None:
    extractor, y = _extractor(spec), _noise(n, seed)
    if spec.padding == "reflect" and n <= spec.n_fft // 2:
        return
    if spec.delta_fit == "polynomial" and extractor.n_frames(n) < spec.delta_width:
        with pytest.raises(SettingError, match="polynomial"):
            extractor(y)
        return
    got = np.float64(extractor(y))
    # Held to the second pass alone, on the engine's own first pass: a feature that hardly moves
    # has a deviation of the size of rounding errors, and dividing by it would magnify them.
    first = _extractor(spec.replace(deltas=0, delta_width=9, delta_fit="line", normalize="none"))
    slopes = oracle.with_deltas(spec, np.float64(first(y)))
    want = oracle.normalized(spec, slopes)
    assert got.shape == want.shape == (extractor.n_frames(n), extractor.n_features)
    if not want.size:
        return
    size = np.abs(slopes).max() + 1
    rounding = 3e-7 * size
    if spec.normalize == "mean_var":
        rounding = rounding / np.maximum(slopes.std(axis=0), 1e-6) * 3 + 1e-6
    assert (np.abs(got - want) <= rounding).all()


@drawn
@given(
    st.sampled_from(SIZES[2:]),
    st.sampled_from(["none", "tail", "zero", "reflect", "symmetric"]),
    st.integers(501, 3000), st.data(),
)  # fmt: skip
def test_the_complex_spectrum_equals_the_oracle(
    n_fft: int, padding: str, n: int, data: st.DataObject
) -> None:
    frame_length = data.draw(st.integers(1, n_fft))
    longest = frame_length if padding == "symmetric" else n_fft
    spec = FeatureSpec(
        kind="stft",
        n_fft=n_fft,
        frame_length=frame_length,
        hop_length=data.draw(st.integers(min(longest, max(1, n_fft // 8)), longest)),
        padding=padding,
        window=data.draw(st.sampled_from(WINDOWS)),
    )
    y = _noise(n, 0)
    got, want = Extractor(spec, threads=1)(y), oracle.features(spec, y)
    assert got.dtype == np.complex64
    assert got.shape == want.shape
    if want.size:
        assert np.abs(got - want).max() <= 2e-6 * max(np.abs(want).max(), 1e-3)


# --- libraries that can express the setting ----------------------------------------------------


@pytest.mark.parametrize("lifter", [1, 22, 40])
def test_lifters_equal_librosa(lifter: int) -> None:
    y = _noise(30_000, 1)
    spec = FeatureSpec.preset("mfcc-librosa", lifter=lifter)
    want = librosa.feature.mfcc(y=np.float64(y), sr=spec.sample_rate, lifter=lifter).T
    assert np.abs(Extractor(spec, threads=1)(y) - want).max() <= 1e-3 * (1 + lifter / 2)


@pytest.mark.parametrize("width", [3, 9])
@pytest.mark.parametrize("name", ["mel", "mfcc-librosa"])
def test_slopes_equal_librosa(name: str, width: int) -> None:
    """Both orders, at the edges too."""
    y = _noise(30_000, 2)
    spec = FeatureSpec.preset(name, deltas=2, delta_width=width)
    got = np.split(np.float64(Extractor(spec, threads=1)(y)), 3, axis=1)
    for order in (1, 2):
        want = librosa.feature.delta(got[0].T, width=width, order=order).T
        assert np.abs(got[order] - want).max() <= 3e-7 * np.abs(got[0]).max()
    short = np.zeros(spec.hop_length * (width - 2), np.float32)
    with pytest.raises(SettingError, match=f"gives {width - 1} frames.* polynomial needs {width}"):
        Extractor(spec, threads=1)(short)


@pytest.mark.parametrize("name", ["mfcc", "mel-16k", "fbank", "whisper"])
def test_slopes_equal_the_libraries_of_other_presets(name: str) -> None:
    """python_speech_features and torchaudio; Kaldi's own first order is the same."""
    y = _noise(16_000, 3)
    spec = FeatureSpec.preset(name, deltas=2, delta_width=5)
    got = np.split(np.float64(Extractor(spec, threads=1)(y)), 3, axis=1)
    for order in (1, 2):
        speech = python_speech_features.delta(got[order - 1], 2)
        torch_s = torchaudio.functional.compute_deltas(torch.from_numpy(got[order - 1].T)).T
        for want in (speech, torch_s.numpy()):
            assert np.abs(got[order] - want).max() <= 3e-7 * np.abs(got[0]).max() + 1e-9


@pytest.mark.parametrize("n", [1, 79, 80, 81, 159, 240, 400, 1000, 8000, 12_345])
@pytest.mark.parametrize("name", ["fbank", "mfcc-kaldi"])
def test_whole_signals_equal_kaldi_without_snip_edges(name: str, n: int) -> None:
    y = _noise(n, 4)
    spec = FeatureSpec.preset(name, padding="symmetric")
    extractor = Extractor(spec, threads=1)
    got = extractor(y)
    want = references.REFERENCES[name].features(y, snip_edges=False)
    assert got.shape == (want.shape if want.size else (0, extractor.n_features))
    if want.size:
        assert np.abs(got - want).max() <= references.REFERENCES[name].tolerance
    stream = extractor.stream()
    pieces = [stream.push(piece) for piece in np.array_split(y, 7)]
    assert np.array_equal(np.concatenate([*pieces, stream.finish()]), got)


@drawn
@given(
    st.sampled_from([size for size in SIZES if size >= 16]), st.integers(1, 700),
    st.integers(1, 140), st.sampled_from(["slaney", "htk"]), st.sampled_from(["slaney", None]),
    st.sampled_from([1, 2]), st.sampled_from([None, 80.0, 20.0]), st.integers(1, 3000),
    st.sampled_from([0.0, 100.0]), st.sampled_from([None, 3000.0]), st.data(),
)  # fmt: skip
def test_librosa(
    n_fft: int, hop: int, n_mels: int, scale: str, norm: str | None, power: int,
    top_db: float | None, n: int, fmin: float, fmax: float | None, data: st.DataObject,
) -> None:  # fmt: skip
    frame = data.draw(st.just(n_fft) | st.integers(2, n_fft))
    y = _noise(n, n_fft)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Short clips, empty filters.
        mel = librosa.feature.melspectrogram(
            y=np.float64(y), sr=16_000, n_fft=n_fft, win_length=frame, hop_length=hop,
            n_mels=n_mels, htk=scale == "htk", norm=norm, power=power, fmin=fmin, fmax=fmax,
            dtype=np.float64,
        )  # fmt: skip
    to_db = librosa.power_to_db if power == 2 else librosa.amplitude_to_db
    want = to_db(mel, amin=1e-6, top_db=top_db).T
    spec = FeatureSpec(
        kind="mel", sample_rate=16_000, n_fft=n_fft, frame_length=frame, hop_length=hop,
        n_mels=n_mels, mel_scale=scale, mel_norm=norm or "none", power=power, fmin_hz=fmin,
        fmax_hz=fmax, log="db", log_floor=1e-6, top_db=top_db,
    )  # fmt: skip
    value, peak = references.errors("dB", _extractor(spec)(y), want, range_db=60)
    assert value <= 1e-3
    assert peak <= references.POWER_TOLERANCE


# Even sizes: for an odd one torchaudio spaces its filters as if the last bin stood at sr / 2.
@drawn
@given(
    st.sampled_from([n for n in SIZES if n >= 16 and n % 2 == 0]), st.integers(1, 700),
    st.integers(1, 100), st.sampled_from(["slaney", "htk"]), st.sampled_from(["slaney", None]),
    st.integers(501, 3000), st.data(),
)  # fmt: skip
def test_torchaudio(
    n_fft: int, hop: int, n_mels: int, scale: str, norm: str | None, n: int, data: st.DataObject
) -> None:
    frame = data.draw(st.just(n_fft) | st.integers(2, n_fft))
    y = _noise(n, n_fft)
    want = references.torchaudio_mel(
        y, n_fft=n_fft, win_length=frame, hop_length=hop, n_mels=n_mels, mel_scale=scale, norm=norm
    )
    spec = FeatureSpec.preset(
        "mel-16k", n_fft=n_fft, frame_length=frame, hop_length=hop, n_mels=n_mels,
        mel_scale=scale, mel_norm=norm or "none",
    )  # fmt: skip
    value, peak = references.errors("dB", _extractor(spec)(y), want, range_db=60)
    assert value <= 1e-3
    assert peak <= references.POWER_TOLERANCE


# --- filters between two bins ------------------------------------------------------------------


@given(st.integers(1, 200), st.sampled_from([128, 251, 512]))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_empty_filters_are_named_where_librosa_warns(n_mels: int, n_fft: int) -> None:
    spec = FeatureSpec.preset("mel-16k", n_fft=n_fft, frame_length=n_fft, n_mels=n_mels)
    empty = np.flatnonzero(oracle.filters(spec).max(axis=1) == 0)
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        Extractor(spec)
    with warnings.catch_warnings(record=True) as librosas:
        warnings.simplefilter("always")
        librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=n_mels, htk=True, norm=None)
    # librosa excuses a filter whose left corner is 0 Hz.
    assert bool(librosas) == bool(empty[empty > 0].size)
    assert len(ours) == bool(empty.size)
    if ours:
        assert f"filters {', '.join(map(str, empty))} are empty" in str(ours[0].message)
