"""Every preset equals the library that owns it, and the oracle: docs/evidence/parity.md."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import oracle
import pytest
import references
import soundfile
from references import REFERENCES

from audiocls import Extractor, FeatureSpec
from audiocls.errors import SettingError

presets = pytest.mark.parametrize("name", REFERENCES)


def _check(name: str, y: np.ndarray, what: str) -> None:
    """The engine equals the library, and the oracle too."""
    reference, extractor = REFERENCES[name], Extractor(name, threads=1)
    got = extractor(y)
    assert got.shape == (extractor.n_frames(len(y)), extractor.n_features)
    reference.check(got, reference.features(y), f"{what}, library")
    reference.check(got, oracle.features(extractor.spec, y), f"{what}, oracle")


@presets
@pytest.mark.parametrize("seconds", [0.5, 1.7])
def test_signals(name: str, seconds: float) -> None:
    rate = FeatureSpec.preset(name).sample_rate
    for what, y in references.signals(int(seconds * rate), rate).items():
        _check(name, y, what)


@presets
@pytest.mark.parametrize("precision", ["single", "double"])
def test_peaks_and_gaps(name: str, precision: str) -> None:
    """Signals without a trace of noise: what double precision is for."""
    spec = FeatureSpec.preset(name, precision=precision)
    clips = references.tonal(int(0.7 * spec.sample_rate), spec.sample_rate)
    ours, library, power = references.against_oracle(spec, REFERENCES[name], clips.values())
    if precision == "single" and REFERENCES[name].unit == "dB":
        # A float32 transform errs by 1e-7 of the peak: 4e-3 dB of what lies 80 dB below.
        assert ours <= 4e-3
    else:
        # As promised; where the library is itself further from the truth, no worse than it is.
        assert ours <= max(REFERENCES[name].tolerance, library)
    assert power <= references.POWER_TOLERANCE


@presets
def test_loudness(name: str) -> None:
    # From a hundred times too loud to barely there: float32 has the range, so nothing may change.
    rate = FeatureSpec.preset(name).sample_rate
    y = references.music(rate // 2, rate) + references.signals(rate // 2, rate)["noise"]
    for gain in (32_768.0, 0.1, 1e-3):
        _check(name, np.float32(gain * y), f"music and noise times {gain}")


@presets
def test_short_clips(name: str) -> None:
    spec = FeatureSpec.preset(name)
    made = references.signals(5000, spec.sample_rate)
    y = made["music"] + made["noise"]
    first = REFERENCES[name].min_samples
    lengths = [*range(first, first + 40), *range(first + 40, first + 700, 23)]
    for edge in (spec.frame_length, spec.n_fft, spec.frame_length + 3 * spec.hop_length):
        lengths += [edge - 1, edge, edge + 1]
    for n in lengths:
        _check(name, y[:n], f"{n} samples")


@presets
def test_frame_count_for_every_length_to_3_s(name: str) -> None:
    extractor, reference = Extractor(name, threads=1), REFERENCES[name]
    first, last = reference.min_samples, 3 * extractor.spec.sample_rate
    counts = [extractor.n_frames(n) for n in range(first, last + 1)]
    assert counts == [oracle.n_frames(extractor.spec, n) for n in range(first, last + 1)]
    # Counts never fall as clips grow, so what matters is where they step: on both sides of the
    # first steps and of every tenth later one, and at the ends, the library itself is asked.
    steps = first + np.flatnonzero(np.diff(counts))
    steps = np.concatenate([steps[:10], steps[10::10]])
    for n in {first, last, *steps.tolist(), *(steps + 1).tolist()}:
        assert len(reference.features(np.zeros(n, np.float32))) == extractor.n_frames(n), n


def test_the_studys_shapes() -> None:
    for name, rate, shape in [
        ("mel", 44_100, (44, 128)),
        ("mel-16k", 16_000, (41, 80)),
        ("mfcc", 12_000, (49, 13)),
        ("mfcc-librosa", 22_050, (22, 20)),
        ("fbank", 16_000, (48, 80)),
        ("mfcc-kaldi", 16_000, (48, 13)),
        ("whisper", 16_000, (50, 80)),
    ]:
        assert Extractor(name)(np.zeros(rate // 2, np.float32)).shape == shape, name


@presets
def test_what_the_library_refuses_is_refused(name: str) -> None:
    extractor = Extractor(name)
    y = np.zeros(extractor.spec.sample_rate // 2, np.float32)
    for bad in (np.nan, np.inf, -np.inf):
        for at in (0, len(y) // 2, -1):
            y[at] = bad
            with pytest.raises(SettingError, match="finite"):
                extractor(y)
            y[at] = 0
    shortest = REFERENCES[name].min_samples
    for n in {0, shortest - 1}:
        with pytest.raises(SettingError, match="samples"):
            extractor(y[:n])
    assert len(extractor(y[:shortest])) == extractor.n_frames(shortest)


def _sample(folder: Path, n: int, rate: int) -> list[np.ndarray]:
    """Two seconds at most of `n` recordings spread over all classes, always the same.

    What rate the samples were taken at makes no difference to their equality.
    """
    return [y[: 2 * rate] for y in _decoded(folder, n)]


@functools.cache
def _decoded(folder: Path, n: int) -> list[np.ndarray]:
    paths = [path for path in sorted(folder.rglob("*.mp3")) if path.stat().st_size]
    return [
        soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
        for path in paths[:: len(paths) // n][:n]
    ]


@presets
def test_real_recordings(name: str, philharmonia: Path) -> None:
    # Single notes are all peaks and gaps, often 80 dB apart: in single precision what lies 60 dB
    # below the clip's maximum is still far above the rounding noise.
    reference, extractor = REFERENCES[name], Extractor(name, threads=1)
    spec = extractor.spec
    compared = 0
    for y in _sample(philharmonia, 50, spec.sample_rate):
        got, want = extractor(y), reference.features(y)
        assert got.shape == want.shape
        if spec.kind == "mfcc" and spec.top_db is None:
            rows = references.steady(spec, y, 60)
            got, want = got[rows], want[rows]
        reference.check(got, want, "a recording", range_db=60)
        compared += got.size
    assert compared > 10_000


@presets
def test_real_recordings_in_double_precision(name: str, philharmonia: Path) -> None:
    spec = FeatureSpec.preset(name, precision="double")
    clips = _sample(philharmonia, 50, spec.sample_rate)
    ours, library, power = references.against_oracle(spec, REFERENCES[name], clips)
    assert ours <= max(REFERENCES[name].tolerance, library)
    assert power <= references.POWER_TOLERANCE
