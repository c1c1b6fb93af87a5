"""The level of a clip, and which clips of a recording count in its answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from saved_model import saved

import audiocls
from audiocls.data.listing import list_recordings
from audiocls.engine.level import compute_decibel_step, measure_levels
from audiocls.inference.evaluate import judge_listing, judge_store, score_one
from audiocls.inference.predict import Classifier
from audiocls.scores.metrics import counting_clips, mean_by_recording
from audiocls.training.recipe import Recipe

# Of all kinds that a network takes.
SPECS = {
    name: spec
    for name, spec in audiocls.presets().items()
    if spec.kind in ("spectrogram", "mel", "mfcc")
} | {
    "magnitude": audiocls.FeatureSpec(power=1),
    "log magnitude": audiocls.FeatureSpec(power=1, log="natural"),
    "deltas": audiocls.FeatureSpec.preset("mel", deltas=2),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_gain_changes_the_level_by_as_many_decibels(name: str) -> None:
    spec = SPECS[name]
    noise = np.random.default_rng(0).standard_normal((1, spec.sample_rate)).astype(np.float32)
    gains = np.array([0, -6, -15], np.float64)
    clips = (0.1 * noise * 10 ** (gains[:, None] / 20)).astype(np.float32)
    levels = measure_levels(audiocls.Extractor(spec).batch(clips), spec)
    np.testing.assert_allclose(levels - levels[0], gains, atol=0.05)


@pytest.mark.parametrize("name", SPECS)
def test_a_decibel_raises_all_features_alike_or_is_none(name: str) -> None:
    spec = SPECS[name]
    noise = np.random.default_rng(0).standard_normal((1, spec.sample_rate)).astype(np.float32)
    quiet, loud = audiocls.Extractor(spec).batch(np.concatenate([0.01 * noise, 0.1 * noise]))
    unit = compute_decibel_step(spec)
    if unit is not None:
        np.testing.assert_allclose(loud - quiet, 20 * unit, atol=0.01 * 20 * unit)
    else:
        assert np.ptp(loud - quiet) > 0.01


def test_a_level_that_was_normalised_away_is_the_same_for_all() -> None:
    spec = audiocls.FeatureSpec.preset("mfcc", normalize="mean")
    assert measure_levels(np.ones((3, 4, 13)), spec).tolist() == [0, 0, 0]


def test_clips_count_that_are_near_the_loudest_of_their_recording() -> None:
    rng = np.random.default_rng(1)
    levels, recording = rng.uniform(-60, 0, 200), rng.integers(0, 9, 200) * 7
    found = counting_clips(levels, recording, 15)
    for i in range(200):
        loudest = max(levels[j] for j in range(200) if recording[j] == recording[i])
        assert found[i] == (levels[i] >= loudest - 15)
    assert counting_clips(levels, recording, 0).all()

    p = rng.dirichlet(np.ones(3), 200)
    mean, ids = mean_by_recording(p, recording, found)
    for row, i in zip(mean, ids, strict=True):
        np.testing.assert_allclose(row, p[(recording == i) & found].mean(axis=0))


def test_the_study_lets_all_clips_count() -> None:
    assert Recipe.preset("study").quiet_db == 0
    assert Recipe().quiet_db > 0


def test_a_quiet_end_does_not_count_wherever_a_model_is_used(tmp_path: Path) -> None:
    model, data = tmp_path / "model", tmp_path / "data"
    rng = np.random.default_rng(2)
    loud_and_quiet = rng.standard_normal(3 * 22050) * 0.2
    loud_and_quiet[2 * 22050 :] *= 0.01
    for label in ("a", "b"):
        (data / label).mkdir(parents=True)
        soundfile.write(data / label / "x.wav", loud_and_quiet, 22050, subtype="FLOAT")
    spec = audiocls.FeatureSpec.preset("mel", sample_rate=22050)
    audiocls.extract(data, spec, out=tmp_path / "store")
    store = audiocls.open_store(tmp_path / "store")
    saved(model, store, quiet_db=15.0)
    classifier = Classifier.load(model)
    path = str(data / "a" / "x.wav")
    (heard,) = classifier.recordings([path])
    assert not isinstance(heard, Exception)
    assert heard.counts is not None
    assert heard.counts.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(heard.answer, heard.probabilities[:4].mean(axis=0), rtol=1e-6)
    assert np.abs(heard.answer - heard.probabilities.mean(axis=0)).max() > 1e-6

    listing = list_recordings(data)
    by_files = score_one(classifier, list(judge_listing(classifier, listing)), ["a", "b"])
    by_store = score_one(classifier, list(judge_store(classifier, store)), ["a", "b"])
    right = (
        heard.answer[classifier.classes_.index("a")],
        heard.answer[classifier.classes_.index("b")],
    )
    expected = -np.log(right).mean()
    assert by_files["recording"]["nll"] == pytest.approx(expected, rel=1e-6)
    assert by_store["recording"]["nll"] == pytest.approx(expected, rel=1e-4)
