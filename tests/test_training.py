"""Training on a tiny store: what it writes, what it chooses on, what it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_store import TinyStore, tiny_store

from audiocls import checkpoint, training
from audiocls.errors import DataError, SettingError
from audiocls.training.leakage import near_duplicates
from audiocls.training.splits import TEST, TRAIN, VAL, make_split

torch.set_num_threads(1)


def run(store: TinyStore, folder: Path, **settings: Any) -> dict[str, Any]:
    chosen = training.Settings(**({"model": "lstm", "epochs": 3, "batch_size": 16} | settings))
    split = make_split(store.recordings, group_by="player", seed=chosen.seed)
    return training.fit(store, "tiny", chosen, split, folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("run")
    return folder, run(tiny_store(), folder, epochs=12, lr=0.01)


def test_it_learns(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    assert result["test"]["balanced_accuracy"] > 0.8
    assert result["test_recording"]["accuracy"] >= result["test"]["accuracy"] - 0.05


def test_files_of_a_run(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(
        training.FILES
    )
    assert json.loads((folder / "metrics.json").read_text()) == result
    with (folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == [str(i) for i in range(1, 13)]
    for name in ("curves.png", "confusion.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_metrics_as_documented(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    measures = {"accuracy", "balanced_accuracy", "macro_f1", "ece", "n", "confusion", "per_class"}
    for part in ("train", "val", "test", "test_recording"):
        assert set(result[part]) == measures
        assert np.sum(result[part]["confusion"]) == result[part]["n"]
    parts = result["split"]["parts"]
    store = tiny_store()
    assert sum(part["clips"] for part in parts.values()) == len(store.features)
    assert sum(part["recordings"] for part in parts.values()) == len(store.recordings)
    assert {part: result[part]["n"] for part in parts} == {p: parts[p]["clips"] for p in parts}
    assert result["test_recording"]["n"] == parts["test"]["recordings"]
    model = training.build_model("lstm", 3, (6, 5))
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert result["samples_per_s"] > 0
    assert result["device"].startswith(("cpu", "cuda"))


def test_the_model_is_the_best_on_validation(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    with (folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    best = max(
        history, key=lambda row: (float(row["val_balanced_accuracy"]), -float(row["val_loss"]))
    )
    assert int(best["epoch"]) == result["chosen"]["epoch"]
    assert result["val"]["balanced_accuracy"] == pytest.approx(
        float(best["val_balanced_accuracy"]), abs=1e-5
    )


def test_a_saved_model_gives_the_same_predictions(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = finished
    store = tiny_store()
    split = make_split(store.recordings, group_by="player")
    for path in (folder, folder / "model"):
        model, info = checkpoint.load(path)
        assert info.classes == store.classes
        assert info.input_shape == (6, 5)
        assert info.spec == store.spec
        test = [split.part[store.recordings[i].path] == TEST for i in store.clip_recording]
        x = torch.from_numpy((store.features[test] - info.mean) / info.std)
        with torch.no_grad():
            predicted = model(x).argmax(dim=1).numpy()
        accuracy = (predicted == store.labels[test]).mean()
        assert accuracy == pytest.approx(result["test"]["accuracy"])


def test_a_damaged_model_is_refused(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    weights = (folder / "model/weights.safetensors").read_bytes()
    document = (folder / "model/model.json").read_text()
    with pytest.raises(DataError, match="holds no model"):
        checkpoint.load(tmp_path)
    (tmp_path / "model.json").write_text(document)
    with pytest.raises(DataError, match="missing"):
        checkpoint.load(tmp_path)
    for damaged in (b"", weights[:100], weights[:-7]):
        (tmp_path / "weights.safetensors").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            checkpoint.load(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(weights)
    for old, new, message in (
        ('"format": 1', '"format": 99', "format 99"),
        ('"lstm"', '"transformer"', "unknown architecture 'transformer'"),
        ('"lstm"', '"lstm-large"', "damaged or of another model"),
        ('"classes"', '"klasses"', "KeyError 'classes'"),
        ("{", "", "damaged"),
    ):
        (tmp_path / "model.json").write_text(document.replace(old, new, 1))
        with pytest.raises(DataError, match=message):
            checkpoint.load(tmp_path)


def test_a_seed_repeats_and_another_does_not(tmp_path: Path) -> None:
    a, b, c = (run(tiny_store(), tmp_path / f"{i}", seed=s) for i, s in enumerate((5, 5, 6)))
    for result in (a, b, c):
        del result["training_s"], result["samples_per_s"]
    assert a == b
    assert a != c
    weights = [(tmp_path / f"{i}/model/weights.safetensors").read_bytes() for i in range(3)]
    assert weights[0] == weights[1] != weights[2]


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run(tiny_store(), tmp_path, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_statistics_come_from_the_training_part_only(tmp_path: Path) -> None:
    store = tiny_store()
    split = make_split(store.recordings, group_by="player")
    part = np.array([split.part[store.recordings[i].path] for i in store.clip_recording])
    run(store, tmp_path / "a", epochs=1)
    expected = store.features[part == TRAIN].astype(np.float64)
    for other in (VAL, TEST):
        store.features[part == other] *= 100
        store.features[part == other] += 7
    run(store, tmp_path / "b", epochs=1)
    documents = [json.loads((tmp_path / x / "model/model.json").read_text()) for x in "ab"]
    for key in ("mean", "std"):
        assert documents[0][key] == documents[1][key]
    np.testing.assert_allclose(documents[0]["mean"], expected.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(documents[0]["std"], expected.std(axis=(0, 1)), rtol=1e-5)


def test_statistics_of_many_clips() -> None:
    store = tiny_store({"a": 1, "b": 1})
    rng = np.random.default_rng(0)
    store.features = rng.normal(1000 * np.arange(5), 1 + np.arange(5), (2500, 3, 5))
    clips = rng.permutation(2500)[:2300]
    mean, std = training.statistics(store, clips)  # type: ignore[arg-type]
    np.testing.assert_allclose(mean, store.features[clips].mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(std, store.features[clips].std(axis=(0, 1)), rtol=1e-6)


def test_a_constant_feature_stays_finite(tmp_path: Path) -> None:
    store = tiny_store()
    store.features[:, :, 4] = -80
    result = run(store, tmp_path)
    assert json.loads((tmp_path / "model/model.json").read_text())["std"][4] == 1
    assert np.isfinite(result["test"]["ece"])


def test_half_precision_stores_train_too(tmp_path: Path) -> None:
    store = tiny_store()
    store.features = store.features.astype(np.float16)
    assert run(store, tmp_path, epochs=8, lr=0.01)["test"]["accuracy"] > 0.6


@pytest.mark.parametrize("model", ["cnn", "newcnn", "resnet"])
def test_every_architecture_trains(tmp_path: Path, model: str) -> None:
    store = tiny_store({"a": 6, "b": 6})
    assert run(store, tmp_path, model=model, epochs=1)["parameters"] > 0


def test_an_interrupted_run_keeps_its_best_model(tmp_path: Path) -> None:
    store = tiny_store()
    settings = training.Settings("lstm", epochs=50)
    split = make_split(store.recordings)

    def stop(_done: int, _total: int, row: dict[str, float] | None) -> None:
        if row is not None and row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(store, "tiny", settings, split, tmp_path, stop)  # type: ignore[arg-type]
    assert not (tmp_path / "metrics.json").exists()
    assert (tmp_path / "model/weights.safetensors").exists()
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    with pytest.raises(SettingError, match="an unfinished run"):
        training.refuse_used(tmp_path, restart=False)


def test_divergence_is_an_error(tmp_path: Path) -> None:
    store = tiny_store()
    store.features[:] = np.nan
    with pytest.raises(DataError, match="diverged in epoch 1"):
        run(store, tmp_path)


def test_used_folders(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    with pytest.raises(SettingError, match="holds a finished run; --restart"):
        training.refuse_used(folder, restart=False)
    training.refuse_used(folder, restart=True)
    (tmp_path / "letter.txt").write_text("dear")
    for restart in (False, True):
        with pytest.raises(SettingError, match="something else"):
            training.refuse_used(tmp_path, restart)
        with pytest.raises(SettingError, match="is a file"):
            training.refuse_used(tmp_path / "letter.txt", restart)
    training.refuse_used(tmp_path / "new", restart=False)


def test_a_failed_start_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="3×3"):
        run(tiny_store(frames=4), tmp_path / "run", model="cnn")
    store = tiny_store()
    store.classes.append("zither")
    with pytest.raises(DataError, match="no clip of class zither in the training part"):
        run(store, tmp_path / "run")
    store = tiny_store()
    store.clip_s = 0
    with pytest.raises(DataError, match="--clip-s"):
        run(store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": "resnt"}, "did you mean 'resnet'"),
        ({"sampler": "balancd"}, "did you mean 'balanced'"),
        ({"device": "gpu"}, "choose from auto, cpu, cuda"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 1}, "--batch-size"),
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        training.Settings(**(asdict(training.Settings("lstm")) | wrong)).validate()


def test_cuda_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.pick_device("auto") == torch.device("cpu")
    with pytest.raises(SettingError, match="sees no CUDA device"):
        training.pick_device("cuda")


def test_learning_rate_rises_and_falls() -> None:
    rates = [training.learning_rate(i, 100) for i in range(100)]
    assert max(rates) == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    assert training.learning_rate(0, 1) == 1


def test_copies_on_both_sides_are_found() -> None:
    store = tiny_store({"a": 30, "b": 30})
    part = make_split(store.recordings).part
    assert near_duplicates(store, part) == []  # type: ignore[arg-type]
    train, test = (
        next(i for i, r in enumerate(store.recordings) if part[r.path] == p and r.n_clips == 2)
        for p in (TRAIN, TEST)
    )
    rng = np.random.default_rng(1)
    copy = store.features[store.clip_recording == train]
    store.features[store.clip_recording == test] = copy + 0.01 * rng.standard_normal(copy.shape)
    pairs = near_duplicates(store, part)  # type: ignore[arg-type]
    paths = (store.recordings[train].path, store.recordings[test].path)
    assert [pair[:2] for pair in pairs] == [paths]
