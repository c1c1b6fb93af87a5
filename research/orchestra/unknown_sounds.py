"""Sounds that no instrument makes: noise, hum, near silence, and speech by espeak-ng.

Each kind is for training a background class or for the test alone, never both: a model that refuses
pink noise because it has learnt white noise has understood something.
"""

from __future__ import annotations

import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

RATE = 44100
LENGTH_S = 2.0
Samples = NDArray[np.float64]


def noise(slope_db: float, level_db: float, rng: np.random.Generator) -> Samples:
    """Gaussian noise whose power density changes by `slope_db` an octave, from 20 Hz up."""
    n = round(LENGTH_S * RATE)
    hz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum *= np.maximum(hz, 20) ** (slope_db / (20 * np.log10(2)))
    return _at_level(np.fft.irfft(spectrum, n), level_db)


def band_noise(level_db: float, rng: np.random.Generator) -> Samples:
    """Noise in a band of one to three octaves that lies somewhere in 100 Hz to 10 kHz."""
    n = round(LENGTH_S * RATE)
    hz = np.fft.rfftfreq(n, 1 / RATE)
    low = 100 * 2 ** rng.uniform(0, 5)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[(hz < low) | (hz > min(10e3, low * 2 ** rng.uniform(1, 3)))] = 0
    return _at_level(np.fft.irfft(spectrum, n), level_db)


def hum(mains_hz: float, level_db: float, rng: np.random.Generator) -> Samples:
    """The mains and 30 harmonics, falling by 3 to 12 dB an octave, with a little noise."""
    t = np.arange(round(LENGTH_S * RATE)) / RATE
    mains_hz *= 1 + 0.002 * rng.standard_normal()
    fall = rng.uniform(0.5, 2)
    y = sum(
        rng.uniform(0.2, 1) * k**-fall * np.sin(2 * np.pi * (k * mains_hz * t + rng.random()))
        for k in range(1, 32)
    )
    return _at_level(_at_level(y, 0) + noise(0, -40, rng), level_db)


def dither(rng: np.random.Generator) -> Samples:
    """Digital silence with triangular dither of one step of 16 bits, as converters give it."""
    n = round(LENGTH_S * RATE)
    return (rng.uniform(-0.5, 0.5, n) + rng.uniform(-0.5, 0.5, n)) / 32768


def _at_level(y: Samples, level_db: float) -> Samples:
    """Root mean square at `level_db` below full scale, or as loud as it goes without clipping."""
    y = y * 10 ** (level_db / 20) / np.sqrt(np.mean(y**2))
    return y / max(1.0, float(np.abs(y).max()) / 0.99)


# kind → (use, what makes one from a level in dB and a generator)
NOISES: dict[str, tuple[str, Callable[[float, np.random.Generator], Samples]]] = {
    "noise-white": ("train", lambda level, rng: noise(0, level, rng)),
    "noise-brown": ("train", lambda level, rng: noise(-6, level, rng)),
    "hum-50hz": ("train", lambda level, rng: hum(50, level, rng)),
    "silence-room": ("train", lambda level, rng: noise(rng.uniform(-6, 0), level - 45, rng)),
    "noise-pink": ("test", lambda level, rng: noise(-3, level, rng)),
    "noise-band": ("test", band_noise),
    "hum-60hz": ("test", lambda level, rng: hum(60, level, rng)),
    "silence-dither": ("test", lambda level, rng: dither(rng)),
}

# kind → (use, voices, sentences); languages and voices of the test are not those of training.
SPEECH = {
    "speech-en": ("train", ("en-us+m1", "en-us+m3", "en-us+f2", "en-us+f3"), (
        "The quick brown fox jumps over the lazy dog.",
        "Please leave your name and number after the tone.",
        "It was a bright cold day in April, and the clocks were striking.",
        "Can you hear me now, or should I call you back later?",
        "Seven hundred and forty two, eighteen, and a half.",
    )),
    "speech-de": ("train", ("de+m1", "de+m3", "de+f2", "de+f3"), (
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Deich.",
        "Der nächste Zug fährt in wenigen Minuten von Gleis drei.",
        "Wie geht es Ihnen heute, und was darf es sein?",
        "Morgen wird es im Norden wolkig mit etwas Regen.",
        "Einundzwanzig, zweiundzwanzig, dreiundzwanzig.",
    )),
    "speech-es": ("train", ("es+m1", "es+m3", "es+f2", "es+f3"), (
        "El veloz murciélago hindú comía feliz cardillo y kiwi.",
        "Buenos días, quisiera un café con leche, por favor.",
        "La próxima estación está a dos kilómetros de aquí.",
        "¿Cuánto cuesta este libro de historia?",
        "Mañana vamos a la playa con toda la familia.",
    )),
    "speech-fr": ("test", ("fr-fr+m5", "fr-fr+m7", "fr-fr+f4", "fr-fr+f5"), (
        "Portez ce vieux whisky au juge blond qui fume.",
        "Le train pour Lyon partira à huit heures et demie.",
        "Je voudrais une baguette et deux croissants, merci.",
        "Est-ce que vous pouvez répéter la question ?",
        "Il fait beau aujourd'hui, mais demain il va pleuvoir.",
    )),
    "speech-fi": ("test", ("fi+m5", "fi+m7", "fi+f4", "fi+f5"), (
        "Hyvää huomenta, mitä sinulle kuuluu tänään?",
        "Juna Tampereelle lähtee raiteelta viisi.",
        "Kesällä järven rannalla on mukava istua.",
        "Yksi, kaksi, kolme, neljä, viisi, kuusi.",
        "Minä en ymmärrä, voitko puhua hitaammin?",
    )),
    "speech-it": ("test", ("it+m5", "it+m7", "it+f4", "it+f5"), (
        "Quel vituperabile xenofobo zelante assaggia il whisky.",
        "Il treno per Roma parte dal binario quattro.",
        "Buonasera, vorrei prenotare un tavolo per due persone.",
        "Che tempo fa oggi in montagna?",
        "Uno, due, tre, quattro, cinque, sei, sette.",
    )),
}  # fmt: skip


def speak(voice: str, sentence: str, speed: int, pitch: int) -> Samples:
    """A sentence, without the silence around it. Raises RuntimeError if espeak-ng fails."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder, "speech.wav")
        done = subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", wav, sentence],
            capture_output=True,
            text=True,
        )
        if done.returncode or not wav.exists():
            raise RuntimeError(f"espeak-ng failed on {voice}: {done.stderr.strip()[-300:]}")
        y, rate = soundfile.read(wav)
    loud = np.flatnonzero(np.abs(y) > 0.01)
    y = y[loud[0] : loud[-1] + 1]
    y = resample_poly(y, RATE // np.gcd(RATE, rate), rate // np.gcd(RATE, rate))
    return _at_level(y[: round(3 * RATE)], -20)


def all_sounds(per_kind: int) -> Iterator[tuple[str, str, Callable[[], Samples], dict[str, str]]]:
    """Kind, name, what makes the samples, and columns of the table; at most `per_kind` of each."""
    for kind, (use, make) in NOISES.items():
        for i in range(per_kind):
            rng = np.random.default_rng([zlib.crc32(kind.encode()), i])
            level = rng.uniform(-35, -12)
            name = f"{kind}_{i:03}"
            row = {"source": "computed", "family": "computed", "use": use, "group": f"{kind}/{i}"}
            yield kind, name, partial(make, level, rng), row
    for kind, (use, voices, sentences) in SPEECH.items():
        lines = [(s, v, r) for r in range(3) for s in range(len(sentences)) for v in voices]
        for s, voice, r in lines[:per_kind]:
            name = f"{kind}_{voice}_{s}_{r}"
            row = {"source": "espeak-ng", "family": "espeak-ng", "use": use, "group": f"{kind}/{s}"}
            speed, pitch = (150, 180, 130)[r], (50, 40, 65)[r]
            yield kind, name, partial(speak, voice, sentences[s], speed, pitch), row
