"""Training on a tiny store: what it writes, what it chooses on, what it refuses."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_store import TinyStore, tiny_store

from audiocls import Cut, FeatureSpec, build_model
from audiocls.classifier.description import Description
from audiocls.classifier.model import Model
from audiocls.errors import DataError, SettingError
from audiocls.models import MODELS
from audiocls.models.layers.convolution import use_channels_last
from audiocls.store.rows import Clips
from audiocls.training import Device, Recipe, Run, Trial, fit
from audiocls.training.data.leakage import find_near_duplicates
from audiocls.training.data.normalisation import compute_statistics
from audiocls.training.data.splits import TEST, TRAIN, VAL, make_split
from audiocls.training.fitting.schedule import learning_rate
from audiocls.training.fitting.state import TrainState
from audiocls.training.loop import new_state
from audiocls.training.run import FILES
from audiocls.training.runtime.device import THREAD_WORK, _faster_in_bfloat16, _why_not_bfloat16

pytestmark = pytest.mark.usefixtures("no_graph")
torch.set_num_threads(1)
CPU = Device.pick("cpu")


def run(
    store: TinyStore, folder: Path, model: str = "lstm", seed: int = 0, **fields: Any
) -> dict[str, Any]:
    recipe = Recipe(**({"epochs": 3, "batch_size": 16} | fields))
    trial = Trial(model, recipe, seed, "player", feature="tiny")
    split = make_split(store.recordings, group_by="player", seed=seed)
    return fit(trial, store, split, Run(folder), CPU).to_dict()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("run")
    return folder, run(tiny_store(), folder, epochs=12, lr=0.01)


def test_a_run_is_written_by_one_training(tmp_path: Path) -> None:
    with Run(tmp_path).lock(), pytest.raises(DataError, match="another training is writing"):
        run(tiny_store(), tmp_path, epochs=1)
    assert list(tmp_path.iterdir()) == [], "a lock alone is no run"
    (tmp_path / ".lock").touch()  # as a training leaves it that was killed
    Run(tmp_path).claim()
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(SettingError, match="holds a finished run"):
        fit_again(tmp_path)


def fit_again(folder: Path) -> None:
    """Another process finished a run there since `train` looked."""
    store = tiny_store()
    split = make_split(store.recordings, group_by="player", seed=0)
    trial = Trial("lstm", Recipe(epochs=1), 0, "player", feature="tiny")
    fit(trial, store, split, Run(folder), CPU, restart=False)


@pytest.mark.parametrize("shape", [(11, 40), (40, 11)])
@pytest.mark.parametrize("name", ["compact", "newcnn"])
def test_the_optimiser_is_that_of_its_paper_however_weights_lie(
    name: str, shape: tuple[int, int]
) -> None:
    description = Description(name, shape, ["a", "b"], FeatureSpec(), Cut(), {})
    recipe = Recipe(weight_decay=0.1)
    torch.manual_seed(0)
    classifier = Model(description)
    plain = copy.deepcopy(classifier)
    adamw = torch.optim.AdamW(plain.parameters(), weight_decay=0.1, foreach=False)
    use_channels_last(classifier)
    state = TrainState.start(classifier, recipe, CPU)
    for step in range(4):
        if step == 2:  # as after an interruption
            saved = state.to_bytes({})
            torch.manual_seed(1)
            fresh = Model(description)
            use_channels_last(fresh)
            state = TrainState.start(fresh, recipe, CPU)
            progress = {"history": [], "best_epoch": 0, "best_score": (0, 0), "clips": 0}
            state.restore(saved, progress | {"training_s": 0.0})
        x, lr = torch.randn(6, *shape), 0.01 / (step + 1)
        # Gradients of one of them for both, or what rounding makes of signs is compared.
        state.descend(state.training_module(x).square().mean(), lr)
        for theirs, ours in zip(plain.parameters(), state.model.parameters(), strict=True):
            assert ours.grad is not None
            theirs.grad = ours.grad.clone()
        adamw.param_groups[0]["lr"] = lr
        adamw.step()
    for (what, ours), theirs in zip(
        state.model.named_parameters(), plain.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=what)


def test_it_learns(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    assert result["test"]["balanced_accuracy"] > 0.8
    assert result["test_recording"]["accuracy"] >= result["test"]["accuracy"] - 0.05


def test_files_of_a_run(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert written - {".lock"} == set(FILES) - {"state.safetensors"}
    assert json.loads((folder / "metrics.json").read_text()) == result
    with (folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == [str(i) for i in range(1, 13)]
    for name in ("curves.png", "confusion.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_metrics_as_documented(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    measures = {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "ece",
        "ece_uncalibrated",
        "nll",
        "nll_uncalibrated",
        "n",
        "confusion",
        "per_class",
    }
    for part in ("train", "val", "test", "test_recording"):
        assert set(result[part]) - {"interval_95"} == measures
        assert np.sum(result[part]["confusion"]) == result[part]["n"]
    parts = result["split"]["parts"]
    store = tiny_store()
    assert sum(part["clips"] for part in parts.values()) == len(store.features)
    assert sum(part["recordings"] for part in parts.values()) == len(store.recordings)
    assert {part: result[part]["n"] for part in parts} == {p: parts[p]["clips"] for p in parts}
    assert result["test_recording"]["n"] == parts["test"]["recordings"]
    model = build_model("lstm", 3, (6, 5))
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert result["samples_per_s"] > 0
    assert result["device"].startswith(("cpu", "cuda"))


def test_stored_predictions_are_the_test_part(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    store, made = tiny_store(), Run(folder)
    split = make_split(store.recordings, group_by="player")
    test = [path for path, part in split.part.items() if part == TEST]
    classifier = Model.load(folder)
    with torch.no_grad():
        p = classifier.probabilities(torch.from_numpy(store.features)).numpy()
    clips, recordings = made.read_predictions(), made.read_recording_predictions()
    assert clips is not None
    assert recordings is not None
    assert sorted(r.path for r in recordings) == sorted(test)
    assert {r.path for r in clips} == set(test)
    for row in recordings:
        of_clips = p[[store.recordings[i].path == row.path for i in store.clip_recording]]
        mean = of_clips.mean(axis=0)
        assert (row.group, row.label) == (split.group[row.path], split.label[row.path])
        assert row.predicted == classifier.classes_[mean.argmax()]
        assert row.probability == pytest.approx(mean.max(), rel=1e-5)
        assert row.label_probability == pytest.approx(
            mean[classifier.classes_.index(row.label)], rel=1e-5
        )
    for name, rows in (("test", clips), ("test_recording", recordings)):
        assert np.mean([r.right for r in rows]) == pytest.approx(result[name]["accuracy"])
        interval = result[name]["interval_95"]
        assert interval["groups"] == len({r.group for r in rows})
        for score in ("accuracy", "balanced_accuracy", "macro_f1"):
            low, high = interval[score]
            assert low <= result[name][score] <= high
    confidence = np.array([r.uncalibrated for r in clips])
    right = np.array([r.right for r in clips])
    bins = np.ceil(confidence * 15).astype(int)
    gaps = [abs((right - confidence)[bins == b].sum()) for b in range(1, 16)]
    assert sum(gaps) / len(clips) == pytest.approx(result["test"]["ece_uncalibrated"], abs=1e-5)
    assert result["test"]["nll"] == pytest.approx(
        -np.mean(np.log([r.label_probability for r in clips])), rel=1e-4
    )


def test_damaged_predictions_are_named(tmp_path: Path) -> None:
    assert Run(tmp_path).read_predictions() is None
    header = "path,group,label,start_s,predicted,probability,label_probability,uncalibrated\n"
    for content in ("path,label\n", header + "a,b,c,0,d,x,0,0\n", header + "a,b,c,0,d,0\n"):
        (tmp_path / "predictions.csv").write_text(content)
        with pytest.raises(DataError, match=r"predictions\.csv"):
            Run(tmp_path).read_predictions()


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
        classifier = Model.load(path)
        description = classifier.description
        assert description.classes == classifier.classes_ == store.classes
        assert description.input_shape == (6, 5)
        assert description.spec == store.spec
        test = [split.part[store.recordings[i].path] == TEST for i in store.clip_recording]
        with torch.no_grad():
            p = classifier.probabilities(torch.from_numpy(store.features[test])).numpy()
        accuracy = (p.argmax(axis=1) == store.labels[test]).mean()
        assert accuracy == pytest.approx(result["test"]["accuracy"])
        likelihood = p[np.arange(len(p)), store.labels[test]]
        assert -np.log(likelihood).mean() == pytest.approx(result["test"]["nll"])


def test_a_damaged_model_is_refused(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    weights = (folder / "model/weights.safetensors").read_bytes()
    document = (folder / "model/model.json").read_text()
    with pytest.raises(DataError, match="holds no model"):
        Model.load(tmp_path)
    (tmp_path / "model.json").write_text(document)
    with pytest.raises(DataError, match="missing"):
        Model.load(tmp_path)
    for damaged in (b"", weights[:100], weights[:-7]):
        (tmp_path / "weights.safetensors").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            Model.load(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(weights)
    for old, new, message in (
        ('"format": 2', '"format": 99', "format 99"),
        ('"lstm"', '"transformer"', "unknown architecture 'transformer'"),
        ('"lstm"', '"lstm-large"', "damaged or of another model"),
        ('"classes"', '"klasses"', "has no classes"),
        ("{", "", "damaged"),
    ):
        (tmp_path / "model.json").write_text(document.replace(old, new, 1))
        with pytest.raises(DataError, match=message):
            Model.load(tmp_path)


def test_a_seed_repeats_and_another_does_not(tmp_path: Path) -> None:
    a, b, c = (run(tiny_store(), tmp_path / f"{i}", seed=s) for i, s in enumerate((5, 5, 6)))
    for result in (a, b, c):
        del result["training_s"], result["samples_per_s"], result["clips_per_s"]
        del result["cost"]["cpu_ms"]
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
    a, b = (Model.load(tmp_path / x) for x in "ab")
    assert torch.equal(a.mean, b.mean)
    assert torch.equal(a.deviation, b.deviation)
    np.testing.assert_allclose(a.mean, expected.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(a.deviation, expected.std(axis=(0, 1)), rtol=1e-5)


def test_statistics_of_many_clips() -> None:
    store = tiny_store({"a": 1, "b": 1})
    rng = np.random.default_rng(0)
    store.features = rng.normal(1000 * np.arange(5), 1 + np.arange(5), (2500, 3, 5))
    clips = rng.permutation(2500)[:2300]
    mean, std = compute_statistics(store, clips)
    np.testing.assert_allclose(mean, store.features[clips].mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(std, store.features[clips].std(axis=(0, 1)), rtol=1e-6)


def test_a_constant_feature_stays_finite(tmp_path: Path) -> None:
    store = tiny_store()
    store.features[:, :, 4] = -80
    result = run(store, tmp_path)
    assert Model.load(tmp_path).deviation[4] == 1
    assert np.isfinite(result["test"]["ece"])


def test_half_precision_stores_train_too(tmp_path: Path) -> None:
    store = tiny_store()
    store.features = store.features.astype(np.float16)
    assert run(store, tmp_path, epochs=8, lr=0.01)["test"]["accuracy"] > 0.6


@pytest.mark.parametrize("model", [name for name in MODELS if not name.startswith("lstm")])
def test_every_architecture_trains(tmp_path: Path, model: str) -> None:
    store = tiny_store({"a": 6, "b": 6})
    assert run(store, tmp_path, model=model, epochs=1)["parameters"] > 0


def test_an_interrupted_run_keeps_its_best_model(tmp_path: Path) -> None:
    store = tiny_store()
    trial = Trial("lstm", Recipe(epochs=50))
    split = make_split(store.recordings)

    def stop(_done: int, _total: int, row: dict[str, float] | None) -> None:
        if row is not None and row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trial, store, split, Run(tmp_path), CPU, stop)
    assert not (tmp_path / "metrics.json").exists()
    assert (tmp_path / "model/weights.safetensors").exists()
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3
    with pytest.raises(SettingError, match="an unfinished run"):
        Run(tmp_path).claim()


def test_divergence_is_an_error(tmp_path: Path) -> None:
    store = tiny_store()
    store.features[:] = np.nan
    with pytest.raises(DataError, match="diverged in epoch 1"):
        run(store, tmp_path)


def test_divergence_keeps_the_last_good_weights(tmp_path: Path) -> None:
    store = tiny_store()
    trial, split = Trial("lstm", Recipe(epochs=9)), make_split(store.recordings)
    after: dict[str, bytes] = {}

    def spoil(_done: int, _total: int, row: dict[str, float] | None) -> None:
        if row is not None and row["epoch"] == 2:
            after["epoch 2"] = (tmp_path / "model/weights.safetensors").read_bytes()
            with torch.no_grad():
                for parameter in spoilt:
                    parameter.fill_(torch.nan)

    def remember(*args: Any) -> TrainState:
        state = new_state(*args)
        spoilt.extend(state.model.parameters())
        return state

    spoilt: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audiocls.training.loop.new_state", remember)
        message = (
            r"diverged in epoch 3: the loss is nan; the model of epoch \d is kept; .*lower `lr`"
        )
        with pytest.raises(DataError, match=message):
            fit(trial, store, split, Run(tmp_path), CPU, spoil)
    assert (tmp_path / "model/weights.safetensors").read_bytes() == after["epoch 2"]
    assert not (tmp_path / "metrics.json").exists()
    assert all(value.isfinite().all() for value in Model.load(tmp_path).state_dict().values())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError("no")])
def test_out_of_memory_names_a_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr("audiocls.training.data.feature_augmentation.augment", full)
    with pytest.raises(DataError, match=f"{error}; try a `batch_size` of 8"):
        run(tiny_store(), tmp_path)


def test_clips_of_different_lengths_train(tmp_path: Path) -> None:
    store, rng = tiny_store(), np.random.default_rng(0)
    lengths = rng.integers(3, 20, len(store.features))
    clips = [np.resize(x, (n, 5)) for x, n in zip(store.features, lengths, strict=True)]
    frames = np.concatenate(clips)
    store.features = Clips(frames, np.cumsum([0, *lengths]))  # type: ignore[arg-type]
    store.cut = store.cut.replace(clip_s=0)
    result = run(store, tmp_path / "lstm", model="lstm", epochs=12, lr=0.01)
    assert result["test"]["balanced_accuracy"] > 0.7
    for model in ("crnn", "compact"):
        assert run(store, tmp_path / model, model=model, epochs=1)["test"]["n"] > 0


def test_copies_of_different_lengths_are_found() -> None:
    store, rng = tiny_store({"a": 20, "b": 20}), np.random.default_rng(0)
    n_clips = len(store.recordings)
    lengths = rng.integers(3, 90, n_clips)
    part = make_split(store.recordings).part
    train, test = (
        next(i for i, r in enumerate(store.recordings) if part[r.path] == p) for p in (TRAIN, TEST)
    )
    for length in (7, 80):
        lengths[[train, test]] = length
        clips = [rng.standard_normal((n, 5)) for n in lengths]
        clips[test] = clips[train] + 0.01 * rng.standard_normal((length, 5))
        store._clips = np.stack([np.arange(n_clips), np.zeros(n_clips, int)], axis=1)
        store.features = Clips(np.concatenate(clips), np.cumsum([0, *lengths]))  # type: ignore[arg-type]
        store.cut = store.cut.replace(clip_s=0)
        pairs = find_near_duplicates(store, part)
        paths = (store.recordings[train].path, store.recordings[test].path)
        assert [pair[:2] for pair in pairs] == [paths]


def test_used_folders(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = finished
    with pytest.raises(SettingError, match="holds a finished run; `restart`"):
        Run(folder).claim()
    Run(folder).claim(restart=True)
    (tmp_path / "letter.txt").write_text("dear")
    for restart in (False, True):
        with pytest.raises(SettingError, match="something else"):
            Run(tmp_path).claim(restart)
        with pytest.raises(SettingError, match="is a file"):
            Run(tmp_path / "letter.txt").claim(restart)
    Run(tmp_path / "new").claim()


def test_a_failed_start_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="3×3"):
        run(tiny_store(frames=4), tmp_path / "run", model="cnn")
    store = tiny_store()
    store.classes.append("zither")
    with pytest.raises(DataError, match="no clip of class zither in the training part"):
        run(store, tmp_path / "run")
    store = tiny_store()
    store.cut = store.cut.replace(clip_s=0)
    with pytest.raises(SettingError, match="one length only: extract with `clip_s`"):
        run(store, tmp_path / "run", model="cnn")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sampler": "balancd"}, "sampler 'balancd' is invalid: did you mean 'balanced'"),
        ({"epochs": 0}, "epochs 0 is invalid: must be >= 1"),
        ({"epochs": 1.5}, "epochs 1.5 is invalid: must be a whole number"),
        ({"epochs": True}, "epochs True is invalid"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": 0.0}, "lr 0.0 is invalid: must be > 0"),
        ({"lr": float("nan")}, "lr nan"),
        ({"lr": float("inf")}, "lr inf"),
        ({"lr": "fast"}, "lr 'fast' is invalid: must be a number"),
        ({"warm_up": 1.5}, "warm_up 1.5 is invalid: must be >= 0 and <= 1"),
        ({"learning_rate": 1.0}, "field 'learning_rate' is invalid"),
    ],
)
def test_recipes_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Recipe.preset("modern", **wrong)


def test_presets() -> None:
    study = Recipe.preset("study", epochs=10)
    assert (study.optimizer, study.lr, study.batch_size, study.epochs) == ("adam", 0.01, 16, 10)
    assert study.schedule == "constant"
    assert Recipe.preset("study").epochs == 50
    assert Recipe.preset() == Recipe()
    with pytest.raises(SettingError, match="recipe 'moden' is invalid: did you mean 'modern'"):
        Recipe.preset("moden")


@pytest.mark.parametrize(
    ("model", "seed", "message"),
    [("resnt", 0, "model 'resnt' is invalid: did you mean 'resnet'"), ("lstm", -1, "seed -1")],
)
def test_trials_are_checked(model: str, seed: int, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Trial(model, Recipe(), seed)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Device.pick("auto").torch == torch.device("cpu")
    with pytest.raises(SettingError, match="sees no CUDA device"):
        Device.pick("cuda")
    with pytest.raises(
        SettingError, match=r"device 'gpu' is invalid: .*choose from auto, cpu, cuda"
    ):
        Device.pick("gpu")


@pytest.mark.parametrize("why", ["only emulates it", "has slow instructions for it"])
def test_slow_bfloat16_is_said(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setattr("audiocls.training.runtime.device._why_not_bfloat16", lambda _: why)
    assert not Device.pick("cpu", "auto").bfloat16
    with pytest.warns(UserWarning, match=f"bfloat16: cpu {why} here, float32 is faster"):
        assert Device.pick("cpu", "bfloat16").bfloat16
    monkeypatch.setattr("audiocls.training.runtime.device._why_not_bfloat16", lambda _: None)
    assert Device.pick("cpu", "auto").bfloat16
    assert not Device.pick("cpu", "float32").bfloat16


@pytest.mark.parametrize(
    ("instructions", "float32_s", "bfloat16_s", "why"),
    [
        (False, 2.0, 1.0, "only emulates it"),
        (True, 1.0, 2.0, "has slow instructions for it"),
        (True, 2.0, 1.0, None),
    ],
)
def test_bfloat16_is_used_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch,
    instructions: bool,
    float32_s: float,
    bfloat16_s: float,
    why: str | None,
) -> None:
    """By a clock of ours, on which the first product of each kind is slow."""
    ends = [0.0, 10.0 * bfloat16_s, 0.0, 10.0 * float32_s]
    for _ in range(5):
        ends += [0.0, float32_s, 0.0, bfloat16_s]
    clock = iter(ends)
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, check, lambda: instructions)
    monkeypatch.setattr("audiocls.training.runtime.device.perf_counter", lambda: next(clock))
    _faster_in_bfloat16.cache_clear()
    try:
        assert _why_not_bfloat16(torch.device("cpu")) == why
    finally:
        _faster_in_bfloat16.cache_clear()


def test_a_step_has_as_many_threads_as_it_keeps_busy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: used[-1] if used else 8)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    caplog.set_level("DEBUG", "audiocls")
    with pytest.raises(KeyboardInterrupt), CPU.limit_threads(1e6):
        raise KeyboardInterrupt
    with CPU.limit_threads(3.5 * THREAD_WORK):
        pass
    with CPU.limit_threads(1e15):
        pass
    assert used == [1, 8, 3, 8, 8, 8]
    assert "3 of 8 threads" in caplog.text


def test_learning_rate_rises_and_falls() -> None:
    recipe = Recipe(lr=2.0)
    rates = [learning_rate(recipe, i, 100) for i in range(100)]
    assert max(rates) == 2
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.002
    assert learning_rate(recipe, 0, 1) == 2
    constant = Recipe.preset("study")
    assert {learning_rate(constant, i, 100) for i in range(100)} == {0.01}


def test_copies_on_both_sides_are_found() -> None:
    store = tiny_store({"a": 30, "b": 30})
    part = make_split(store.recordings).part
    assert find_near_duplicates(store, part) == []
    train, test = (
        next(i for i, r in enumerate(store.recordings) if part[r.path] == p and r.n_clips == 2)
        for p in (TRAIN, TEST)
    )
    rng = np.random.default_rng(1)
    copy = store.features[store.clip_recording == train]
    store.features[store.clip_recording == test] = copy + 0.01 * rng.standard_normal(copy.shape)
    pairs = find_near_duplicates(store, part)
    paths = (store.recordings[train].path, store.recordings[test].path)
    assert [pair[:2] for pair in pairs] == [paths]
