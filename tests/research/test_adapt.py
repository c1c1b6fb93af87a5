"""The second training of the model in the box, and what it says of players it has not heard."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT
from saved_model import saved

import adapt
import audiocls
import calibrate
import leave_out
import table
from audiocls.classifier.model import Model
from audiocls.engine.spec import FeatureSpec
from audiocls.scores.metrics import softmax
from audiocls.training.data.sampling import Sampler
from audiocls.training.recipe import Recipe

RATE = 16000
NAMES = ["cello", "flute", "unknown"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of samples of an orchestra and one player, and a model of its classes."""
    folder = tmp_path_factory.mktemp("players")
    rows = []
    for i, (label, family) in enumerate(
        (label, family) for label in NAMES for family in ("philharmonia", "ganjo") for _ in range(3)
    ):
        y = 0.1 * np.random.default_rng(i).standard_normal(RATE)
        soundfile.write(folder / f"{i}.wav", y, RATE)
        part = "val" if family == "philharmonia" and i % 3 == 0 else "train"
        rows.append([f"{i}.wav", label, str(i), family, part])
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "label", "group", "family", "split"], *rows])
    samples = FeatureSpec.preset("samples", sample_rate=RATE)
    audiocls.extract(folder / "metadata.csv", samples, folder / "store", name="samples")
    saved(folder / "model", adapt.open_samples(folder / "store"), "compact", classes=NAMES)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of small batches; the state is kept every two steps."""
    monkeypatch.setattr(adapt, "ROUND", 2)
    return adapt.recipe_of(1e-3, 0.5).replace(batch_size=4)


def trained(place: Path, recipe: Recipe, without: list[str], state: Path | None = None) -> dict:
    """The weights after four steps."""
    store, model = adapt.open_samples(place / "store"), Model.load(place / "model")
    return adapt.adapt(store, model, recipe, 4, without, 0, state).state_dict()


def test_a_training_that_was_stopped_ends_as_an_undisturbed_one(
    place: Path, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(place, small, [])
    before = Model.load(place / "model").state_dict()
    assert not torch.equal(whole["network.classifier.weight"], before["network.classifier.weight"])
    with monkeypatch.context() as patch:
        calls = iter(range(3))
        follow = adapt.follow

        def stopped(*given: object) -> None:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            follow(*given)

        patch.setattr(adapt, "follow", stopped)
        with pytest.raises(KeyboardInterrupt):
            trained(place, small, [], tmp_path / "run" / "state.pt")
    again = trained(place, small, [], tmp_path / "run" / "state.pt")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_nothing_of_a_source_that_is_left_out_is_drawn(place: Path, small: Recipe) -> None:
    store = adapt.open_samples(place / "store")
    family = [str(r.extra["family"]) for r in store.recordings]
    for without, left in (([], {"ganjo", "philharmonia"}), (["ganjo"], {"philharmonia"})):
        clips = adapt.Clips(store, small, without, 0)
        ids, following = clips.draw(200, 1)
        rows = store.clip_recording[clips.clips[torch.cat([ids, following.ravel()]).numpy()]]
        assert {family[i] for i in rows} == left
        assert {store.recordings[i].split for i in rows} == {"train"}


def test_a_blend_lies_between_two_trainings(place: Path, small: Recipe) -> None:
    start = Model.load(place / "model")
    made = adapt.adapt(adapt.open_samples(place / "store"), start, small, 4)
    a, b = start.state_dict(), made.state_dict()
    for share in (0.0, 0.5, 1.0):
        blended = adapt.blend(start, made, share).state_dict()
        for name, value in a.items():
            expected = value if not value.is_floating_point() else value + share * (b[name] - value)
            assert torch.allclose(blended[name], expected, atol=1e-6), name


def test_logits_are_adjusted_by_what_a_domain_holds() -> None:
    label = torch.tensor([0, 0, 0, 1, 1, 2])
    domain = torch.tensor([0, 0, 1, 0, 1, 0])
    prior = adapt.log_priors(label, domain, Sampler(label, "balanced"), 3)
    # Of a class of three, each is drawn one in nine; of two one in six; class 2 one in three.
    home = np.array([2 / 9, 1 / 6, 1 / 3])
    assert prior[0].exp().numpy() == pytest.approx(home / home.sum(), abs=1e-6)
    away = np.array([1 / 9, 1 / 6, 0])
    assert prior[1].exp().numpy() == pytest.approx(away / away.sum(), abs=1e-6)
    logits = torch.randn(6, 3, requires_grad=True)
    even = torch.zeros(6, 3)
    expected = torch.nn.functional.cross_entropy(logits, label, label_smoothing=0.1)
    assert torch.allclose(adapt.adjusted_loss(logits, label, even, 0.1), expected)
    own = logits[domain == 1]
    (slope,) = torch.autograd.grad(
        adapt.adjusted_loss(own, label[domain == 1], prior[[1, 1]], 0.1), own
    )
    assert (slope[:, 2] == 0).all(), "a player's clip says nothing of a class without players"
    assert (slope[:, :2] != 0).all()


def answered(n: int = 400, temperature: float = 2.0, seed: int = 0) -> leave_out.Answers:
    """Answers of a model that is `temperature` times too sure."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, (n, 3))
    label = np.array([rng.choice(3, p=p) for p in softmax(true)])
    logits = temperature * true
    names = np.array(NAMES)[label]
    source = np.array(["iowa", "ganjo", "bear-sax", leave_out.HOME])[np.arange(n) % 4]
    path = np.array([f"{seed}/{name}/{i}.flac" for i, name in enumerate(names)])
    return leave_out.Answers(
        np.array(NAMES), path, names, source, np.arange(n), np.ones(n, bool), logits
    )


def test_the_temperature_is_found_again() -> None:
    answers = answered(8000)
    found = calibrate.fit(answers, np.isin(answers.source, calibrate.players_of(answers)))
    assert found == pytest.approx(2, rel=0.1)
    rows = table.by_source("m", answers, calibrate.crossed(answers))
    assert all(row["ece"] < 5 for row in rows)
    raw = table.by_source("m", answers, softmax(answers.logits))
    assert np.mean([row["ece"] for row in raw]) > np.mean([row["ece"] for row in rows]) + 3


def test_a_source_is_calibrated_without_itself() -> None:
    answers = answered()
    own = answers.source == "iowa"
    wrong = answers.logits.copy()
    wrong[own] *= -1
    turned = leave_out.Answers(**{**vars(answers), "logits": wrong})
    p, q = calibrate.crossed(answers), calibrate.crossed(turned)
    others = calibrate.fit(answers, ~own & (answers.source != leave_out.HOME))
    assert p[own] == pytest.approx(softmax(answers.logits[own], others))
    assert q[own] == pytest.approx(softmax(wrong[own], others))


def test_nine_of_ten_recordings_of_known_instruments_are_answered() -> None:
    answers = answered(4000)
    p = calibrate.crossed(answers)
    rows = {str(row["what"]): row["share"] for row in table.refused("m", answers, p)}
    assert rows["players never heard, known instruments: answered"] == pytest.approx(90, abs=1)


def test_folds_are_joined_and_what_both_were_asked_counts_once() -> None:
    a, b = answered(40, seed=1), answered(40, seed=2)
    whole = calibrate.joined([a, b, a])
    assert whole.path.tolist() == [*a.path, *b.path]
    assert whole.recording.tolist() == list(range(80))
    assert np.array_equal(whole.logits, np.concatenate([a.logits, b.logits]))


def test_the_packed_model_says_what_was_calibrated(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answered()
    leave_out.write_arrays(answers, tmp_path / "a.npz")
    given = ["calibrate.py", str(place / "model"), str(tmp_path / "out"), str(tmp_path / "a.npz")]
    monkeypatch.setattr("sys.argv", given)
    calibrate.main()
    before, after = Model.load(place / "model"), Model.load(tmp_path / "out")
    found = calibrate.fit(answers, np.isin(answers.source, calibrate.players_of(answers)))
    x = 10 * torch.randn(5, *before.description.input_shape)
    with torch.no_grad():
        expected = softmax(before(x).double().numpy(), found)
        assert after.probabilities(x).numpy() == pytest.approx(expected, abs=1e-5)
    assert after.description.threshold is not None
    assert 0 < after.description.threshold < 1


def test_the_card_shows_what_was_measured() -> None:
    card = (ROOT / "docs" / "evidence" / "orchestra.md").read_text("utf-8")
    assert table.markdown(ROOT / "research" / "results") in card
