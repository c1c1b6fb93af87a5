"""Recordings a second: `audiocls.Classifier` against a loop of soundfile, librosa and torch.

    python benches/predict.py MODEL RECORDINGS/

Both have all cores, make the same features of the same clips, and give the same answers (asserted
first); the model must be of the preset `mel`. Runs alternate, and the medians are printed.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
from paired import ratio, seconds

import audiocls
from audiocls.classifier.model import Model


def by_loop(module: Model, files: list[str]) -> np.ndarray:
    """As one would write it."""
    spec, description = module.description.spec, module.description
    cut = description.cut
    n, hop = cut.clip_len(spec.sample_rate), cut.hop_len(spec.sample_rate)
    rows = []
    for file in files:
        y, rate = soundfile.read(file, dtype="float32", always_2d=True)
        y = librosa.resample(y.mean(axis=1), orig_sr=rate, target_sr=spec.sample_rate)
        y = np.pad(y, (0, max(0, n - len(y))))
        clips = librosa.util.frame(y, frame_length=n, hop_length=hop, axis=0)
        features = [
            librosa.power_to_db(librosa.feature.melspectrogram(y=c, sr=spec.sample_rate)).T
            for c in clips
        ]
        if description.quiet_db:
            levels = [librosa.power_to_db([librosa.db_to_power(f).mean()])[0] for f in features]
            loud = max(levels) - description.quiet_db
            features = [f for f, level in zip(features, levels, strict=True) if level >= loud]
        with torch.inference_mode():
            rows.append(module.probabilities(torch.from_numpy(np.stack(features))).mean(0).numpy())
    return np.stack(rows)


def main() -> None:
    model, folder = sys.argv[1:3]
    files = sorted(str(p) for p in Path(folder).rglob("*") if p.suffix in (".mp3", ".wav"))
    classifier, module = audiocls.Classifier.load(model), Model.load(model)
    ways = {
        "audiocls": lambda: classifier.predict_proba(files),
        "soundfile + librosa + torch": lambda: by_loop(module, files),
    }
    a, b = (way() for way in ways.values())
    print(f"{len(files)} recordings; answers differ by at most {np.abs(a - b).max():.2g}")
    assert np.abs(a - b).max() < 0.01  # MP3 decoders differ in the last bits
    taken = seconds(ways, rounds=5)
    for name, times in taken.items():
        print(f"{name}: {len(files) / statistics.median(times):.1f} recordings/s")
    print(f"{ratio(*reversed(taken.values())):.1f} × as many")


if __name__ == "__main__":
    main()
