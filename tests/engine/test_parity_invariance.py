"""The same samples give the same bits: streamed, batched, on many threads, in any company."""

from __future__ import annotations

import numpy as np
import pytest
import references
from hypothesis import given, settings
from hypothesis import strategies as st
from references import REFERENCES

from audiocls import Extractor, FeatureSpec
from audiocls.engine.features import list_instruction_sets

drawn = settings(deadline=None, derandomize=True, max_examples=25)

NAMES = [*REFERENCES, "spectrogram", "stft"]
# What the presets do not have: odd sizes, slopes and normalisation at the end.
SPECS = {name: FeatureSpec.preset(name) for name in NAMES} | {
    "odd": FeatureSpec.preset("mel-16k", n_fft=401, frame_length=333, hop_length=77, top_db=60.0),
    "prime": FeatureSpec.preset("mfcc", n_fft=509, hop_length=101, deltas=2, normalize="mean_var"),
    "tail": FeatureSpec.preset("fbank", padding="tail", drop_last_frame=True, deltas=1),
}
specs = pytest.mark.parametrize("name", SPECS)


def _clip(n: int, seed: int = 0) -> np.ndarray:
    return np.float32(references.speech(n, 16_000, seed))


@specs
@drawn
@given(st.integers(1, 9000), st.integers(0, 99))
def test_a_stream_of_any_chunks_equals_the_whole(name: str, n: int, seed: int) -> None:
    extractor, rng = Extractor(SPECS[name], threads=1), np.random.default_rng(seed)
    n = max(n, extractor.spec.n_fft // 2 + 1)
    y = _clip(n)
    stream, parts, at = extractor.stream(), [], 0
    while at < n:
        step = int(rng.choice([0, 1, rng.integers(1, 50), rng.integers(1, 4000)]))
        parts.append(stream.push(y[at : at + step]))
        at += step
    parts.append(stream.finish())
    got = np.concatenate(parts)
    assert got.dtype == extractor(y).dtype
    np.testing.assert_array_equal(got, extractor(y))


@specs
def test_a_stream_can_be_used_again(name: str) -> None:
    extractor = Extractor(SPECS[name], threads=1)
    stream = extractor.stream()
    for seed in range(3):
        y = _clip(5000 + 77 * seed, seed)
        got = np.concatenate([stream.push(y), stream.finish()])
        np.testing.assert_array_equal(got, extractor(y))


@specs
def test_frames_come_as_soon_as_they_can(name: str) -> None:
    spec = SPECS[name]
    extractor, y = Extractor(spec, threads=1), _clip(40_000)
    got = len(extractor.stream().push(y))
    if spec.top_db is not None or spec.deltas or spec.normalize != "none":
        assert got == 0
    else:
        # No more is held back than the frames that reach beyond the end, and one to be dropped.
        beyond = spec.n_fft // spec.hop_length + 2
        assert extractor.n_frames(len(y)) - beyond <= got <= extractor.n_frames(len(y))


@specs
@drawn
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 6000))
def test_clips_threads_and_batches_do_not_matter(
    name: str, n_clips: int, threads: int, n: int
) -> None:
    spec = SPECS[name]
    n = max(n, spec.n_fft // 2 + 1)
    clips = np.stack([_clip(n, seed) for seed in range(4)])[np.arange(n_clips) % 4]
    one = Extractor(spec, threads=1)
    want = np.stack([one(clip) for clip in clips[:4]])[np.arange(n_clips) % 4]
    np.testing.assert_array_equal(Extractor(spec, threads=threads).batch(clips), want)


@pytest.mark.parametrize("name", [name for name in SPECS if name != "stft"])
def test_half_precision_is_the_rounding_of_single(name: str) -> None:
    extractor = Extractor(SPECS[name], threads=2)
    clips = np.stack([_clip(8000, seed) for seed in range(5)])
    got = extractor.batch(clips, dtype=np.float16)
    assert got.dtype == np.float16
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, extractor.batch(clips).astype(np.float16))


@specs
def test_instruction_sets_agree(name: str) -> None:
    spec, clips = SPECS[name], np.stack([_clip(8000, seed) for seed in range(3)])
    sets = list_instruction_sets()
    assert sets
    reference = Extractor(spec, threads=1, isa=sets[-1]).batch(clips)
    size = np.abs(reference).max()
    for isa in sets:
        got = Extractor(spec, threads=1, isa=isa).batch(clips)
        if name in REFERENCES:
            for clip, want in zip(got, reference, strict=True):
                REFERENCES[name].check(clip, np.float64(want), isa)
        else:
            np.testing.assert_allclose(got, reference, atol=1e-5 * size)
