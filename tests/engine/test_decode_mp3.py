"""MP3 of every rate and coding: equal to libsndfile (mpg123)."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from audiocls import _native

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]


def sound(rate: int, n_channels: int) -> NDArray[np.float32]:
    """Tones, noise that comes and goes, and clicks, for which an encoder takes short windows."""
    draw = np.random.default_rng(rate + n_channels)
    t = np.arange(rate * 3 // 2 + 77) / rate
    noise = 0.1 * draw.standard_normal((n_channels, t.size)) * (np.sin(20 * t) > 0)
    tones = 0.3 * np.sin(2 * np.pi * 440 * t) * np.linspace(1, 0.3, n_channels)[:, None]
    clicks = np.zeros_like(noise)
    for start in range(rate // 7, t.size - 30, rate // 5):
        clicks[:, start : start + 20] = draw.uniform(-0.9, 0.9, (n_channels, 20))
    return np.clip(noise + tones + clicks, -1, 0.999).astype(np.float32)


def encode(path: Path, samples: NDArray[np.float32], rate: int, **options: str) -> None:
    """By LAME; `b` is the bit rate in kbit/s."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=rate, layout=layout, format="fltp")
        stream.codec_context.bit_rate = 1000 * int(options.pop("b"))
        stream.codec_context.options = options
        for start in range(0, samples.shape[1], 1152):
            block = np.ascontiguousarray(samples[:, start : start + 1152])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def assert_as_libsndfile(path: Path) -> None:
    expected, rate = sf.read(path, dtype="float32", always_2d=True)
    got, got_rate = _native.load(path)
    assert (got_rate, got.size) == (rate, len(expected))
    np.testing.assert_allclose(got, expected.mean(axis=1), rtol=0, atol=1.1e-6)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_every_rate_and_coding(tmp_path: Path, rate: int, n_channels: int) -> None:
    samples = sound(rate, n_channels)
    low, high = (64, 320) if rate >= 32000 else (24, 160 if rate >= 16000 else 64)
    codings: list[dict[str, object]] = [
        {"b": low},
        {"b": high},
        {"b": 2 * low, "reservoir": "0"},
        {"b": 2 * low, "joint_stereo": "0"},
        {"b": 2 * low, "abr": "1"},
    ]
    for number, coding in enumerate(codings):
        path = tmp_path / f"{number}.mp3"
        encode(path, samples, rate, **{key: str(value) for key, value in coding.items()})
        assert_as_libsndfile(path)
    for mode, level in itertools.product(["VARIABLE", "AVERAGE"], [0.1, 0.9]):
        path = tmp_path / "x.mp3"
        how = {"format": "MP3", "bitrate_mode": mode, "compression_level": level}
        sf.write(path, samples.T, rate, **how)
        assert_as_libsndfile(path)
