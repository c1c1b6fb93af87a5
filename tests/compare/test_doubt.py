"""Labels that held-out models doubt: exchanged ones are found, on a page that can be heard."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result

import audiocls
from audiocls.cli import main
from audiocls.compare.mistakes import illustrate_mistakes
from audiocls.training import Run
from audiocls.training.fitting.predictions import PredictionRow
from audiocls.training.held_out import compute_recording_statistics, make_folds

torch.set_num_threads(1)


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A second of hiss, of a pure tone or of a square wave, each of its own pitch and level."""
    wave = np.sin(2 * np.pi * rng.uniform(200, 900) * np.arange(22_050) / 22_050)
    wave = {"hiss": rng.normal(size=22_050), "pure": wave, "square": np.sign(wave)}[kind]
    return (wave + 0.02 * rng.normal(size=22_050)) * rng.uniform(0.02, 0.2)


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A store in which five recordings of 150 lie in the wrong folder, and which these are."""
    folder, rng = tmp_path_factory.mktemp("doubt"), np.random.default_rng(0)
    kinds, wrong = ("hiss", "pure", "square"), set()
    for i in range(150):
        label = kinds[i % 3]
        if i % 31 == 4:
            wrong.add(f"{label}/{i:03}.wav")
        kind = kinds[(i + (i % 31 == 4)) % 3]
        (folder / "data" / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "data" / label / f"{i:03}.wav", sound(kind, rng), 22_050)
    audiocls.extract(folder / "data", "mel", folder / "store")
    return folder, wrong


def test_exchanged_labels_are_found(exchanged: tuple[Path, set[str]]) -> None:
    folder, wrong = exchanged
    run = call("doubt", folder / "store", "--out", folder / "found", "--json")
    assert run.exit_code == 0, run.stderr
    said = json.loads(run.stdout)
    found = [row["path"] for row in said["doubts"]]
    assert len(wrong) == 5
    assert len(wrong & set(found[: 2 * len(wrong)])) >= 4
    with (folder / "found/doubts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == found
    for row in rows:
        assert row["label"] == row["path"].split("/")[0] != row["suggested"]
        assert float(row["label_probability"]) < float(row["suggested_probability"])
    page = (folder / "found/doubts.html").read_text()
    assert page.count('class="play"') == len(rows), "each can be heard"
    assert all(row["path"] in page for row in rows)
    assert not re.search(r'(src|href)="(?!data:)', page), "the page loads nothing"


def test_a_model_doubts_in_folds_that_are_kept(exchanged: tuple[Path, set[str]]) -> None:
    folder, _ = exchanged
    args = ("doubt", folder / "store", "--model", "lstm", "--epochs", "8", "--lr", "0.01")
    args = (*args, "--folds", "2", "--out", folder / "trained", "--device", "cpu", "--json")
    first = call(*args)
    assert first.exit_code == 0, first.stderr
    runs = sorted((folder / "trained/folds").glob("*/metrics.json"))
    assert [p.parent.name for p in runs] == ["store-lstm-0-fold1of2", "store-lstm-0-fold2of2"]
    before = [p.stat().st_mtime_ns for p in runs]
    again = call(*args)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert [p.stat().st_mtime_ns for p in runs] == before
    doubts = {row["path"]: row for row in json.loads(first.stdout)["doubts"]}
    said = [p for file in runs for p in Run(file.parent).read_recording_predictions() or ()]
    assert len(said) == len({p.path for p in said}) == 150
    asked = [p for p in said if p.path in doubts]
    assert len(asked) == len(doubts) > 0
    for p in asked:
        assert p.predicted == doubts[p.path]["suggested"]
        assert p.label_probability == pytest.approx(doubts[p.path]["label_probability"], rel=1e-4)


def test_every_recording_is_held_out_once_with_its_group(
    exchanged: tuple[Path, set[str]],
) -> None:
    store = audiocls.open_store(exchanged[0] / "store")
    for r in store.recordings:
        r.split = "train"  # a given split is not asked
    splits = make_folds(store, 4, r"(.)\.wav$", seed=0)
    tests = [{p for p, part in s.part.items() if part == 2} for s in splits]
    assert sum(map(len, tests)) == len(set().union(*tests)) == len(store.recordings)
    for split, own in zip(splits, tests, strict=True):
        groups = {split.group[p] for p in own}
        assert all((split.group[p] in groups) == (p in own) for p in split.part)


def test_statistics_are_mean_and_deviation(exchanged: tuple[Path, set[str]]) -> None:
    store = audiocls.open_store(exchanged[0] / "store")
    rows = compute_recording_statistics(store)
    for r in (0, 7):
        x = store.features.numpy()[store.clip_recording == r].astype(np.float64)
        x = x.reshape(-1, x.shape[2])
        np.testing.assert_allclose(rows[r], [*x.mean(axis=0), *x.std(axis=0)], rtol=1e-6)


def test_the_page_holds_only_recordings_of_the_data_set(
    exchanged: tuple[Path, set[str]], tmp_path: Path
) -> None:
    store = audiocls.open_store(exchanged[0] / "store")
    soundfile.write(tmp_path / "private.wav", np.full(22_050, 0.1), 22_050)
    real = store.recordings[3].path
    paths = [real, f"{real[:4]}/../{real}", str(tmp_path / "private.wav"), "/etc/hosts"]
    rows = [PredictionRow(path, "g", "a", None, "b", 0.9, 0.1, 0.9) for path in paths]
    assert [m.audio is not None for m in illustrate_mistakes(rows, store)] == [
        True,
        False,
        False,
        False,
    ]


def test_what_cannot_be_doubted_is_said_in_one_line(
    exchanged: tuple[Path, set[str]], tmp_path: Path
) -> None:
    folder, _ = exchanged
    store = folder / "store"
    for args, code, rule in (
        (("--folds", "1"), 2, "--folds 1 is invalid: must be >= 2"),
        (("--model", "linear"), 2, "--model 'linear' is invalid: needs --init"),
        (("--model", "statistics", "--init", "orchestra"), 2, "no weights to begin with"),
        (("--init", "orchestra"), 2, "audiocls extract"),
        (("--model", "lstmm"), 2, "did you mean 'lstm'?"),
        (("--folds", "900"), 1, "are too few for 900 folds"),
    ):
        run = call("doubt", store, "--out", tmp_path / "out", *args)
        assert (run.exit_code, run.stderr.count("\n")) == (code, 1), run.stderr
        assert rule in run.stderr
    assert not (tmp_path / "out").exists()
