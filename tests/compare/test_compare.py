"""The grid: identical splits, resumed, changed settings noticed; its table and its page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_store import TinyStore, tiny_store

from audiocls import training
from audiocls.compare.grid import compare, estimate_time_left
from audiocls.errors import DataError, SettingError
from audiocls.training.fitting.epoch import EpochProgress

torch.set_num_threads(1)
RECIPE = training.Recipe(epochs=2, batch_size=16)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, TinyStore]:
    """Two stores of one data set; in `b` one recording failed."""
    a, b = tiny_store(), tiny_store(frames=8, features=6, seed=1)
    b.recordings[5].n_clips = 0
    keep = b.clip_recording != 5
    b.features, b._clips = b.features[keep], b._clips[keep]
    made = {"a": a, "b": b}
    monkeypatch.setattr(
        "audiocls.compare.grid.open_features", lambda path, *_: made[Path(path).name]
    )
    return made


def run(folder: Path, features: str = "ab", models: tuple[str, ...] = ("lstm",), **kwargs: Any):
    given = {"recipe": RECIPE, "group_by": "player", "device": "cpu"} | kwargs
    return compare([f"features/{f}" for f in features], models, out=folder, **given)


def test_splits_are_identical_across_features_and_models(
    tmp_path: Path, stores: dict[str, TinyStore]
) -> None:
    done = run(tmp_path, models=("lstm", "newcnn"), seeds=2)
    by_seed: dict[int, set[bytes]] = {}
    for row in done.rows:
        split = (tmp_path / row["run"] / "split.csv").read_bytes()
        by_seed.setdefault(row["seed"], set()).add(split)
    assert len(done.rows) == 2 * 2 * 2
    assert {len(splits) for splits in by_seed.values()} == {1}
    assert by_seed[0] != by_seed[1], "each seed has a split of its own"
    left_out = stores["b"].recordings[5].path
    assert left_out.encode() not in next(iter(by_seed[0]))
    metrics = json.loads((tmp_path / done.rows[0]["run"] / "metrics.json").read_text())
    assert any("1 recording(s) are not in every store" in w for w in metrics["warnings"])


def test_leaks_are_sought_once_a_store_and_split(
    tmp_path: Path, stores: dict[str, TinyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    sought = []

    def describe_leaks(store: Any, split: Any) -> list[str]:
        sought.append((id(store), repr(split.table())))
        return [f"leak {len(sought)}"]

    monkeypatch.setattr("audiocls.compare.grid.describe_leaks", describe_leaks)
    done = run(tmp_path, models=("lstm", "newcnn"), seeds=2)
    assert len(sought) == len(set(sought)) == 2 * 2
    for row in done.rows:
        metrics = json.loads((tmp_path / row["run"] / "metrics.json").read_text())
        number = 1 + 2 * row["seed"] + "ab".index(row["feature"])
        assert metrics["warnings"][-1] == f"leak {number}"


def test_results(tmp_path: Path, stores: dict[str, TinyStore]) -> None:
    done = run(tmp_path)
    with done.results.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(done.rows[0])
    assert {"feature", "accuracy", "recording_balanced_accuracy", "run"} <= rows[0].keys()
    assert [(r["feature"], r["model"]) for r in rows] == [("a", "lstm"), ("b", "lstm")]
    for row, got in zip(rows, done.rows, strict=True):
        metrics = json.loads((tmp_path / row["run"] / "metrics.json").read_text())
        assert float(row["macro_f1"]) == pytest.approx(metrics["test"]["macro_f1"], rel=1e-5)
        assert got["recording_accuracy"] == metrics["test_recording"]["accuracy"]


def test_differences(tmp_path: Path, stores: dict[str, TinyStore]) -> None:
    done = run(tmp_path, models=("lstm", "newcnn"))
    with (tmp_path / "differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(done.differences) == 6
    score = {(r["feature"], r["model"]): r["recording_balanced_accuracy"] for r in done.rows}
    best = max(done.rows, key=lambda r: r["val_balanced_accuracy"])
    for i, (row, difference) in enumerate(zip(rows, done.differences, strict=True)):
        pair = (row["feature"], row["model"]), (row["other_feature"], row["other_model"])
        better, other = (score[key] for key in pair)
        assert better >= other
        assert float(row["other_recording_balanced_accuracy"]) == pytest.approx(other, rel=1e-5)
        assert float(row["p"]) == pytest.approx(difference.p, rel=1e-5)
        assert ((best["feature"], best["model"]) in pair) == (i < 3), "the best's pairs come first"


def test_every_group_is_tested_once_over_the_folds(
    tmp_path: Path, stores: dict[str, TinyStore]
) -> None:
    done = run(tmp_path, "a", folds=3)
    tested: list[str] = []
    for row in done.rows:
        with (tmp_path / row["run"] / "split.csv").open() as file:
            tested += [r["path"] for r in csv.DictReader(file) if r["part"] == "test"]
    assert sorted(tested) == sorted(r.path for r in stores["a"].recordings)
    assert "± " in done.report.read_text()


def test_every_source_is_left_out_once(tmp_path: Path, stores: dict[str, TinyStore]) -> None:
    for i, r in enumerate(stores["a"].recordings):
        r.extra["source"] = ["studio", "hall", "phone"][i % 3]
    done = run(tmp_path, "a", folds="logo", group_by="source")
    tested = []
    for row in done.rows:
        with (tmp_path / row["run"] / "split.csv").open() as file:
            tested.append({r["group"] for r in csv.DictReader(file) if r["part"] == "test"})
    assert tested == [{"hall"}, {"phone"}, {"studio"}]
    assert (
        "leave one group out"
        in json.loads((tmp_path / done.rows[0]["run"] / "metrics.json").read_text())["split"][
            "method"
        ]
    )


def test_finished_cells_are_not_done_again(
    tmp_path: Path, stores: dict[str, TinyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def announce(name: str, number: int, of: int) -> EpochProgress:
        trained.append(name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return lambda *_: None

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, announce=announce)
    with (tmp_path / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    whole = run(tmp_path, announce=announce)
    assert trained == ["a-lstm-0", "b-lstm-0", "b-lstm-0"]

    before = whole.results.read_bytes(), whole.report.read_bytes()
    monkeypatch.setattr("audiocls.compare.grid.fit", None)
    again = run(tmp_path)
    assert (again.results.read_bytes(), again.report.read_bytes()) == before


def test_what_changed_since_is_noticed(tmp_path: Path, stores: dict[str, TinyStore]) -> None:
    run(tmp_path)
    changed = training.Recipe(epochs=3, batch_size=16)
    with pytest.raises(SettingError, match=r"`epochs` was 2, is 3 now \(run a-lstm-0\); `restart`"):
        run(tmp_path, recipe=changed)
    # Without `b`, recording 5 is no longer left out, and the split another one.
    with pytest.raises(SettingError, match="the recordings have changed, and so the split"):
        run(tmp_path, "a")
    stores["a"].recordings[0].n_clips += 1
    del stores["a"].identity
    with pytest.raises(SettingError, match="feature store has changed"):
        run(tmp_path)
    stores["a"].recordings[0].n_clips -= 1
    del stores["a"].identity
    before = json.loads((tmp_path / "cells/a-lstm-0/metrics.json").read_text())["settings"]
    run(tmp_path, recipe=changed, restart=True)
    after = json.loads((tmp_path / "cells/a-lstm-0/metrics.json").read_text())["settings"]
    assert (before["epochs"], after["epochs"]) == (2, 3)


def test_a_run_of_an_earlier_version_counts_where_what_is_new_is_off(
    tmp_path: Path, stores: dict[str, TinyStore]
) -> None:
    def forget(field: str) -> None:
        document = json.loads(metrics.read_text())
        del document["settings"][field]
        metrics.write_text(json.dumps(document))

    metrics = tmp_path / "cells/a-lstm-0/metrics.json"
    recipe = training.Recipe(epochs=2, batch_size=16, mel_band=0)
    run(tmp_path, recipe=recipe)
    forget("mel_band")
    run(tmp_path, recipe=recipe)
    assert "mel_band" not in json.loads(metrics.read_text())["settings"]
    forget("phrase_note_s")  # how long, of what never happens
    run(tmp_path, recipe=recipe)
    forget("mixup")
    with pytest.raises(SettingError, match=r"`mixup` was None, is 0.2 now"):
        run(tmp_path, recipe=recipe)


def test_what_cannot_be_compared_is_said_before_training(
    tmp_path: Path, stores: dict[str, TinyStore]
) -> None:
    for features, models, kwargs, message in (
        ("ab", ("lstm", "resnt"), {}, "did you mean 'resnet'"),
        ("aa", ("lstm",), {}, "named twice"),
        ("a", ("lstm", "lstm"), {}, "named twice"),
        ("a", ("best", "compact"), {}, "named twice"),
        ("", ("lstm",), {}, "at least one"),
        ("a", (), {}, "at least one"),
        ("a", ("lstm",), {"seeds": 0}, "seeds"),
        ("a", ("lstm",), {"folds": 1}, "folds"),
        ("a", ("lstm",), {"folds": "lgo"}, "folds"),
    ):
        with pytest.raises(SettingError, match=message):
            run(tmp_path / "out", features, models, **kwargs)
    stores["a"].features = stores["a"].features[:, :4]
    with pytest.raises(SettingError, match=">= 5"):
        run(tmp_path / "out", models=("lstm", "cnn"))
    for r in stores["b"].recordings[:9]:
        r.label = "viola"
    with pytest.raises(DataError, match="disagree on label"):
        run(tmp_path / "out")
    for r in stores["b"].recordings:
        r.path = "elsewhere/" + r.path
    with pytest.raises(DataError, match="not of one data set"):
        run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="is a file"):
        run(tmp_path / "file")


def test_what_is_told(tmp_path: Path, stores: dict[str, TinyStore]) -> None:
    told: list[tuple[str, int, int, float]] = []

    def tell(name: str, number: int, of: int, result: Any, left_s: float) -> None:
        assert 0 <= result.test_recording["accuracy"] <= 1
        told.append((name, number, of, left_s))

    run(tmp_path, "a", seeds=2, tell=tell)
    run(tmp_path, "a", seeds=3, tell=tell)
    assert [t[:3] for t in told] == [("a-lstm-0", 1, 2), ("a-lstm-1", 2, 2), ("a-lstm-2", 3, 3)]
    assert told[0][3] > 0
    assert told[1][3] == told[2][3] == 0


def test_time_left_is_that_of_what_is_most_alike(tmp_path: Path) -> None:
    def cell(feature: str, model: str, seconds: float) -> Any:
        return SimpleNamespace(
            trial=training.Trial(model, feature=feature), result=SimpleNamespace(training_s=seconds)
        )

    done = [cell("a", "lstm", 2), cell("a", "lstm", 4), cell("b", "lstm", 9), cell("a", "cnn", 20)]
    todo = [cell(*key, 0).trial for key in (("a", "lstm"), ("c", "lstm"), ("b", "resnet"))]
    assert estimate_time_left(done, todo) == pytest.approx(3 + 5 + 35 / 4)
    assert estimate_time_left(done, []) == 0
