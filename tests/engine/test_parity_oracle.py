"""The oracle is right: it equals the libraries that own the conventions, to float64 rounding."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import librosa
import numpy as np
import oracle
import pytest
import python_speech_features as psf
import references
import scipy.signal
import torchaudio
from references import REFERENCES

from audiocls import FeatureSpec

# kaldi-native-fbank computes in float32, Whisper's extractor rounds its spectrum to complex64 and
# its result to float32.
ROUNDING = {"fbank": 1e-3, "mfcc-kaldi": 1e-3, "whisper": 1e-5}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_preset_equals_its_library(name: str) -> None:
    spec, reference = FeatureSpec.preset(name), REFERENCES[name]
    rate = spec.sample_rate
    for n in (reference.min_samples, reference.min_samples + 1, 401, rate // 2, rate):
        for what, y in references.signals(n, rate).items():
            want = reference.features(y)
            got = oracle.features(spec, y)
            assert got.shape == want.shape, f"{what}, {n} samples"
            if want.size:
                worst = np.abs(got - want).max() * reference.per_value
                assert worst <= ROUNDING.get(name, 1e-8), f"{what}, {n} samples: {worst:.3g}"


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [1, 2, 9, 400])
@pytest.mark.parametrize(
    ("ours", "scipys"),
    [
        ("hann", "hann"),
        ("hamming", "hamming"),
        ("blackman", "blackman"),
        ("blackman_harris", "blackmanharris"),
        ("bartlett", "bartlett"),
        ("rectangular", "boxcar"),
    ],
)
def test_windows_are_scipys(ours: str, scipys: str, length: int, periodic: bool) -> None:
    want = scipy.signal.get_window(scipys, length, fftbins=periodic)
    np.testing.assert_allclose(oracle.window(ours, length, periodic), want, atol=1e-12)


def _bank(**settings: Any) -> np.ndarray:
    spec = {"mel_norm": "none", "mel_shape": "hz", "fmin_hz": 0.0, "fmax_hz": None, **settings}
    return oracle.filters(SimpleNamespace(**spec))


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize(("fmin", "fmax"), [(0.0, None), (133.0, 6854.5)])
def test_filters_are_librosas(scale: str, norm: str, fmin: float, fmax: float | None) -> None:
    want = librosa.filters.mel(
        sr=16_000, n_fft=1022, n_mels=40, fmin=fmin, fmax=fmax,
        htk=scale == "htk", norm=None if norm == "none" else norm, dtype=np.float64,
    )  # fmt: skip
    got = _bank(
        sample_rate=16_000, n_fft=1022, n_mels=40, fmin_hz=fmin, fmax_hz=fmax,
        mel_scale=scale, mel_norm=norm,
    )  # fmt: skip
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_filters_are_torchaudios() -> None:
    # Its Slaney scale too; torchaudio computes in the default dtype.
    for scale in ("slaney", "htk"):
        want = torchaudio.functional.melscale_fbanks(
            513, 50.0, 7000.0, 40, 16_000, mel_scale=scale, norm="slaney"
        )
        got = _bank(
            sample_rate=16_000, n_fft=1024, n_mels=40, fmin_hz=50.0, fmax_hz=7000.0,
            mel_scale=scale, mel_norm="slaney",
        )  # fmt: skip
        np.testing.assert_allclose(got, want.T, atol=1e-6)


def test_filters_on_bins_are_python_speech_features() -> None:
    want = psf.get_filterbanks(nfilt=20, nfft=300, samplerate=8000, lowfreq=90, highfreq=3500)
    got = _bank(
        sample_rate=8000, n_fft=300, n_mels=20, fmin_hz=90.0, fmax_hz=3500.0,
        mel_scale="htk", mel_shape="bins",
    )  # fmt: skip
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_the_spectrum_is_librosas_for_any_size() -> None:
    y = references.speech(3000, 16_000)
    for n_fft, frame, hop in [(512, 512, 128), (400, 300, 161), (251, 251, 37), (600, 401, 100)]:
        for padding, mode in [("zero", "constant"), ("reflect", "reflect")]:
            spec = SimpleNamespace(
                kind="stft", preemphasis=0.0, remove_dc=False, frame_length=frame, n_fft=n_fft,
                hop_length=hop, padding=padding, drop_last_frame=False, window="hann",
                window_periodic=True,
            )  # fmt: skip
            want = librosa.stft(
                y, n_fft=n_fft, win_length=frame, hop_length=hop, pad_mode=mode, dtype=np.complex128
            ).T
            np.testing.assert_allclose(oracle.features(spec, y), want, atol=1e-10)


@pytest.mark.parametrize("width", [3, 9])
def test_slopes_are_those_of_two_libraries(width: int) -> None:
    x = np.random.default_rng(0).standard_normal((20, 5))
    spec = SimpleNamespace(deltas=2, delta_width=width, delta_fit="line")
    got = oracle.with_deltas(spec, x)
    np.testing.assert_allclose(got[:, 5:10], psf.delta(x, width // 2), atol=1e-12)
    np.testing.assert_allclose(got[:, 10:], psf.delta(got[:, 5:10], width // 2), atol=1e-12)
    librosas = librosa.feature.delta(x, width=width, axis=0, mode="nearest")
    np.testing.assert_allclose(got[:, 5:10], librosas, atol=1e-12)


def test_magnitudes_and_other_ranges_are_librosas() -> None:
    y = references.music(8000, 16_000)
    settings = {"n_fft": 512, "hop_length": 200, "n_mels": 40, "power": 1.0, "dtype": np.float64}
    mel = librosa.feature.melspectrogram(y=y, sr=16_000, **settings)
    want = librosa.amplitude_to_db(mel, amin=1e-4, top_db=50).T
    spec = FeatureSpec.preset(
        "mel", sample_rate=16_000, n_fft=512, frame_length=512, hop_length=200, n_mels=40,
        power=1, log_floor=1e-4, top_db=50.0,
    )  # fmt: skip
    np.testing.assert_allclose(oracle.features(spec, y), want, atol=1e-9)


def test_whispers_numpy_and_torch_paths_agree() -> None:
    # The reference is the exact one of the two; users of transformers get the other.
    y = references.speech(16_000, 16_000).astype(np.float32)
    got, want = references.whisper_mel_torch(y), references.whisper_mel(y)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_the_libraries_refuse_what_we_say_they_refuse() -> None:
    for name in ("mel-16k", "whisper"):
        features = references.whisper_mel_torch if name == "whisper" else references.torchaudio_mel
        with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
            features(np.zeros(REFERENCES[name].min_samples - 1, np.float32))
    with pytest.raises(librosa.ParameterError):
        references.librosa_mel(np.array([0.0, np.nan] * 2000))
    assert references.kaldi_fbank(np.zeros(399, np.float32)).shape == (0, 80)
