"""The built-in data set: 14 synthetic instruments, to try everything on and to test with.

It is synthetic. It shows that the path works from files to report; it says nothing about how well
a model recognises real instruments.

Each instrument is one row of `INSTRUMENTS`. A note is additive (partials with an envelope each), a
plucked string (Karplus & Strong 1983, "Digital Synthesis of Plucked-String and Drum Timbres"), or
filtered noise, and may carry vibrato and breath.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import SettingError

SAMPLE_RATE = 44100
Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Instrument:
    """What a synthetic instrument sounds like; all levels are relative to the first partial."""

    name: str
    share: float  # size of the class relative to the largest: imbalanced on purpose
    midi: tuple[int, int]  # lowest and highest pitch
    partials: tuple[float, ...] = ()  # frequency ratios of the additive part
    levels: tuple[float, ...] = ()  # their levels
    attack_s: float = 0.01
    decay_s: float | None = None  # time to fall by 60 dB; None: the note is held
    bright: float = 0.0  # how much faster the higher partials decay (held: swell)
    vibrato_hz: float = 0.0
    vibrato_cents: float = 0.0
    noise: float = 0.0  # level of the noise part
    noise_band: tuple[float, float] = (0.5, 4.0)  # its band, in multiples of the pitch
    noise_decay_s: float | None = None
    pluck: float = 0.0  # level of the plucked string
    damping: float = 0.5  # its loop filter: 0.5 dark, towards 1 bright


def _harmonics(
    n: int, level: Callable[[int], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ks = range(1, n + 1)
    return tuple(float(k) for k in ks), tuple(level(k) for k in ks)


_SAW = _harmonics(24, lambda k: 1 / k)
_ODD = _harmonics(17, lambda k: 1 / k if k % 2 else 0.03 / k)
_REED = _harmonics(20, lambda k: float(np.exp(-(((k - 5) / 4) ** 2))) + 0.15)
_BRASS = _harmonics(16, lambda k: 0.86**k)
# A stiff string: partials stretched by inharmonicity B = 8e-4, as a piano's.
_STIFF = (
    tuple(k * (1 + 8e-4 * k * k) ** 0.5 for k in range(1, 15)),
    tuple(0.75**k for k in range(14)),
)

# fmt: off
INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument("organ", 1.00, (36, 84), (0.5, 1, 2, 3, 4, 6, 8), (.5, 1, .8, .5, .6, .3, .4),
               attack_s=.02),
    Instrument("flute", 0.90, (60, 91), (1, 2, 3, 4), (1, .25, .08, .02), attack_s=.07,
               vibrato_hz=5, vibrato_cents=25, noise=.05),
    Instrument("clarinet", 0.85, (50, 86), *_ODD, attack_s=.03),
    Instrument("oboe", 0.75, (58, 86), *_REED, attack_s=.02, vibrato_hz=4.5, vibrato_cents=12),
    Instrument("brass", 0.80, (40, 77), *_BRASS, attack_s=.06, bright=.6),
    Instrument("strings", 1.00, (43, 91), *_SAW, attack_s=.12, vibrato_hz=6, vibrato_cents=30,
               noise=.02),
    Instrument("guitar", 0.45, (40, 76), pluck=1, damping=.5),
    Instrument("banjo", 0.15, (50, 81), pluck=1, damping=.85, noise=.2, noise_band=(4, 20),
               noise_decay_s=.02),
    Instrument("bell", 0.40, (60, 96), (.5, 1, 1.19, 1.56, 2, 2.66, 3.76),
               (.4, 1, .6, .5, .7, .4, .3), attack_s=.002, decay_s=3, bright=.3),
    Instrument("marimba", 0.35, (45, 84), (1, 3.98, 10.6), (1, .35, .12), attack_s=.002,
               decay_s=.5, bright=.5),
    Instrument("piano", 0.70, (33, 96), *_STIFF, attack_s=.003, decay_s=2, bright=.15),
    Instrument("drum", 0.30, (33, 50), (1, 1.59, 2.14), (1, .5, .3), attack_s=.001, decay_s=.35,
               noise=.6, noise_band=(2, 40), noise_decay_s=.12),
    Instrument("shaker", 0.25, (84, 96), noise=1, noise_band=(3, 9), noise_decay_s=.15),
    Instrument("wind", 0.50, (60, 84), noise=1, noise_band=(.9, 1.12), attack_s=.15,
               vibrato_hz=3, vibrato_cents=60),
)
# fmt: on

LOUDNESS = {"p": 0.08, "mf": 0.25, "f": 0.7}
_PITCH_NAMES = ("C", "Cs", "D", "Ds", "E", "F", "Fs", "G", "Gs", "A", "As", "B")


def play_note(
    instrument: Instrument, midi: float, level: float, duration_s: float, rng: np.random.Generator
) -> Samples:
    """One note: float64 [samples] at `SAMPLE_RATE`, its peak at `level` (1.0 is full scale)."""
    n = round(duration_s * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    pitch_hz = 440.0 * 2 ** ((midi - 69) / 12)
    bend = (
        instrument.vibrato_cents
        / 1200
        * np.sin(2 * np.pi * (instrument.vibrato_hz * t + rng.random()))
    )
    phase = 2 * np.pi * np.cumsum(pitch_hz * 2**bend) / SAMPLE_RATE

    y = np.zeros(n)
    for k, (ratio, partial) in enumerate(zip(instrument.partials, instrument.levels, strict=True)):
        if ratio * pitch_hz > 0.45 * SAMPLE_RATE:
            continue  # would fold back
        envelope = _decay(t, instrument.decay_s, 1 + instrument.bright * k)
        if instrument.decay_s is None and instrument.bright:
            envelope = np.minimum(1, t / (instrument.attack_s * (1 + instrument.bright * k)))
        y += partial * envelope * np.sin(ratio * phase + 2 * np.pi * rng.random())
    if instrument.pluck:
        y += instrument.pluck * _plucked_string(n, pitch_hz, instrument.damping, rng)
    if instrument.noise:
        lo, hi = (ratio * pitch_hz for ratio in instrument.noise_band)
        band = _band_noise(n, lo, hi, rng) * 2**bend
        y += instrument.noise * band * _decay(t, instrument.noise_decay_s, 1)

    y *= np.minimum(1, t / instrument.attack_s) * np.minimum(1, (duration_s - t) / 0.02)
    return level * y / max(float(np.abs(y).max()), 1e-9)


def _decay(t: Samples, decay_s: float | None, speed: float) -> Samples:
    return np.ones_like(t) if decay_s is None else 10 ** (-3 * speed * t / decay_s)


def _plucked_string(n: int, pitch_hz: float, damping: float, rng: np.random.Generator) -> Samples:
    """Karplus-Strong, a period at a time: y[i] = d·y[i−N] + (1−d)·y[i−N−1], slightly lossy."""
    period = max(2, round(SAMPLE_RATE / pitch_hz))
    y = np.zeros(n + 2 * period + 1)
    y[1 : period + 1] = rng.uniform(-1, 1, period)
    for start in range(period + 1, n + period + 1, period):
        before = y[start - period : start]
        y[start : start + period] = 0.996 * (
            damping * before + (1 - damping) * y[start - period - 1 : start - 1]
        )
    return y[1 : n + 1]


def _band_noise(n: int, lo_hz: float, hi_hz: float, rng: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hz = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum[(hz < lo_hz) | (hz > min(hi_hz, 0.45 * SAMPLE_RATE))] = 0
    y = np.fft.irfft(spectrum, n)
    return y / max(float(np.abs(y).max()), 1e-9)


def write_dataset(
    folder: str | Path, clips_per_class: int = 40, n_classes: int = 14, seed: int = 0
) -> dict[str, int]:
    """Write the synthetic data set: a folder per class with 16-bit WAV files, some files broken.

    The largest class has `clips_per_class` recordings of 0.3–1.5 s, the others their share of it.
    File names are `CLASS_PITCH_LOUDNESS_NUMBER.wav`; recordings of one pitch are near-duplicates,
    as in real collections. The same arguments give the same bytes.

    Returns the number of good recordings of each class. Raises SettingError for a number out of
    range or a folder that is not empty.
    """
    folder = Path(folder)
    if not 2 <= n_classes <= len(INSTRUMENTS):
        raise SettingError("classes", n_classes, f"must be 2 to {len(INSTRUMENTS)}")
    if clips_per_class < 1:
        raise SettingError("clips_per_class", clips_per_class, "must be >= 1")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError("DIR", str(folder), "must be a new or empty folder")

    counts = {}
    for i, instrument in enumerate(INSTRUMENTS[:n_classes]):
        # A generator of its own: a class does not change with the number of the others.
        rng = np.random.default_rng([seed, i])
        name = f"synthetic-{instrument.name}"
        (folder / name).mkdir(parents=True)
        # At least six recordings, at six pitches: enough to split by pitch.
        counts[name] = max(6, round(instrument.share * clips_per_class))
        scale = np.linspace(*instrument.midi, num=min(12, instrument.midi[1] - instrument.midi[0]))
        for number in range(counts[name]):
            midi = round(scale[number % len(scale)])
            loudness = str(rng.choice(list(LOUDNESS)))
            detuned = midi + 0.1 * rng.standard_normal()
            y = play_note(instrument, detuned, LOUDNESS[loudness], rng.uniform(0.3, 1.5), rng)
            pitch = f"{_PITCH_NAMES[midi % 12]}{midi // 12 - 1}"
            _write_wav(folder / name / f"{name}_{pitch}_{loudness}_{number:03}.wav", y)
    _write_dirty_files(folder / f"synthetic-{INSTRUMENTS[0].name}")
    (folder / "SYNTHETIC.txt").write_text(
        "Synthetic instruments made by `audiocls synth`: for trying things out, not for results.\n"
        "Files named broken-* are broken on purpose.\n"
    )
    return counts


def _write_wav(path: Path, y: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.round(y * 32767).astype("<i2").tobytes())


def _write_dirty_files(folder: Path) -> None:
    """What real collections contain; `extract` names each and goes on."""
    (folder / "broken-empty.wav").write_bytes(b"")
    _write_wav(folder / "broken-no-samples.wav", np.zeros(0))
    (folder / "broken-not-audio.wav").write_text("This is a text file with the wrong name.\n")
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 4000, b"WAVE", b"fmt ", 16,
        3, 1, SAMPLE_RATE, 4 * SAMPLE_RATE, 4, 32, b"data", 4000,
    )  # fmt: skip
    nan = np.full(1000, np.nan, "<f4").tobytes()
    (folder / "broken-nan.wav").write_bytes(header + nan)
