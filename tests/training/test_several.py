"""Training where a clip has several labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import RATE, write_scenes
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from tiny_store import TinyStore, several_store, tiny_store
from torch.nn.functional import cross_entropy

import audiocls
from audiocls.classifier.description import read_description
from audiocls.classifier.model import Model
from audiocls.inference.network import load_network
from audiocls.models import MODELS
from audiocls.scores.metrics import sigmoid
from audiocls.training import Device, Recipe, Run, Trial, fit, make_split
from audiocls.training.data.features import open_features
from audiocls.training.data.sampling import Sampler
from audiocls.training.data.splits import PARTS, TEST, TRAIN
from audiocls.training.fitting.calibration import fit_platt, fit_thresholds
from audiocls.training.fitting.objective import OBJECTIVES
from audiocls.training.loop import make_trial
from audiocls.training.run import Result
from audiocls.training.start import Start
from audiocls.training.trial import LINEAR

CPU = Device.pick("cpu")
QUICK = Recipe(epochs=4, batch_size=16, lr=0.01, ema=0.9)


def trained(
    out: Path, store: TinyStore, model: str = "lstm", recipe: Recipe = QUICK, seed: int = 0
) -> Result:
    split = make_split(store.recordings, store.recording_labels, group_by="player", seed=seed)
    return fit(Trial(model, recipe, seed), store, split, Run(out), CPU)


@pytest.mark.parametrize(("model", "recipe"), [*((m, "modern") for m in MODELS), ("lstm", "study")])
def test_every_architecture_and_recipe_learns(tmp_path: Path, model: str, recipe: str) -> None:
    """What the graph says of features is what the trained network says."""
    store = several_store(n=40, frames=32, features=32)
    result = trained(tmp_path, store, model, Recipe.preset(recipe, epochs=1, batch_size=16))
    assert result.task == "several"
    assert 0 < result.test["map"] <= 1
    x = store.features[:5]
    served = load_network(tmp_path / "model", read_description(tmp_path))(x)
    with torch.no_grad():
        expected = Model.load(tmp_path).probabilities(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_labels_that_stand_in_the_features_are_found(tmp_path: Path) -> None:
    store = several_store()
    result = trained(tmp_path, store, recipe=Recipe(epochs=15, batch_size=16, lr=0.01, ema=0.9))
    assert result.test["map"] > 0.9
    assert result.test["macro_f1"] > 0.8
    assert result.chosen["by"] == "mean average precision on the validation part"
    best = max(Run(tmp_path).read_history(), key=lambda row: (row["val_map"], -row["val_loss"]))
    assert best["epoch"] == result.chosen["epoch"]


def test_the_run_says_what_the_model_says(tmp_path: Path) -> None:
    """metrics.json, recomputed by scikit-learn from what the served model says."""
    store = several_store()
    result = trained(tmp_path, store)
    document = json.loads((tmp_path / "metrics.json").read_text())
    description = read_description(tmp_path)
    assert document["task"] == description.task == "several"
    assert description.thresholds == document["thresholds"]
    split = make_split(store.recordings, store.recording_labels, group_by="player")
    own = [split.part[store.recordings[r].path] == TEST for r in store.clip_recording]
    y, network = store.label_matrix[own], load_network(tmp_path / "model", description)
    p = network(store.features[own].astype(np.float32)).astype(np.float64)
    assert np.abs(p.sum(axis=1) - 1).max() > 0.01  # each class by itself
    test = document["test"]
    said = p >= np.array(description.thresholds)
    for i, name in enumerate(store.classes):
        row = test["per_class"][name]
        assert row["average_precision"] == pytest.approx(average_precision_score(y[:, i], p[:, i]))
        assert row["auroc"] == pytest.approx(roc_auc_score(y[:, i], p[:, i]))
        assert row["f1"] == pytest.approx(f1_score(y[:, i], said[:, i]))
        assert row["n"] == y[:, i].sum()
    assert test["map"] == pytest.approx(average_precision_score(y, p, average="macro"))
    low, high = document["test_recording"]["interval_95"]["map"]
    assert low <= document["test_recording"]["map"] <= high
    rows = Run(tmp_path).read_predictions()
    assert rows is not None
    found = np.array([list(row.probabilities.values()) for row in rows])
    np.testing.assert_allclose(found, p, atol=2e-5)
    assert [set(row.labels) for row in rows] == [
        {store.classes[i] for i in np.flatnonzero(own_labels)} for own_labels in y
    ]
    assert result.temperature == pytest.approx(document["temperature"])
    assert not (tmp_path / "confusion.png").exists()


def test_equal_trials_give_equal_weights(tmp_path: Path) -> None:
    for name in "ab":
        trained(tmp_path / name, several_store())
    first, second = (
        (tmp_path / name / "model" / "weights.safetensors").read_bytes() for name in "ab"
    )
    assert first == second


def test_the_loss_is_that_of_two_classes_for_each_label() -> None:
    """Binary cross-entropy with smoothing is softmax cross-entropy of there or not."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 3, generator=rng, dtype=torch.float64)
    labels = torch.rand(7, 3, generator=rng) < 0.4
    found = OBJECTIVES["several"].loss(logits, labels, 0.1)
    pairs = torch.stack([torch.zeros_like(logits), logits], dim=1)
    expected = cross_entropy(pairs, labels.long(), reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(found, expected.mean(dim=1))


def test_balanced_draws_a_class_then_a_clip_that_has_it() -> None:
    labels = torch.zeros(100, 3, dtype=torch.bool)
    labels[:90, 0] = True
    labels[80:92, 1] = True
    labels[92:95, 2] = True  # 95 to 99 have none
    drawn = Sampler(labels, "balanced", seed=1).draw(30_000)
    counts = torch.bincount(drawn, minlength=100) / 30_000
    expected = (labels / labels.sum(dim=0)).sum(dim=1) / 3
    torch.testing.assert_close(counts, expected.float(), atol=0.01, rtol=0)
    assert drawn.max() < 95
    natural = Sampler(labels, "natural").draw(100)
    assert sorted(natural.tolist()) == list(range(100))


def test_what_follows_in_a_phrase_has_the_same_labels() -> None:
    labels = torch.rand(60, 3, generator=torch.Generator().manual_seed(3)) < 0.5
    sources = torch.arange(60) % 2
    ids = torch.arange(60)
    alike = Sampler(labels, "balanced", 4, sources).draw_alike(ids, 5)
    assert (labels[alike] == labels[:, None]).all()
    assert (sources[alike] == sources[:, None]).all()


def test_a_split_gives_every_part_its_share_of_every_label() -> None:
    rng = np.random.default_rng(5)
    names = ["a", "b", "c", "d"]
    labels = [tuple(n for n in names if rng.random() < 0.3) or ("d",) for _ in range(400)]
    store = several_store(labels=labels)
    split = make_split(store.recordings, store.recording_labels, group_by="player", seed=1)
    group_parts: dict[str, set[int]] = {}
    for path, part in split.part.items():
        group_parts.setdefault(split.group[path], set()).add(part)
    assert all(len(parts) == 1 for parts in group_parts.values())
    part = np.array([split.part[r.path] for r in store.recordings])
    for name in names:
        has = np.array([name in own for own in labels])
        shares = [(has & (part == p)).sum() / has.sum() for p in range(len(PARTS))]
        np.testing.assert_allclose(shares, (0.70, 0.15, 0.15), atol=0.03)


def test_platt_is_the_most_likely_line() -> None:
    """Against a grid; and it finds again what made the labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20_000)
    labels = rng.random(len(logits)) < sigmoid(logits / 2.5 - 1.2)
    temperature, offset = fit_platt(logits, labels)
    assert temperature == pytest.approx(2.5, rel=0.05)
    assert offset == pytest.approx(-1.2, abs=0.1)
    few, own = logits[:40], labels[:40]
    target = np.where(own, (own.sum() + 1) / (own.sum() + 2), 1 / ((~own).sum() + 2))

    def loss(t: float, b: float) -> float:
        z = few / t + b
        return float((np.logaddexp(0, z) - target * z).mean())

    t, b = fit_platt(few, own)
    grid = [loss(t * f, b + d) for f in (0.9, 0.99, 1.01, 1.1) for d in (-0.1, 0, 0.1)]
    assert loss(t, b) <= min(grid)
    assert fit_platt(few, np.zeros(40, bool)) == (1.0, 0.0)
    assert fit_platt(-logits, labels)[0] == pytest.approx(20)  # the order of the clips stays


def test_a_threshold_has_the_highest_f1() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((200, 3)).round(2)  # with equal ones
    y = rng.random((200, 3)) < p**2
    y[:, 2] = False
    found = fit_thresholds(p, y)
    for i in range(2):
        scores = [f1_score(y[:, i], p[:, i] >= t) for t in np.arange(0, 1.01, 0.005)]
        assert f1_score(y[:, i], p[:, i] >= found[i]) == pytest.approx(max(scores))
    assert found[2] == 0.5


def test_a_model_of_one_label_begins_one_of_several(tmp_path: Path) -> None:
    """Its body, and with `linear` a logistic regression of each label on its embeddings."""
    one, several = tiny_store(), several_store()
    split = make_split(one.recordings, group_by="player")
    fit(Trial("lstm", QUICK), one, split, Run(tmp_path / "one"), CPU)
    start = Start.load(tmp_path / "one")
    split = make_split(several.recordings, several.recording_labels, group_by="player")
    scores = {}
    for model in ("lstm", LINEAR):
        trial = make_trial(model, QUICK, start, 0, "player", None)
        out = tmp_path / model
        scores[model] = fit(trial, several, split, Run(out), CPU, start=start).test["map"]
        assert len(read_description(out).thresholds or ()) == 4
    assert scores["lstm"] > 0.6
    assert scores[LINEAR] > 0.6
    head = Model.load(tmp_path / LINEAR)
    own = [split.part[several.recordings[r].path] == TRAIN for r in several.clip_recording]
    x, y = torch.from_numpy(several.features[own]), several.label_matrix[own]
    with torch.no_grad():
        z, logits = start.model.embed(x).double().numpy(), head(x).double().numpy()
    weights = Sampler(torch.from_numpy(y), "balanced").shares().numpy() * len(y)
    mean = np.average(z, axis=0, weights=weights)
    deviation = np.sqrt(np.average((z - mean) ** 2, axis=0, weights=weights))
    scaled = (z - mean) / np.where(deviation > 1e-6, deviation, np.inf)
    strength = Run(tmp_path / LINEAR).read_history()[0]["C"]
    for i in range(4):
        # To where scikit-learn goes by itself: of a weak penalty that is not the very end.
        regression = LogisticRegression(C=strength, max_iter=5000, tol=1e-7)
        regression.fit(scaled, y[:, i], sample_weight=weights)
        expected = regression.decision_function(scaled)
        np.testing.assert_allclose(logits[:, i], expected, atol=0.02)


def test_a_store_of_samples_trains_on_windows_of_several_labels(tmp_path: Path) -> None:
    samples = audiocls.extract(
        write_scenes(tmp_path / "scenes", n=30),
        feature=audiocls.FeatureSpec.preset("samples", sample_rate=RATE),
        out=tmp_path / "samples",
        label_separator=";",
    )
    store = open_features(samples.path, QUICK, "mel-16k", 0.25, 0.25)
    split = make_split(store.recordings, store.recording_labels)
    recipe = Recipe(epochs=2, batch_size=32)
    result = fit(Trial("lstm", recipe), store, split, Run(tmp_path / "run"), CPU)
    assert result.task == "several"
    assert 0 < result.test["map"] <= 1


def test_clips_without_any_label_train_as_such() -> None:
    """They are drawn where each clip is, and add nothing to a score that they have no part in."""
    labels = torch.tensor([[True, False], [False, False], [False, True]])
    assert sorted(Sampler(labels, "natural").draw(3).tolist()) == [0, 1, 2]
    assert 1 not in Sampler(labels, "balanced").draw(50).tolist()
    assert Sampler(labels, "balanced").shares().tolist() == [0.5, 0.0, 0.5]
