"""Clips a second of augmented `mel` on one core: this engine, and others with librosa.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install . audiomentations pedalboard
    OMP_NUM_THREADS=1 /tmp/peers/bin/python benches/augment.py

In an environment of its own, so that the pins of audiomentations bind nobody else. Every contender
does the chain of docs/guides/training.md with its default probabilities and ranges, in its fastest
way: impulse responses are made before, pitch is changed by soxr, effects of pedalboard are kept and
set anew for each clip. Draws differ, so augmented clips cannot be equal: what is asserted to be
equal are the features of plain clips. torch-audiomentations is left out, as it needs torch.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audiomentations as am
import librosa
import numpy as np
import pedalboard as pb
import soundfile
import soxr
from numpy.typing import NDArray
from paired import ratio, seconds

from audiocls import FeatureSpec, _native

RATE, CLIP, N = 44_100, 22_050, 64
N_IMPULSES = 16

Wave = NDArray[np.float32]


def features(clip: Wave) -> Wave:
    """librosa's, [frames, features]."""
    power = librosa.feature.melspectrogram(y=clip, sr=RATE)
    return np.asarray(librosa.power_to_db(power).T)


def window(recording: Wave, rng: np.random.Generator) -> Wave:
    """A drawn window; half of them with another pitch."""
    ratio = 2 ** (rng.uniform(-3, 3) / 12) if rng.random() < 0.5 else 1.0
    n = int(np.ceil(CLIP * ratio))
    start = rng.integers(len(recording) - n)
    part = recording[start : start + n]
    if ratio != 1:
        part = soxr.resample(part, RATE, RATE / ratio, quality="MQ")
    return librosa.util.fix_length(part, size=CLIP)


def by_audiomentations(impulses: Path) -> Callable[[Wave], Wave]:
    shelf = {"min_gain_db": -12.0, "max_gain_db": 12.0, "p": 0.7}
    return am.Compose(
        [
            am.LowShelfFilter(60, 600, **shelf),
            am.HighShelfFilter(1500, 12_000, **shelf),
            am.PeakingFilter(150, 10_000, -12, 12, 0.7, 3, p=0.7),
            am.PeakingFilter(150, 10_000, -12, 12, 0.7, 3, p=0.7),
            am.ApplyImpulseResponse(str(impulses), p=0.5, lru_cache_size=N_IMPULSES),
            am.HighPassFilter(20, 400, min_rolloff=24, max_rolloff=24, p=0.2),
            am.LowPassFilter(3000, 16_000, min_rolloff=48, max_rolloff=48, p=0.2),
            am.AddColorNoise(5, 40, -6.02, 0.0, p=0.5),
            am.Gain(-24, 6, p=0.8),
            am.TanhDistortion(0.01, 0.5, p=0.1),
            am.PolarityInversion(p=0.5),
            am.Shift(-0.2, 0.2, rollover=False, fade_duration=0, p=0.1),
        ]
    )


def by_pedalboard(impulses: Path, rng: np.random.Generator) -> Callable[[Wave], Wave]:
    """No coloured noise there: white, by numpy."""
    rooms = [pb.Convolution(str(file), mix=0.5) for file in sorted(impulses.iterdir())]
    low, high, peaks = pb.LowShelfFilter(), pb.HighShelfFilter(), [pb.PeakFilter(), pb.PeakFilter()]
    gain, drive = pb.Gain(), pb.Distortion()
    band = [pb.HighpassFilter() for _ in range(2)] + [pb.LowpassFilter() for _ in range(4)]

    def augment(clip: Wave) -> Wave:
        effects: list[pb.Plugin] = []
        if rng.random() < 0.7:
            effects += [low, high, *peaks]
            low.cutoff_frequency_hz, low.gain_db = rng.uniform(60, 600), rng.uniform(-12, 12)
            high.cutoff_frequency_hz, high.gain_db = rng.uniform(1500, 12e3), rng.uniform(-12, 12)
            for peak in peaks:
                peak.cutoff_frequency_hz, peak.q = rng.uniform(150, 10e3), rng.uniform(0.7, 3)
                peak.gain_db = rng.uniform(-12, 12)
        if rng.random() < 0.5:
            effects.append(rooms[rng.integers(len(rooms))])
        if rng.random() < 0.2:
            effects += band
            hz = [rng.uniform(20, 400)] * 2 + [rng.uniform(3000, 16e3)] * 4
            for section, cutoff in zip(band, hz, strict=True):
                section.cutoff_frequency_hz = cutoff
        if effects:
            clip = pb.Pedalboard(effects)(clip, RATE)
        if rng.random() < 0.5:
            noise = rng.standard_normal(CLIP, dtype=np.float32)
            clip = clip + np.sqrt(np.mean(clip**2)) * 10 ** (-rng.uniform(5, 40) / 20) * noise
        effects = []
        if rng.random() < 0.8:
            gain.gain_db = rng.uniform(-24, 6)
            effects.append(gain)
        if rng.random() < 0.1:
            drive.drive_db = rng.uniform(0, 12)
            effects.append(drive)
        if rng.random() < 0.5:
            effects.append(pb.Invert())
        if effects:
            clip = pb.Pedalboard(effects)(np.asarray(clip, np.float32), RATE)
        if rng.random() < 0.1:
            clip = np.roll(clip, rng.integers(-4410, 4410))
        return np.asarray(clip, np.float32)

    return augment


def main() -> None:
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    recordings = [(rng.standard_normal(3 * RATE) / 8).astype(np.float32) for _ in range(N)]
    impulses = Path(tempfile.mkdtemp())
    for i in range(N_IMPULSES):
        n = int(RATE * rng.uniform(0.1, 0.5))
        tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
        soundfile.write(impulses / f"{i}.wav", tail / np.abs(tail).max() / 4, RATE)

    spec = FeatureSpec.preset("mel").to_json()
    given: dict[str, Any] = {"short": "pad", "threads": 1, "impulses": [], "noises": []}
    ours = _native.Augmenter(spec, json.dumps({}), CLIP, **given)
    spans = np.array([[i, 0, 3 * RATE] for i in range(N)])
    out = np.empty((N, ours.n_frames, ours.n_features), np.float32)
    ours.plain(recordings, spans, np.full(N, 100), out)
    for recording, row in zip(recordings, out, strict=True):
        assert np.abs(features(recording[100 : 100 + CLIP]) - row).max() < 1e-3

    epoch = iter(range(1 << 40))
    peers = {
        "audiomentations + librosa": by_audiomentations(impulses),
        "pedalboard + librosa": by_pedalboard(impulses, rng),
    }

    def run(augment: Any) -> None:
        for recording in recordings:
            clip = window(recording, rng)
            kwargs = {"sample_rate": RATE} if isinstance(augment, am.Compose) else {}
            features(augment(clip, **kwargs))

    runs: dict[str, Callable[[], object]] = {
        "audiocls": lambda: ours.batch(recordings, spans, np.arange(N), next(epoch), out)
    }
    runs |= {name: lambda augment=augment: run(augment) for name, augment in peers.items()}
    taken = seconds(runs, rounds=7)
    for name, times in taken.items():
        print(
            f"{name:28} {N / min(times):8.0f} clips/s"
            f"   audiocls is {ratio(times, taken['audiocls']):5.1f} times as fast"
        )


if __name__ == "__main__":
    main()
