"""A store of samples, and `Augmenter` from there to features."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from audiocls import (
    Augmenter,
    Classifier,
    Extractor,
    FeatureSpec,
    Store,
    extract,
    load,
    open_store,
)
from audiocls.compare.grid import compare
from audiocls.engine.augmentation import NOTHING, select_settings
from audiocls.errors import SettingError
from audiocls.store.computed import ComputedStore
from audiocls.training import train
from audiocls.training.data.examples import split_examples
from audiocls.training.data.features import open_features
from audiocls.training.data.sampling import Sampler
from audiocls.training.data.splits import TRAIN, make_split
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device
from audiocls.training.trial import Trial

SPEC = FeatureSpec.preset("mel-16k")
RATE = SPEC.sample_rate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven recordings in two classes: some short, some at another rate, one broken."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for i in range(11):
        rate, seconds = (RATE, 44_100)[i % 2], (0.3, 1.0, 2.71)[i % 3]
        samples = rng.standard_normal(round(rate * seconds)) / 8
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        soundfile.write(folder / "ab"[i % 2] / f"{i:02}.wav", samples, rate, "FLOAT")
    (folder / "b" / "broken.wav").write_bytes(b"RIFF")
    return folder


def samples_store(data: Path, out: Path, **settings: object) -> Store:
    spec = FeatureSpec.preset("samples", sample_rate=RATE)
    return extract(data, spec, out, name="samples", **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return samples_store(data, tmp_path_factory.mktemp("stores") / "samples")


def test_it_holds_the_decoded_samples(data: Path, store: Store, tmp_path: Path) -> None:
    exact = samples_store(data, tmp_path / "float32", dtype="float32")
    assert store.features.dtype == np.int16
    assert store.cut.clip_s == 0
    assert len(store) == len(exact) == 11
    assert store.counts["failed"] == 1
    for i, recording in enumerate(r for r in exact.recordings if r.n_clips):
        samples, _ = load(data / recording.path, RATE)
        assert (exact.features[i][:, 0] == samples).all()
        whole = np.clip(np.rint(samples.astype(np.float64) * 32768), -32768, 32767)
        assert (store.features[i][:, 0] == whole).all()


def test_it_is_resumed_byte_for_byte(data: Path, store: Store, tmp_path: Path) -> None:
    again = samples_store(data, tmp_path / "again", threads=3)
    (again.path / "store.json").rename(again.path / "unfinished.json")
    shard = again.path / "shards" / "00000.npy"
    shard.unlink()
    samples_store(data, again.path)
    for file in (store.path / "shards").iterdir():
        assert (again.path / "shards" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("short", ["pad", "repeat", "drop"])
@pytest.mark.parametrize("hop_s", [0.5, 0.2])
def test_its_grid_is_that_of_a_store_of_features(
    data: Path, store: Store, tmp_path: Path, short: str, hop_s: float
) -> None:
    features = extract(data, SPEC, tmp_path / "mel", hop_s=hop_s, short=short)
    augmenter = Augmenter(SPEC, Recipe(), short=short)
    exact = samples_store(data, tmp_path / "float32", dtype="float32")
    indices, starts = features.cut.grid(augmenter.lengths(exact), RATE)
    assert (exact.clip_recording[indices] == features.clip_recording).all()
    assert (starts == np.rint(features.clip_start_s * RATE)).all()
    assert (augmenter.plain(exact, indices, starts) == features.numpy()).all()
    # Of int16 they are the features of the rounded samples, bit for bit.
    rounded = augmenter.plain(store, indices, starts)
    extractor = Extractor(SPEC)
    for index, start, row in zip(indices, starts, rounded, strict=True):
        samples = store.features[index][:, 0].astype(np.float32) / 32768
        if len(samples) < RATE // 2 and short == "repeat":
            samples = np.tile(samples, 2)
        clip = samples[start : start + RATE // 2]
        assert (extractor(np.pad(clip, (0, RATE // 2 - len(clip)))) == row).all()


def test_clips_of_samples_are_windows_of_their_own(data: Path, tmp_path: Path) -> None:
    clips = samples_store(data, tmp_path / "clips", clip_s=0.5, dtype="float32")
    assert clips.features.shape[1:] == (RATE // 2, 1)
    features = extract(data, SPEC, tmp_path / "mel")
    augmenter = Augmenter(SPEC, Recipe())
    every = np.arange(len(clips))
    assert (augmenter.plain(clips, every, 0 * every) == features.numpy()).all()


def test_an_epoch_is_one_function_of_seed_epoch_and_draw(store: Store) -> None:
    indices = np.array([3, 7, 7, 0, 10, 2])
    draws = np.arange(6)

    def batch(augmenter: Augmenter, epoch: int = 2) -> NDArray[np.float32]:
        return augmenter.batch(store, indices, epoch, draws=draws)

    one = Augmenter(SPEC, Recipe(), seed=5, threads=1)
    out = np.empty((6, *one.clip_shape), np.float32)
    assert one.batch(store, indices, 2, out, draws=draws) is out
    assert np.isfinite(out).all()
    assert (batch(Augmenter(SPEC, Recipe(), seed=5, threads=3)) == out).all()
    assert (one.batch(store, indices[::-1], 2, draws=draws[::-1])[::-1] == out).all()
    assert (out[1] != out[2]).any()
    assert (batch(one, 3) != out).any(axis=(1, 2)).all()
    assert (batch(Augmenter(SPEC, Recipe(), seed=6)) != out).any(axis=(1, 2)).all()
    # A weight of 1 leaves the first clip as it is.
    weights = np.array([1, 0.5, 1, 0.5, 1, 0.5])
    mixed = one.batch(store, indices, 2, draws=draws, mix=(indices[::-1], weights))
    assert np.abs(mixed[::2] - out[::2]).max() < 1e-3
    assert (mixed[1::2] != out[1::2]).any(axis=(1, 2)).all()


def test_clips_of_an_epoch_are_followed_by_others_of_their_class(store: Store) -> None:
    recipe = Recipe.preset(phrase_p=1, phrase_note_s=(0.05, 0.2), phrase_rest_db=(0, 0))
    computed = open_features(store.path, recipe, SPEC)
    split = make_split(computed.recordings, seed=1)
    trial = Trial("lstm", recipe, 4)
    examples = split_examples(computed, split, trial, Device.pick("cpu"))[TRAIN]
    order = torch.arange(len(examples))
    following = Sampler(torch.from_numpy(examples.labels), seed=4).draw_alike(order, 3)

    def epoch(notes: torch.Tensor | None) -> torch.Tensor:
        return torch.cat([batch.x for batch in examples.training_batches(order.split(4), 3, notes)])

    assert isinstance(computed, ComputedStore)
    recordings = np.searchsorted(store.clip_recording, computed.clip_recording[examples.clips])
    want = Augmenter(SPEC, recipe, seed=4).batch(
        store, recordings, 3, draws=order.numpy(), following=recordings[following]
    )
    torch.testing.assert_close(epoch(following), torch.from_numpy(want), rtol=0, atol=0)
    changed = (epoch(following) != epoch(None)).any(2).any(1).float().mean()
    assert changed > 0.9, "a phrase changes the clip"


def test_a_phrase_is_in_what_trains(store: Store, tmp_path: Path) -> None:
    def loss(out: str, p: float) -> str:
        recipe = Recipe(waveform=None, epochs=1, ema=0).replace(phrase_p=p)
        train(store.path, "lstm", tmp_path / out, recipe=recipe, feature=SPEC, device="cpu")
        rows = csv.DictReader((tmp_path / out / "history.csv").read_text().splitlines())
        return next(rows)["train_loss"]

    assert loss("a", 1) == loss("b", 1) != loss("c", 0)


def test_bad_input_is_refused(data: Path, store: Store, tmp_path: Path) -> None:
    features = extract(data, SPEC, tmp_path / "mel")
    augmenter = Augmenter(SPEC, Recipe())
    with pytest.raises(SettingError, match=r"store .* is invalid: holds custom; extract with"):
        augmenter.batch(features, np.array([0]), 0)
    with pytest.raises(SettingError, match="sample_rate 16000 is invalid: must be that of the"):
        Augmenter(FeatureSpec.preset("mel"), Recipe()).batch(store, np.array([0]), 0)
    with pytest.raises(SettingError, match=r"out .* is invalid: must be C-contiguous float32"):
        augmenter.batch(store, np.array([0]), 0, np.empty((1, 3, 80), np.float32))
    with pytest.raises(SettingError, match="clip_s 0 is invalid"):
        Augmenter(SPEC, Recipe(), clip_s=0)
    with pytest.raises(SettingError, match="dtype 'float16' is invalid: samples are"):
        samples_store(data, tmp_path / "a", dtype="float16")
    with pytest.raises(SettingError, match="dtype 'int16' is invalid: features are"):
        extract(data, SPEC, tmp_path / "b", dtype="int16")
    with pytest.raises(SettingError, match="n_mels 4 is invalid: kind samples has a sample_rate"):
        FeatureSpec.preset("samples", n_mels=4)


def test_a_store_of_samples_is_opened_like_any_other(store: Store) -> None:
    opened = open_store(store.path)
    assert opened.classes == ["a", "b"]
    assert len(opened.labels) == len(opened.groups) == 11
    assert opened.clip_shape == (None, 1)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of sounds, some below it, at two rates, and what is no recording."""
    folder = tmp_path / "own"
    rng = np.random.default_rng(3)
    for name, rate in (("b.wav", RATE), ("below/a.flac", 44_100), ("c.WAV", RATE)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, rng.standard_normal(rate // 3) / 8, rate)
    (folder / "readme.txt").write_text("no sound")
    (folder / ".hidden.wav").write_bytes(b"RIFF")
    return folder


@pytest.mark.parametrize(("field", "chance"), [("noises", "noise_p"), ("impulses", "reverb_p")])
def test_sounds_of_a_folder_are_those_of_arrays(
    store: Store, own: Path, field: str, chance: str
) -> None:
    chances = {**select_settings(NOTHING), chance: 1.0}
    sounds = [load(own / name, RATE)[0] for name in ("b.wav", "below/a.flac", "c.WAV")]
    at = np.arange(11)
    named = Augmenter(SPEC, Recipe.preset(**{**chances, field: str(own)})).batch(store, at, 1)
    given = Augmenter(SPEC, Recipe.preset(**chances), **{field: sounds}).batch(store, at, 1)
    computed = Augmenter(SPEC, Recipe.preset(**chances)).batch(store, at, 1)
    assert (named == given).all()
    assert not (named == computed).all()


@pytest.mark.parametrize("field", ["noises", "impulses"])
def test_a_run_with_other_sounds_is_not_gone_on_with(
    store: Store, own: Path, tmp_path: Path, field: str
) -> None:
    recipe = Recipe.preset(**{field: str(own)}, epochs=1)

    def trained() -> object:
        return train(
            store.path, "lstm", tmp_path / "run", recipe=recipe, feature=SPEC, resume=True,
            device="cpu",
        )  # fmt: skip

    def compared() -> object:
        return compare(
            [store.path], ["lstm"], feature=["mel-16k"], recipe=recipe, device="cpu",
            out=tmp_path / "compare",
        ).rows  # fmt: skip

    assert trained() == trained()
    assert compared() == compared()
    (own / "c.WAV").rename(own / "d.WAV")
    for again in (trained, compared):
        with pytest.raises(SettingError, match="recordings in `impulses` or `noises` have changed"):
            again()


@pytest.mark.parametrize("field", ["noises", "impulses"])
def test_a_folder_that_gives_no_sound_is_refused(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    def refused(folder: Path, rule: str) -> None:
        with pytest.raises(SettingError, match=f"{field} '?{folder}.*{rule}"):
            Augmenter(SPEC, Recipe.preset(**{field: str(folder)}))

    refused(tmp_path / "nowhere", "must be a folder")
    refused(own / "b.wav", "must be a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds none")
    with monkeypatch.context() as patch:
        patch.setattr("audiocls.store.augmenter.MOST_SAMPLES", 10_000)
        refused(own, "holds more than")
    soundfile.write(own / "d.wav", np.zeros(100), RATE)
    refused(own, r"silent: .*d\.wav")
    (own / "a.wav").write_bytes(b"RIFF")
    refused(own, r"broken: .*a\.wav")


def test_own_sounds_need_samples(data: Path, own: Path, tmp_path: Path) -> None:
    extract(data, "mel-16k", tmp_path / "mel")
    with pytest.raises(SettingError, match=r"noises .* needs a store of samples"):
        open_features(tmp_path / "mel", Recipe.preset(noises=str(own)))


def test_variations_of_mel_features_need_a_store_of_them(
    data: Path, store: Store, tmp_path: Path
) -> None:
    extract(data, "mel-16k", tmp_path / "mel")
    extract(data, "mfcc-kaldi", tmp_path / "mfcc")
    extract(data, FeatureSpec.preset("mel-16k", deltas=1), tmp_path / "slopes", name="slopes")
    for field in ("mel_shift", "mel_band", "mel_noise"):
        asked, off = Recipe.preset(**{field: 0.01}), Recipe.preset(**{field: 0.0})
        assert len(open_features(tmp_path / "mel", asked)) > 0
        for other in (store.path, tmp_path / "mfcc", tmp_path / "slopes"):
            rule = "is for a store of logarithmic mel features"
            with pytest.raises(SettingError, match=f"{field} 0.01 is invalid: {rule}, .* holds"):
                open_features(other, asked)
            open_features(other, off)


def test_presets_of_one_store_of_samples_are_compared(store: Store, tmp_path: Path) -> None:
    presets = ["mel-16k", "mfcc-kaldi"]
    done = compare(
        [store.path],
        ["lstm"],
        feature=presets,
        clip_s=0.25,
        hop_s=0.125,
        recipe=Recipe(epochs=1, batch_size=4),
        device="cpu",
        out=tmp_path / "runs",
    )
    assert [row["feature"] for row in done.rows] == [f"samples-{preset}" for preset in presets]
    splits = {(tmp_path / "runs" / row["run"] / "split.csv").read_bytes() for row in done.rows}
    assert len(splits) == 1
    for row, bands in zip(done.rows, (80, 13), strict=True):
        model = Classifier.load(tmp_path / "runs" / row["run"])
        assert model.description.input_shape[1] == bands
        assert (model.description.cut.clip_s, model.description.cut.hop_s) == (0.25, 0.125)
    report = done.report.read_text()
    assert f"--features {store.path} --feature mel-16k,mfcc-kaldi" in report
    assert "--clip-s 0.25 --hop-s 0.125" in report


def test_presets_are_of_samples_only(data: Path, tmp_path: Path) -> None:
    extract(data, "mel-16k", tmp_path / "mel")
    with pytest.raises(SettingError, match=r"feature .fbank. is invalid: needs a store of samples"):
        compare([tmp_path / "mel"], ["lstm"], feature=["fbank"], out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("rate", "feature"), [(RATE, "mel-16k"), (44_100, "mel"), (8000, "mel")])
def test_mel_bands_of_the_samples_rate_are_the_default(
    data: Path, tmp_path: Path, rate: int, feature: str
) -> None:
    spec = FeatureSpec.preset("samples", sample_rate=rate)
    extract(data, spec, tmp_path / "samples", name="samples")
    if rate == 8000:  # no preset has that
        with pytest.raises(SettingError, match="extract samples with `--set sample_rate=44100`"):
            open_features(tmp_path / "samples", Recipe())
        return
    assert open_features(tmp_path / "samples", Recipe()).feature == feature
