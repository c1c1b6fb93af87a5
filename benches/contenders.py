"""Who computes the same features: this engine, the reference libraries, the fastest peers.

Every contender is in its fastest honest use: batched where its API allows it, plans made before,
output in its own layout. A peer whose convention differs from the preset's is compared with this
engine set to the peer's convention; `note` says in what.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asrfront
import auvux.dsp as auvux
import kaldi_native_fbank as knf
import librosa
import numpy as np
import python_speech_features as psf
import specux
import threadpoolctl
import torch
import torchaudio
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from audiocls import Extractor, FeatureSpec

Clips = NDArray[np.float32]
Features = Any
"""[n_clips, n_frames, n_features], or what becomes that by `to_array`."""


@dataclass(frozen=True)
class Contender:
    """One way to compute a set-up's features.

    Attributes:
        library: who.
        run: clips [n, samples] → features in the library's own form; this is timed.
        to_array: that form → [n, frames, features].
        ours: settings by which this engine's spec differs from the set-up's to do the same.
        gain: factor on the samples that this engine needs to do the same.
        parallel: whether it can use all cores.
        tolerance_db: largest difference on bins within 50 dB of the clip's maximum.
        note: in what it differs.
    """

    library: str
    run: Callable[[Clips], Any]
    to_array: Callable[[Any], NDArray[Any]] = np.asarray
    ours: dict[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    parallel: bool = False
    tolerance_db: float = 0.05
    note: str = ""


@dataclass(frozen=True)
class Setup:
    """A preset, the clips it is timed on, and its contenders; the first is the reference."""

    title: str
    preset: str
    seconds: float
    contenders: tuple[Contender, ...]

    def clips(self, n: int) -> Clips:
        """`n` clips of noise and tones, loud enough that no floor is reached."""
        spec = FeatureSpec.preset(self.preset)
        length = int(self.seconds * spec.sample_rate)
        rng = np.random.default_rng(0)
        t = np.arange(length, dtype=np.float32) / spec.sample_rate
        # Long signals are made in place of many: one row costs as much as it must.
        clips = 0.05 * rng.standard_normal((n, length), np.float32)
        pitches = rng.uniform(80, 1000, n)
        for clip, pitch in zip(clips, pitches, strict=True):
            for h in range(1, 6):
                clip += np.float32(0.2 / h) * np.sin(np.float32(2 * np.pi * pitch * h) * t)
        return clips

    def ours(self, contender: Contender | None, threads: int) -> Callable[[Clips], Clips]:
        """This engine, doing what `contender` does."""
        settings = contender.ours if contender else {}
        extractor = Extractor(FeatureSpec.preset(self.preset, **settings), threads=threads)
        out: dict[int, Clips] = {}

        def run(clips: Clips) -> Clips:
            if len(clips) not in out:
                frames = extractor.n_frames(clips.shape[1])
                shape = (len(clips), frames, extractor.n_features)
                out[len(clips)] = np.empty(shape, np.float32)
            return extractor.batch(clips, out[len(clips)])

        return run


def set_threads(n: int) -> None:
    """The number of threads of every library that has a setting for it."""
    torch.set_num_threads(n)
    specux.set_num_threads(n)
    auvux.set_num_threads(n)
    _asrfront_threads[0] = n
    threadpoolctl.threadpool_limits(n, user_api="blas")  # numpy's products


_asrfront_threads = [1]


def _swap(features: Any) -> NDArray[Any]:
    """[…, features, frames] → [n, frames, features]."""
    return np.swapaxes(np.asarray(features), -1, -2)


def _loop(one: Callable[[Clips], Any]) -> Callable[[Clips], list[Any]]:
    return lambda clips: [one(clip) for clip in clips]


# --- librosa -----------------------------------------------------------------------------------


def _librosa_mel(rate: int, **settings: Any) -> tuple[Contender, Contender]:
    """As users write it, clip by clip; and the whole batch at once."""
    top_db = settings.pop("top_db", 80.0)

    def one(y: Clips) -> Any:
        mel = librosa.feature.melspectrogram(y=y, sr=rate, **settings)
        return librosa.power_to_db(mel, top_db=top_db)

    def batch(clips: Clips) -> Any:
        mel = librosa.feature.melspectrogram(y=clips, sr=rate, **settings)
        # Its own top_db would take the maximum over the whole batch.
        db = librosa.power_to_db(mel, top_db=None)
        return db if top_db is None else np.maximum(db, db.max((1, 2), keepdims=True) - top_db)

    return (
        Contender("librosa, clip by clip", _loop(one), _swap),
        Contender("librosa, batch", batch, _swap),
    )


def _librosa_mfcc() -> tuple[Contender, Contender]:
    one, batch = _librosa_mel(22_050)

    def mfcc(clips: Clips) -> Any:
        return librosa.feature.mfcc(S=batch.run(clips), n_mfcc=20)

    return (
        Contender(one.library, _loop(lambda y: librosa.feature.mfcc(y=y, sr=22_050)), _swap),
        Contender(batch.library, mfcc, _swap),
    )


# --- torch -------------------------------------------------------------------------------------


def _torch(module: Any, library: str = "torchaudio") -> Contender:
    def run(clips: Clips) -> Any:
        with torch.inference_mode():
            # One channel a clip: top_db takes the maximum over the channels.
            return module(torch.from_numpy(clips)[:, None])[:, 0]

    return Contender(library, run, _swap, parallel=True)


def _torchaudio_mel(rate: int, top_db: float | None, **settings: Any) -> Contender:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Filters between two bins.
        mel = torchaudio.transforms.MelSpectrogram(rate, **settings)
    return _torch(torch.nn.Sequential(mel, torchaudio.transforms.AmplitudeToDB(top_db=top_db)))


_SLANEY = {
    "n_fft": 2048, "hop_length": 512, "n_mels": 128, "norm": "slaney", "mel_scale": "slaney",
    "pad_mode": "constant",
}  # fmt: skip


def _torchaudio_mfcc() -> Contender:
    return _torch(torchaudio.transforms.MFCC(22_050, 20, melkwargs=_SLANEY))


def _torchaudio_kaldi(feature: str, **settings: Any) -> Contender:
    from torchaudio.compliance import kaldi

    compute = getattr(kaldi, feature)

    def one(y: Clips) -> Any:
        with torch.inference_mode():
            return compute(torch.from_numpy(y)[None], window_type="povey", **settings)

    return Contender("torchaudio", _loop(one), np.stack)


def _by_hand(preset: str) -> Contender:
    """What a careful user writes: all frames as one matrix, torch's MKL transform, two products."""
    spec = FeatureSpec.preset(preset)
    window = {
        "hann": torch.hann_window(spec.frame_length),
        "rectangular": torch.ones(spec.frame_length),
    }[spec.window]
    if spec.mel_shape == "bins":
        bank = psf.get_filterbanks(spec.n_mels, spec.n_fft, spec.sample_rate)
    else:
        bank = librosa.filters.mel(
            sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels,
            htk=spec.mel_scale == "htk",
            norm=None if spec.mel_norm == "none" else spec.mel_norm,
        )  # fmt: skip
    filters = torch.from_numpy(np.float32(bank.T))
    k = np.arange(spec.n_mfcc)
    basis = np.sqrt(2 / max(1, spec.n_mels)) * np.cos(
        np.pi * k * (2 * np.arange(spec.n_mels)[:, None] + 1) / (2 * max(1, spec.n_mels))
    )
    if spec.n_mfcc:
        basis[:, 0] /= np.sqrt(2)
    if spec.lifter:
        basis *= 1 + spec.lifter / 2 * np.sin(np.pi * k / spec.lifter)
    dct = torch.from_numpy(np.float32(basis))
    mode = {"zero": "constant", "reflect": "reflect"}.get(spec.padding)

    # Blocks that stay in the cache: twice as fast as everything at once.
    block = max(1, 4096 // spec.n_fft)

    def features(y: torch.Tensor) -> torch.Tensor:
        if spec.preemphasis:
            y = torch.cat([y[:, :1], y[:, 1:] - spec.preemphasis * y[:, :-1]], 1)
        if mode:
            y = torch.nn.functional.pad(y[:, None], (spec.n_fft // 2,) * 2, mode)[:, 0]
        elif tail := -(y.shape[1] - spec.frame_length) % spec.hop_length:
            y = torch.nn.functional.pad(y, (0, tail))
        frames = y.unfold(1, spec.frame_length, spec.hop_length)
        if spec.window != "rectangular":
            frames = frames * window
        spectrum = torch.fft.rfft(frames, spec.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        if spec.scale_by_n_fft:
            power *= 1 / spec.n_fft
        mel = power @ filters
        if spec.kind == "mfcc":
            out = mel.log() @ dct
            out[..., 0] = power.sum(-1).log()
            return out
        db = mel.clamp(min=spec.log_floor).log10().mul(10)
        if spec.top_db is None:
            return db
        return torch.maximum(db, db.amax((1, 2), keepdim=True) - spec.top_db)

    def run(clips: Clips) -> Any:
        with torch.inference_mode():
            y = torch.from_numpy(clips)
            return torch.cat([features(part) for part in y.split(block * torch.get_num_threads())])

    return Contender("torch by hand", run, parallel=True)


# --- the reference libraries -------------------------------------------------------------------


def _kaldi(online: Any, options: Any, n_mels: int) -> Contender:
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = n_mels

    def one(y: Clips) -> Any:
        extractor = online(options)
        extractor.accept_waveform(16_000, y)
        extractor.input_finished()
        return [extractor.get_frame(t) for t in range(extractor.num_frames_ready)]

    return Contender("kaldi-native-fbank", _loop(one))


def _transformers() -> Contender:
    extractor = WhisperFeatureExtractor()

    def run(clips: Clips) -> Any:
        got = extractor(
            list(clips), sampling_rate=16_000, padding="do_not_pad", return_tensors="np"
        )
        return got["input_features"]

    return Contender("transformers", run, _swap, parallel=True)


# --- the fastest peers -------------------------------------------------------------------------


def _specux_mel(rate: int, n_fft: int, hop: int, n_mels: int, scale: str, norm: str | None) -> Any:
    def run(clips: Clips) -> Any:
        return specux.feature.melspectrogram(
            clips, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, mel_scale=scale, norm=norm,
            output="db",
        )  # fmt: skip

    return Contender(
        "specux", run, _swap, {"padding": "reflect", "top_db": None}, parallel=True,
        note="reflects at the edges, has no top_db",
    )  # fmt: skip


def _specux_mfcc() -> Contender:
    def run(clips: Clips) -> Any:
        # Its own top_db takes the maximum over the whole batch.
        return specux.feature.mfcc(clips, sr=22_050, n_mfcc=20, hop_length=512, top_db=None)

    return Contender(
        "specux", run, _swap, {"padding": "reflect", "top_db": None}, parallel=True,
        note="reflects at the edges, has no top_db of the clip",
    )  # fmt: skip


def _auvux(transform: Any) -> Contender:
    return Contender("auvux-dsp", transform, _swap, parallel=True)


def _asrfront_fbank() -> Contender:
    cmn = asrfront._ext.SenseVoiceFrontend(n_mels=80)

    def run(clips: Clips) -> Any:
        outs = np.empty((len(clips), cmn.raw_frames(clips.shape[1]), 80), np.float32)
        for clip, out in zip(clips, outs, strict=True):
            cmn.fbank_raw(clip, out)
        return outs

    return Contender(
        "asrfront", run, ours={"window": "hamming"}, gain=32_768.0,
        note="Hamming window, samples times 32768",
    )  # fmt: skip


def _asrfront_whisper() -> Contender:
    def run(clips: Clips) -> Any:
        return asrfront.whisper.log_mel_batch(
            clips, pad_or_trim=False, n_threads=_asrfront_threads[0]
        )

    return Contender("asrfront", run, _swap, parallel=True)


_MEL = (
    *_librosa_mel(44_100),
    _torchaudio_mel(44_100, 80.0, **_SLANEY),
    _by_hand("mel"),
    _auvux(auvux.MelSpectrogram(sr=44_100, hop_length=512, output="db", top_db=80.0)),
    _specux_mel(44_100, 2048, 512, 128, "slaney", "slaney"),
)

SETUPS = (
    Setup("mel", "mel", 0.5, _MEL),
    Setup(
        "mel-16k", "mel-16k", 0.5,
        (
            *_librosa_mel(
                16_000, n_fft=400, hop_length=200, n_mels=80, htk=True, norm=None,
                pad_mode="reflect", top_db=None,
            ),
            _torchaudio_mel(16_000, None, n_mels=80),
            _by_hand("mel-16k"),
            _specux_mel(16_000, 400, 200, 80, "htk", None),
        ),
    ),
    Setup(
        "mfcc", "mfcc", 0.5,
        (
            Contender("python_speech_features", _loop(lambda y: psf.mfcc(y, 12_000))),
            _by_hand("mfcc"),
        ),
    ),
    Setup(
        "mfcc-librosa", "mfcc-librosa", 0.5,
        (
            *_librosa_mfcc(),
            _torchaudio_mfcc(),
            _auvux(auvux.MFCC(sr=22_050, hop_length=512)),
            _specux_mfcc(),
        ),
    ),
    Setup("mel, one signal of 10 minutes", "mel", 600.0, (_MEL[0], _MEL[2], *_MEL[4:])),
    Setup(
        "fbank, 1 s", "fbank", 1.0,
        (
            _kaldi(knf.OnlineFbank, knf.FbankOptions(), 80),
            _torchaudio_kaldi("fbank", num_mel_bins=80),
            _asrfront_fbank(),
        ),
    ),
    Setup(
        "mfcc-kaldi, 1 s", "mfcc-kaldi", 1.0,
        (
            _kaldi(knf.OnlineMfcc, knf.MfccOptions(), 23),
            _torchaudio_kaldi("mfcc", use_energy=True, energy_floor=0.0),
        ),
    ),
    Setup("whisper", "whisper", 0.5, (_transformers(), _asrfront_whisper())),
)  # fmt: skip


def check_equal(setup: Setup, contender: Contender, clips: Clips) -> None:
    """Fails if the contender and this engine do not compute the same.

    Looser than docs/evidence/parity.md: the peers compute in float32, and specux adds its floor
    where others clamp. Only bins within 50 dB of the clip's maximum count.
    """
    ours = setup.ours(contender, 1)(np.float32(contender.gain) * clips)
    theirs = contender.to_array(contender.run(clips))
    assert theirs.shape == ours.shape, f"{contender.library}: {theirs.shape}, ours {ours.shape}"
    spec = FeatureSpec.preset(setup.preset)
    per_value = {"db": 1.0, "natural": 10 / np.log(10), "log10": 10.0}[spec.log] / spec.scale
    difference = np.abs(np.float64(theirs) - ours) * per_value
    if spec.kind == "mel":
        difference = difference[(ours.max((1, 2), keepdims=True) - ours) * per_value <= 50]
    worst = difference.max()
    assert worst <= contender.tolerance_db, f"{setup.title}, {contender.library}: {worst:.3g} dB"
