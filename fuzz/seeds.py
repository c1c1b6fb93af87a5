"""Makes the seeds: tiny recordings of each format, specs, and inputs of the other targets.

    python fuzz/seeds.py

Needs ffmpeg for AAC, ALAC and Matroska. The seeds are kept in the repository, for neither
encoder writes the same bytes in each version.
"""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

import audiocls

SEEDS = Path(__file__).parent / "seeds"
RATE = 8000
TONE = (0.5 * np.sin(np.arange(200) * 0.3)).astype(np.float32)


def mp3(rate: int) -> bytes:
    """Channels that are nearly alike, and a click, which takes short windows."""
    noise = np.random.default_rng(0).normal(0, 0.1, (3000, 1)) * [1, 0.9]
    noise[1500:1510] = 0.9
    file = io.BytesIO()
    how = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.9}
    soundfile.write(file, noise, rate, **how)
    return file.getvalue()


def recordings() -> dict[str, bytes]:
    """By file name."""
    kinds = [
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("WAV", "ULAW"),
        ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "DOUBLE"),
        ("CAF", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ]  # fmt: skip
    found = {}
    for kind, subtype in kinds:
        file = io.BytesIO()
        stereo = np.stack([TONE, TONE[::-1]], axis=1) if subtype in ("PCM_24", "FLOAT") else TONE
        soundfile.write(file, stereo, RATE, format=kind, subtype=subtype)
        found[f"{kind}-{subtype}".lower()] = file.getvalue()
    for rate in (44100, 24000):
        found[f"mp3-stereo-{rate}"] = mp3(rate)
    encoders = [("m4a", "aac"), ("m4a", "alac"), ("adts", "aac"), ("caf", "alac"),
                ("mkv", "flac"), ("ogg", "flac")]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        wav = Path(name) / "tone.wav"
        soundfile.write(wav, TONE, RATE)
        for ending, codec in encoders:
            out = Path(name) / f"out.{ending}"
            options = ["-v", "error", "-y", "-fflags", "+bitexact", "-i", str(wav), "-c:a", codec]
            subprocess.run(["ffmpeg", *options, "-b:a", "16k", str(out)], check=True)
            found[f"{ending}-{codec}"] = out.read_bytes()
    return found


def main() -> None:
    """Writes them all."""
    seeds = {"decode": recordings()}
    pcm = (TONE * 32767).astype("<i2").tobytes()
    rates = [(44100, 16000), (8000, 48000), (44099, 16001), (1, 256), (16000, 16000), (96000, 375)]
    seeds["resample"] = {
        f"{a}-{b}": struct.pack("<IIH", a, b, 33) + pcm[: 400 if a > b else 40] for a, b in rates
    }
    seeds["spec"] = {
        name: audiocls.FeatureSpec.preset(name).to_json().encode()
        for name in ("mel-16k", "mfcc-librosa")
    }
    draw = np.random.default_rng(0)
    seeds["features"] = {f"{i}": draw.bytes(64) + pcm for i in range(6)}
    for target, files in seeds.items():
        (SEEDS / target).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (SEEDS / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
