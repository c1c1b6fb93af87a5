"""AAC, ALAC, Matroska, which libsndfile does not read: equal to FFmpeg's decoder (package av)."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import audiocls

RATE = 44100


def encode(path: Path, codec: str, channels: NDArray[np.float32]) -> None:
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
        frame.sample_rate = RATE
        blocks = av.AudioResampler(stream.format, layout, RATE, frame_size=stream.frame_size)
        for block in [*blocks.resample(frame), *blocks.resample(None)]:
            file.mux(stream.encode(block))
        file.mux(stream.encode(None))


def decode_with_ffmpeg(path: Path) -> NDArray[np.float32]:
    with av.open(str(path)) as file:
        planar = av.AudioResampler("fltp")
        blocks = [b.to_ndarray() for f in file.decode(audio=0) for b in planar.resample(f)]
    mono: NDArray[np.float32] = np.concatenate(blocks, axis=1).mean(axis=0)
    return mono


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(("codec", "ending"), [("aac", "m4a"), ("aac", "aac"), ("alac", "m4a")])
def test_equals_ffmpeg(tmp_path: Path, codec: str, ending: str, n_channels: int) -> None:
    t = np.arange(2 * RATE) / RATE
    tones = [0.4 * np.sin(2 * np.pi * (440 + 100 * c) * t) for c in range(n_channels)]
    path = tmp_path / f"tone.{ending}"
    encode(path, codec, np.stack(tones).astype(np.float32))
    expected = decode_with_ffmpeg(path)
    samples, rate = audiocls.load(path)
    assert rate == RATE
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_f32le", "alac"])
def test_matroska_equals_ffmpeg(tmp_path: Path, codec: str, n_channels: int) -> None:
    path = tmp_path / "noise.mka"
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (n_channels, RATE))
    encode(path, codec, noise.astype(np.float32))
    expected = decode_with_ffmpeg(path)
    samples, rate = audiocls.load(path)
    assert rate == RATE
    assert samples.shape == expected.shape == (RATE,)
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize(("ending", "inner"), [("mka", "flac"), ("mka", "ogg"), ("webm", "ogg")])
def test_matroska_holds_what_the_plain_file_does(tmp_path: Path, ending: str, inner: str) -> None:
    plain, wrapped = tmp_path / f"x.{inner}", tmp_path / f"x.{ending}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2))
    soundfile.write(plain, noise, RATE)
    with av.open(str(plain)) as source, av.open(str(wrapped), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    samples, rate = audiocls.load(wrapped)
    expected, _ = audiocls.load(plain)
    assert rate == RATE
    # Matroska does not tell how much of the last block of Vorbis is padding.
    assert len(expected) <= len(samples) <= len(expected) + (8192 if inner == "ogg" else 0)
    np.testing.assert_allclose(samples[: len(expected)], expected, atol=1e-5)
