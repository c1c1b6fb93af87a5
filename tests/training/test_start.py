"""A training that begins with a trained model: what is taken, what stays, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_run import contents
from tiny_store import TinyStore, tiny_store

from audiocls.classifier.model import Model
from audiocls.errors import DataError, SettingError
from audiocls.scores.metrics import softmax
from audiocls.training import Device, Recipe, Result, Run, Start, Trial, fit, make_split
from audiocls.training.fitting.linear import _rows
from audiocls.training.loop import make_trial
from audiocls.training.trial import LINEAR

torch.set_num_threads(1)
CPU = Device.pick("cpu")
KNOWN = {"drum": 24, "flute": 36, "viola": 12}
OTHERS = {"drum": 20, "harp": 20, "viola": 20, "tuba": 20}


def run(
    folder: Path,
    model: str | None = None,
    start: Start | None = None,
    sizes: dict[str, int] | None = None,
    stop: int = 0,
    resume: bool = False,
    **fields: Any,
) -> Result:
    """A run, interrupted after `stop` epochs."""
    store = tiny_store(sizes or OTHERS)
    recipe = Recipe(**({"epochs": 3, "batch_size": 16, "lr": 0.01} | fields))
    trial = make_trial(model, recipe, start, 0, "player", None)

    def progress(_done: int, _total: int, row: dict[str, float] | None) -> None:
        if row is not None and row["epoch"] == stop:
            raise KeyboardInterrupt

    split = make_split(store.recordings, group_by="player")
    return fit(trial, store, split, Run(folder), CPU, progress, start=start, resume=resume)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a head of several layers, of other classes in part."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder, "newcnn", sizes=KNOWN)
    return folder


@pytest.fixture(scope="module")
def start(trained: Path) -> Start:
    return Start.load(trained)


def test_all_weights_that_fit_are_taken(start: Start) -> None:
    store = tiny_store(OTHERS)
    torch.manual_seed(5)
    begun = start.new_model(store, quiet_db=3.0)
    ours, theirs = begun.state_dict(), start.model.state_dict()
    head = ("network.classifier.5.weight", "network.classifier.5.bias")
    for name, value in theirs.items():
        if name not in (*head, "temperature"):
            assert torch.equal(ours[name], value), name
    assert ours["temperature"] == 1
    for name in head:
        assert torch.equal(ours[name][[0, 3]], theirs[name][[0, 2]]), "drum and viola"
        assert not torch.equal(ours[name][1], theirs[name][1])
    assert begun.classes_ == sorted(OTHERS)
    assert begun.description.quiet_db == 3.0
    assert begun.description.init == {"model": start.name, "identity": start.identity}


def test_a_run_says_what_it_began_with(tmp_path: Path, start: Start) -> None:
    result = run(tmp_path, start=start)
    assert result.settings["model"] == "newcnn"
    assert result.settings["init"] == start.identity
    assert result.init == {"model": start.name, "identity": start.identity}
    assert Result.read(tmp_path) == result
    document = json.loads((tmp_path / "model/model.json").read_text())
    assert document["init"] == result.init
    with pytest.raises(SettingError, match=r"`init` was another model, or has changed"):
        run(tmp_path, "newcnn", resume=True)


def test_a_frozen_body_stays_as_it_is(tmp_path: Path, start: Start) -> None:
    run(tmp_path, start=start, epochs=2, freeze_epochs=2, ema=0.0)
    weights, theirs = Model.load(tmp_path).state_dict(), start.model.state_dict()
    for name, value in theirs.items():
        if "classifier.5" not in name and name != "temperature":
            assert torch.equal(weights[name], value), name
    assert not torch.equal(weights["network.classifier.5.weight"][0],
                           theirs["network.classifier.5.weight"][0])  # fmt: skip


def test_a_share_of_the_weights_it_began_with_is_kept(tmp_path: Path, start: Start) -> None:
    fields = {"epochs": 3, "ema": 0.9, "keep": "last"}
    for name, share in (("none", 0.0), ("a quarter", 0.25)):
        result = run(tmp_path / name, start=start, keep_start=share, **fields)
        assert result.chosen == {"epoch": 3, "by": "the recipe: the last"}
    none, quarter = (Model.load(tmp_path / n).state_dict() for n in ("none", "a quarter"))
    theirs = start.model.state_dict()
    moved = 0
    for name, value in none.items():
        if name.startswith("network") and "classifier.5" not in name and value.is_floating_point():
            expected = 0.75 * value.double() + 0.25 * theirs[name].double()
            torch.testing.assert_close(quarter[name].double(), expected, atol=1e-6, rtol=1e-5)
            moved += not torch.equal(value, theirs[name])
    assert moved > 5


@pytest.mark.parametrize("stops", [(1,), (2, 3)])
def test_interrupted_and_resumed(tmp_path: Path, start: Start, stops: tuple[int, ...]) -> None:
    fields = {"epochs": 4, "freeze_epochs": 2, "ema": 0.9, "fit_head": True, "freeze_norm": True}
    fields |= {"keep_start": 0.3, "keep": "last"}
    run(tmp_path / "undisturbed", start=start, **fields)
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", start=start, stop=stop, resume=True, **fields)
    run(tmp_path / "run", start=start, resume=True, **fields)
    assert contents(tmp_path / "run") == contents(tmp_path / "undisturbed")


def test_a_finished_run_goes_on_with_more_epochs(tmp_path: Path) -> None:
    for name in ("undisturbed", "run"):
        first = run(tmp_path / name, "newcnn", epochs=3)
    chosen = first.chosen["epoch"]
    whole = run(tmp_path / "undisturbed", "newcnn", epochs=6, resume=True)
    rows = (tmp_path / "undisturbed/history.csv").read_text().splitlines()
    assert len(rows) == 1 + 6
    assert any(f"went on from its epoch {chosen}" in warning for warning in whole.warnings)
    assert whole.settings["epochs"] == 6
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", "newcnn", epochs=6, resume=True, stop=5)
    assert Result.read(tmp_path / "run") is None, "unfinished again"
    run(tmp_path / "run", "newcnn", epochs=6, resume=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "undisturbed")
    with pytest.raises(SettingError, match="`epochs` was 6, is 2 now"):
        run(tmp_path / "run", "newcnn", epochs=2, resume=True)


def test_a_linear_head_is_a_logistic_regression(tmp_path: Path, start: Start) -> None:
    """As scikit-learn finds it from the embeddings of a model that is loaded again."""
    from sklearn.linear_model import LogisticRegression

    from audiocls.training.data.splits import TRAIN, make_split

    result = run(tmp_path, LINEAR, start)
    assert result.test["balanced_accuracy"] > 0.8
    model, store = Model.load(tmp_path), tiny_store(OTHERS)
    assert model.description.architecture == "newcnn"
    split = make_split(store.recordings, group_by="player")
    clips = [split.part[store.recordings[r].path] == TRAIN for r in store.clip_recording]
    x, y = store.features[clips], store.labels[clips]
    with torch.no_grad():
        z = start.model.embed(torch.from_numpy(x)).double().numpy()
        logits = model(torch.from_numpy(x)).double().numpy()
    n = np.bincount(y)[y]
    weight = len(y) / (len(set(y)) * n)
    mean = (z * weight[:, None]).sum(axis=0) / weight.sum()
    deviation = np.sqrt((weight[:, None] * (z - mean) ** 2).sum(axis=0) / weight.sum())
    z = (z - mean) / np.where(deviation > 1e-6, deviation, 1)
    strength = Run(tmp_path).read_history()[0]["C"]
    ideal = LogisticRegression(C=strength, max_iter=5000, tol=1e-7)
    expected = ideal.fit(z, y, sample_weight=weight).predict_proba(z)
    # Of probabilities: how impossible an impossible class is, a penalised likelihood hardly tells.
    assert np.abs(softmax(logits) - expected).max() < 0.02


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_head_says_what_the_regression_of_scaled_embeddings_says(n_classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(n_classes)
    x, y = rng.normal(5, [1, 20, 3, 1], (60, 4)), rng.integers(0, n_classes, 60)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[3] = np.inf  # a number that is the same everywhere
    model = LogisticRegression().fit((x - mean) / deviation, y)
    weight, bias = _rows([(model.coef_, model.intercept_)], mean, deviation)
    assert weight.shape == (n_classes, 4)
    expected = model.predict_proba((x - mean) / deviation)
    np.testing.assert_allclose(softmax(x @ weight.T + bias), expected, atol=1e-12)


def test_what_does_not_fit_is_refused(tmp_path: Path, trained: Path, start: Start) -> None:
    with pytest.raises(SettingError, match=r"model 'lstm' .* is newcnn: must be newcnn or linear"):
        make_trial("lstm", Recipe(), start, 0, None, None)
    with pytest.raises(SettingError, match="model 'linear' is invalid: needs `init`"):
        Trial(LINEAR)
    for field, value in (
        ("freeze_epochs", 3),
        ("fit_head", True),
        ("freeze_norm", True),
        ("keep_start", 0.5),
    ):
        with pytest.raises(SettingError, match=f"{field} .* is invalid: needs `init`"):
            Trial("lstm", Recipe(**{field: value}))
    with pytest.raises(DataError, match="holds no model"):
        Start.load(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in (trained / "model").iterdir():
        content = file.read_bytes()
        (damaged / file.name).write_bytes(content[:-40] if "weights" in file.name else content)
    with pytest.raises(DataError, match=r"weights.safetensors' is damaged"):
        Start.load(damaged)


def test_a_store_of_other_features_is_refused_with_the_command(
    tmp_path: Path, start: Start
) -> None:
    store: TinyStore = tiny_store(OTHERS)
    store.about["data"], store.cut = "my data", store.cut.replace(clip_s=1.0)
    split = make_split(store.recordings)
    trial = make_trial(None, Recipe(), start, 0, None, None)
    with pytest.raises(SettingError) as refused:
        fit(trial, store, split, Run(tmp_path), CPU, start=start)
    assert "audiocls extract 'my data' --feature " in str(refused.value)
    assert "\n" not in str(refused.value)
