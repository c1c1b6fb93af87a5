"""From a folder of MP3s to mel features on disk, by this engine and its peers.

The peers are the scripts that users write, and the fastest decoder joined to the fastest mel
spectrogram. Decoding alone is the floor of them all.

All cut each recording into whole clips of half a second, and pad a shorter one with zeros. The
recordings have the preset's rate already, so nothing is resampled.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import joblib
import librosa
import numpy as np
import sonara
import soundfile
import soxr
import specux
from numpy.typing import NDArray

import audiocls
from audiocls import Extractor
from audiocls.engine.audio import resample

RATE = 44_100
CLIP = RATE // 2
Samples = NDArray[np.float32]
Decoder = Callable[[str], Samples]


def recordings() -> Path | None:
    """The folder of real recordings, if there is one; never part of the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "philharmonia"
    folder = Path(os.environ.get("AUDIOCLS_TEST_DATA", default))
    return folder if folder.is_dir() else None


def subset(folder: Path, every: int, into: Path) -> list[str]:
    """Links to each `every`-th recording that is not empty, one folder a class, below `into`."""
    paths = [path for path in sorted(folder.rglob("*.mp3")) if path.stat().st_size][::every]
    for path in paths:
        link = into / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, link) if _same_disk(path, into) else shutil.copy(path, link)
    return [str(path) for path in sorted(into.rglob("*.mp3"))]


def _same_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev and os.access(a, os.W_OK)


def clips(y: Samples) -> Samples:
    """Cuts samples into clips, [n, CLIP]."""
    if len(y) < CLIP:
        y = np.pad(y, (0, CLIP - len(y)))
    return y[: len(y) // CLIP * CLIP].reshape(-1, CLIP)


# --- decoders ----------------------------------------------------------------------------------


def by_soundfile(path: str) -> Samples:
    y = soundfile.read(path, dtype="float32", always_2d=True)[0]
    return y[:, 0] if y.shape[1] == 1 else y.mean(axis=1)


def by_librosa(path: str) -> Samples:
    return librosa.load(path, sr=RATE)[0]


def by_specux(path: str) -> Samples:
    return np.asarray(specux.audio.load(path, mono=True, threads=1)[0]).reshape(-1)


def by_sonara(path: str) -> Samples:
    return np.float32(sonara.load(path, sr=RATE)[0])


def by_audiocls(path: str) -> Samples:
    return audiocls.load(path)[0]


# --- whole ways --------------------------------------------------------------------------------


def librosa_mel(y: Samples) -> Samples:
    mel = librosa.feature.melspectrogram(y=y, sr=RATE)
    return librosa.power_to_db(mel).T


def script(paths: Iterable[str], decode: Decoder) -> list[Samples]:
    """What users write: clip by clip."""
    return [librosa_mel(clip) for path in paths for clip in clips(decode(path))]


def script_batched(paths: Iterable[str], decode: Decoder) -> list[Samples]:
    """The fastest pair: a recording's clips at once. Without top_db, which specux does not have."""
    features = []
    for path in paths:
        mel = specux.feature.melspectrogram(
            clips(decode(path)), sr=RATE, hop_length=512, output="db"
        )
        features.extend(np.swapaxes(mel, 1, 2))
    return features


def on_all_cores(way: Any, paths: list[str], decode: Decoder, cores: int) -> list[Samples]:
    parts = joblib.Parallel(n_jobs=cores)(
        joblib.delayed(way)(paths[i :: 4 * cores], decode) for i in range(4 * cores)
    )
    return [feature for part in parts for feature in part]


def saved(features: list[Samples]) -> int:
    """Writes the features as one file, as a script does, and says how many clips there were."""
    with tempfile.TemporaryFile() as file:
        np.save(file, np.stack(features))
    return len(features)


def extract(data: Path, threads: int) -> int:
    """This engine: to a store on disk."""
    with tempfile.TemporaryDirectory() as out:
        return len(audiocls.extract(data, feature="mel", out=out, threads=threads).features)


def check_equal(data: Path, paths: list[str]) -> None:
    """Checks that the store holds what the script computes.

    The clips are the same, equal to 0.01 dB on all but 1 bin in 1,000 within 60 dB of the clip's
    maximum: decoders round differently.
    """
    with tempfile.TemporaryDirectory() as out:
        store = audiocls.extract(data, feature="mel", out=out)
        where = {recording.path: i for i, recording in enumerate(store.recordings)}
        for path in paths[:: max(1, len(paths) // 30)]:
            name = str(Path(path).relative_to(data))
            ours = store.features[np.flatnonzero(store.clip_recording == where[name])]
            theirs = np.stack(script([path], by_soundfile))
            assert ours.shape == theirs.shape, f"{name}: {ours.shape}, script {theirs.shape}"
            difference = np.abs(ours - theirs)[theirs.max() - theirs <= 60]
            assert np.quantile(difference, 0.999) <= 0.01, f"{name}: {difference.max()} dB"


def ways(data: Path, paths: list[str], cores: int) -> dict[str, Callable[[], int]]:
    """Everything from files to features on disk, by what it is called in the table."""
    found = {
        "audiocls extract, 1 thread": lambda: extract(data, 1),
        "soundfile + librosa": lambda: saved(script(paths, by_soundfile)),
        "librosa.load + librosa": lambda: saved(script(paths, by_librosa)),
        "specux + specux mel": lambda: saved(script_batched(paths, by_specux)),
        "sonara + specux mel": lambda: saved(script_batched(paths, by_sonara)),
    }
    if cores > 1:
        found |= {
            f"audiocls extract, {cores} threads": lambda: extract(data, cores),
            f"soundfile + librosa, joblib on {cores} cores": lambda: saved(
                on_all_cores(script, paths, by_soundfile, cores)
            ),
            f"specux + specux mel, joblib on {cores} cores": lambda: saved(
                on_all_cores(script_batched, paths, by_specux, cores)
            ),
        }
    return found


def decoders(paths: list[str]) -> dict[str, Callable[[], int]]:
    """Decoding alone."""
    return _each(
        paths,
        {
            "audiocls.load": by_audiocls,
            "soundfile": by_soundfile,
            "specux": by_specux,
            "sonara": by_sonara,
        },
    )


def resamplers(paths: list[str]) -> dict[str, Callable[[], int]]:
    """Decoding and resampling to 16 kHz."""
    return _each(
        paths,
        {
            "audiocls.load": lambda path: audiocls.load(path, sample_rate=16_000)[0],
            "librosa.load (soundfile, soxr HQ)": lambda path: librosa.load(path, sr=16_000)[0],
        },
    )


def to_features(paths: list[str]) -> dict[str, Callable[[], int]]:
    """Resampling to 16 kHz and `mel-16k`, of samples in memory; the engine's features in both.

    soxr's HQ has the same pass band and attenuation. Below what it begins to take away the features
    are the same, within 0.05 dB on all but 1 bin in 1,000 within 50 dB of the maximum.
    """
    sounds = [by_audiocls(path) for path in paths]
    extractor = Extractor("mel-16k", threads=1)
    resamplers: dict[str, Callable[[Samples], Samples]] = {
        "audiocls.resample": lambda y: resample(y, RATE, 16_000),
        "soxr HQ": lambda y: soxr.resample(y, RATE, 16_000, "HQ"),
    }
    for y in sounds[:30]:
        n = extractor.n_frames(16_000 * len(y) // RATE) - 1
        ours, theirs = (extractor(f(y))[:n, :74] for f in resamplers.values())
        difference = np.abs(ours - theirs)[theirs.max() - theirs <= 50]
        assert np.quantile(difference, 0.999) <= 0.05, difference.max()

    def over(f: Callable[[Samples], Samples]) -> Callable[[], int]:
        return lambda: sum(len(extractor(f(y))) for y in sounds)

    return {name: over(f) for name, f in resamplers.items()}


def _each(paths: list[str], named: dict[str, Decoder]) -> dict[str, Callable[[], int]]:
    def over(decode: Decoder) -> Callable[[], int]:
        return lambda: sum(len(decode(path)) for path in paths)

    return {name: over(decode) for name, decode in named.items()}
