"""How many recordings are needed: nested training parts, the curve and its sentence."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tiny_store import TinyStore, recording, tiny_store

from audiocls import training
from audiocls.cli import main
from audiocls.compare.grid import compare
from audiocls.compare.learning import build_learning_curves
from audiocls.errors import SettingError
from audiocls.training.data.splits import TEST, TRAIN, VAL, make_split
from audiocls.training.data.subset import draw_subset

torch.set_num_threads(1)


def training_part(split: training.Split) -> set[str]:
    return {path for path, part in split.part.items() if part == TRAIN}


def test_subsets_are_nested_and_take_whole_groups() -> None:
    # Groups of several sizes, some of which hold two classes.
    rows = [
        recording(f"{label}/{i}.wav", label, group=f"g{(i * 7 + shift) % 41}")
        for shift, label in enumerate("abc")
        for i in range(80)
    ]
    split = make_split(rows, seed=3)
    whole, before = training_part(split), set()
    drawn = {}
    for n in (1, 2, 5, 11, 20):
        subset = draw_subset(split, n, seed=4)
        drawn[n] = kept = training_part(subset)
        assert before <= kept <= whole
        before = kept
        for label in "abc":
            assert sum(split.label[path] == label for path in kept) >= n
        for path in whole - kept:
            assert split.group[path] not in {split.group[p] for p in kept}, "a group is whole"
        for part in (VAL, TEST):
            same = {p for p, where in split.part.items() if where == part}
            assert same == {p for p, where in subset.part.items() if where == part}
    assert training_part(draw_subset(split, 5, seed=4)) == drawn[5], "whatever else is asked for"
    assert training_part(draw_subset(split, 5, seed=5)) != drawn[5]


def test_exactly_so_many_where_a_recording_is_a_group() -> None:
    rows = [recording(f"{label}/{i}.wav", label) for label in "ab" for i in range(40)]
    split = make_split(rows)
    kept = training_part(draw_subset(split, 7, seed=0))
    assert sorted(split.label[path] for path in kept) == ["a"] * 7 + ["b"] * 7
    n = sum(split.label[p] == "a" for p in training_part(split))
    with pytest.raises(SettingError, match=r"the training part has \d+ of class '[ab]'"):
        draw_subset(split, n + 1, seed=0)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> None:
    made: TinyStore = tiny_store({"drum": 30, "flute": 30})
    monkeypatch.setattr("audiocls.compare.grid.open_features", lambda *_: made)


def run(folder: Path, **given: Any) -> Any:
    recipe = training.Recipe(epochs=2, batch_size=8)
    return compare(
        ["features/a"], ["lstm"], out=folder, recipe=recipe, device="cpu", seeds=2, **given
    )


@pytest.mark.usefixtures("stores")
def test_the_grid_trains_every_size(tmp_path: Path) -> None:
    done = run(tmp_path, recordings_per_class=[None, 4, 8])
    with done.results.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["recordings_per_class"] for row in rows] == ["4", "8", "all"] * 2
    parts = {}
    for row in rows:
        with (tmp_path / row["run"] / "split.csv").open() as file:
            trains = {r["path"] for r in csv.DictReader(file) if r["part"] == "train"}
        parts[row["seed"], row["recordings_per_class"]] = trains
    for seed in "01":
        assert parts[seed, "4"] < parts[seed, "8"] < parts[seed, "all"]
        assert len(parts[seed, "4"]) == 8
    assert all(len(r.cells) == 2 for r in done.rankings), "models are ranked by the largest"
    assert done.rankings[0].cells[0].trial.recordings_per_class is None
    (curve,) = done.learning
    assert curve.sizes[:2] == [4, 8]
    page = done.report.read_text()
    assert "How many recordings are needed" in page
    assert curve.sentence()[:40] in page
    assert 'class="band series s0"' in page
    again = run(tmp_path, recordings_per_class=[4, 8, None])
    assert again.rows == done.rows
    with pytest.raises(SettingError, match=r"recordings_per_class 50 is invalid: the training"):
        run(tmp_path, recordings_per_class=[50])
    with pytest.raises(SettingError, match="'4' is invalid: is named twice"):
        run(tmp_path, recordings_per_class=[4, 4])


def cell(size: int, seed: int, score: float) -> Any:
    return SimpleNamespace(
        trial=training.Trial("lstm", seed=seed, feature="mel", recordings_per_class=size),
        split=(seed, None),
        result=SimpleNamespace(
            task="one",
            classes=["a", "b"],
            split={"parts": {"train": {"recordings": 2 * size}}},
            test={"balanced_accuracy": score, "macro_f1": score},
            val={"balanced_accuracy": score},
            test_recording={"balanced_accuracy": score, "accuracy": score},
        ),
    )


def test_what_twice_as_many_bring() -> None:
    scores = {5: (0.5, 0.52), 10: (0.6, 0.6), 40: (0.66, 0.672)}
    cells = [cell(n, seed, s) for n, both in scores.items() for seed, s in enumerate(both)]
    (curve,) = build_learning_curves(cells)
    assert curve.sizes == [5, 10, 40]
    assert curve.gain.mean == pytest.approx((0.03 + 0.036) / 2), "from 10 to 40 it doubles twice"
    assert curve.sentence() == (
        "lstm on mel: twice as many recordings bring about 3 points (± 0.3); from 10 to 40 "
        "recordings a class balanced accuracy by recording goes from 0.600 to 0.666"
    )
    noisy = [cell(5, 0, 0.5), cell(5, 1, 0.6), cell(10, 0, 0.6), cell(10, 1, 0.55)]
    (curve,) = build_learning_curves(noisy)
    assert "what twice as many recordings bring cannot be told from 2 splits" in curve.sentence()


def test_bad_sizes_are_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features/mel").mkdir(parents=True)
    (tmp_path / "features/mel/store.json").write_text("{}")
    for text in ("5,some", "-3", "0.5"):
        done = CliRunner().invoke(main, ["compare", "--recordings-per-class", text])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "--recordings-per-class" in done.stderr
