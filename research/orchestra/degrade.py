"""Recordings as other microphones, rooms and telephones have them: a test out of the domain.

    python research/orchestra/degrade.py recordings/ degraded/telephone --condition telephone

writes a copy of every recording below `recordings/` under the same path, as FLAC (mono, 16 bit, at
its own rate). Nothing here is shared with the augmentation that models are trained with: a test
must not be made by what it tests. What is drawn depends on --seed and the recording's path alone.
"""

from __future__ import annotations

import argparse
import io
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import fftconvolve, firwin, resample_poly

from recording import write_recording

SUFFIXES = {".aif", ".aiff", ".flac", ".mp3", ".ogg", ".wav"}
SPEED_OF_SOUND = 343.0  # m/s
Samples = NDArray[np.float64]


def telephone(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """300 to 3,400 Hz, as ITU-T G.712 has it; 80 dB down 110 Hz beyond either edge."""
    taps = round(rate / 43) | 1
    return fftconvolve(
        y, firwin(taps, (300, 3400), window=("kaiser", 8), pass_zero=False, fs=rate), "same"
    )


def reverb(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """A rectangular room by image sources (Allen & Berkley 1979), 0.5 to 1.2 s, 1.5 to 4 m away."""
    room = np.array([rng.uniform(5, 12), rng.uniform(4, 9), rng.uniform(2.6, 4.5)])  # m
    microphone = room * rng.uniform(0.25, 0.75, 3)
    source = microphone
    while not 1.5 <= np.linalg.norm(source - microphone) <= 4:
        source = room * rng.uniform(0.1, 0.9, 3)
    response = room_response(room, source, microphone, rng.uniform(0.5, 1.2), rate)
    direct = round(np.linalg.norm(source - microphone) / SPEED_OF_SOUND * rate)
    wet = fftconvolve(y, response)[direct:][: len(y)]
    return wet * np.sqrt(np.mean(y**2) / max(np.mean(wet**2), 1e-20))


def room_response(
    room: Samples, source: Samples, microphone: Samples, decay_s: float, rate: int
) -> Samples:
    """Impulse response [samples]; the walls absorb so much that it falls by 60 dB in `decay_s`.

    Eyring (1930), "Reverberation Time in Dead Rooms".
    """
    surface = 2 * (room[0] * room[1] + room[1] * room[2] + room[0] * room[2])
    log_energy = -24 * np.log(10) * room.prod() / (SPEED_OF_SOUND * surface * decay_s)
    reach = SPEED_OF_SOUND * decay_s * 0.7  # m: what comes later is 40 dB down
    axes = []
    for length, s, m in zip(room, source, microphone, strict=True):
        n = np.arange(-int(reach / length) - 1, int(reach / length) + 2)
        position = np.where(n % 2 == 0, n * length + s, (n + 1) * length - s)
        axes.append((position - m, np.abs(n)))
    (x, nx), (y, ny), (z, nz) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    bounces = nx[:, None, None] + ny[:, None] + nz
    near = distance < reach
    distance, bounces = distance[near], bounces[near]
    level = np.exp(0.5 * log_energy * bounces) / distance
    delay = np.round(distance / SPEED_OF_SOUND * rate).astype(int)
    response = np.bincount(delay, level)
    # Without the part below 50 Hz, which all images with one sign would add up to.
    return fftconvolve(response, firwin(round(rate / 20) | 1, 50, pass_zero=False, fs=rate), "same")


def equalised(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """A smooth curve, −12 to 12 dB at each octave from 31 Hz to 16 kHz."""
    octaves = np.log2(31.25) + np.arange(10)
    curve = CubicSpline(octaves, rng.uniform(-12, 12, 10))
    n = 2 * len(y)
    hz = np.clip(np.fft.rfftfreq(n, 1 / rate), 31.25, 16000)
    return np.fft.irfft(np.fft.rfft(y, n) * 10 ** (curve(np.log2(hz)) / 20), n)[: len(y)]


def noisy(snr_db: float) -> Callable[[Samples, int, np.random.Generator], Samples]:
    """Pink noise, at this ratio of the recording's mean power to the noise's."""

    def condition(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
        spectrum = np.fft.rfft(rng.standard_normal(len(y)))
        spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(len(y), 1 / rate), 20))
        noise = np.fft.irfft(spectrum, len(y))
        power = max(float(np.mean(noise**2)), 1e-20)
        return y + noise * np.sqrt(np.mean(y**2) / power / 10 ** (snr_db / 10))

    return condition


def transposed(semitones: int) -> Callable[[Samples, int, np.random.Generator], Samples]:
    """Played faster or slower: pitch, formants and tempo move together."""

    def condition(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
        return resample_poly(y, 400, round(400 * 2 ** (semitones / 12)))

    return condition


def mp3(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """There and back through MP3 at 32 kbit/s, by LAME as libsndfile has it."""
    file = io.BytesIO()
    # libsndfile counts from the highest constant rate (0) to the lowest (1, which it refuses):
    # 320 to 32 kbit/s in MPEG-1, 160 to 8 below 32 kHz.
    level = 0.99 if rate >= 32000 else (160 - 32) / (160 - 8)
    soundfile.write(
        file, y, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT",
        compression_level=level,
    )  # fmt: skip
    file.seek(0)
    return soundfile.read(file)[0][: len(y)]


def quiet(y: Samples, rate: int, rng: np.random.Generator) -> Samples:
    """Recorded 30 dB too low, and kept in 16 bits."""
    return y * 10 ** (-30 / 20)


CONDITIONS: dict[str, Callable[[Samples, int, np.random.Generator], Samples]] = {
    "telephone": telephone,
    "reverb": reverb,
    "equalised": equalised,
    "noise-20db": noisy(20),
    "noise-10db": noisy(10),
    "noise-0db": noisy(0),
    "transposed-up": transposed(2),
    "transposed-down": transposed(-2),
    "mp3-32k": mp3,
    "quiet-30db": quiet,
}


def degrade(source: Path, target: Path, condition: str, rng: np.random.Generator) -> None:
    """One recording. Raises soundfile.LibsndfileError or ValueError if it cannot be read."""
    samples, rate = soundfile.read(source, always_2d=True)
    if not len(samples):
        raise ValueError("no samples")
    y = CONDITIONS[condition](samples.mean(axis=1), rate, rng)
    y /= max(1.0, float(np.abs(y).max()) / 0.99)
    write_recording(target, y, rate)


def draws(condition: str, name: str, seed: int = 0) -> np.random.Generator:
    """What is drawn for a recording: by the seed and its path below the folder alone."""
    return np.random.default_rng([seed, zlib.crc32(f"{condition} {name}".encode())])


def main(arguments: list[str] | None = None) -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path, help="a folder, with a folder per class")
    parser.add_argument("out", type=Path)
    parser.add_argument("--condition", required=True, choices=CONDITIONS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    paths = sorted(p for p in args.recordings.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        endings = ", ".join(sorted(SUFFIXES))
        sys.exit(f"{args.recordings} has no recordings: their names must end in {endings}")
    failed = 0
    for path in paths:
        relative = path.relative_to(args.recordings)
        target = (args.out / relative).with_suffix(".flac")
        if target.exists():
            continue
        rng = draws(args.condition, relative.as_posix(), args.seed)
        try:
            degrade(path, target, args.condition, rng)
        except (soundfile.LibsndfileError, ValueError) as error:
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
    done = len(paths) - failed
    print(f"{args.condition}: {done} recordings in {args.out}, {failed} could not be read")


if __name__ == "__main__":
    main()
