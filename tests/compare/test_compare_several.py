"""A comparison of models that give several labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from tiny_store import several_store

from audiocls import training
from audiocls.compare.grid import Comparison, compare
from audiocls.compare.several import bin_label_confidences, find_wrong_labels
from audiocls.compare.yardstick import SeveralLabels
from audiocls.scores.multilabel import label_calibration_error, swapped_average_precision

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two stores, of which one says nothing of the labels, two seeds."""
    stores = {"good": several_store(), "noise": several_store(seed=1)}
    rng = np.random.default_rng(0)
    stores["noise"] = several_store()
    stores["noise"].features = rng.standard_normal(stores["noise"].features.shape, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "audiocls.compare.grid.open_features", lambda path, *_: stores[Path(path).name]
        )
        return compare(
            ["features/good", "features/noise"],
            ["lstm"],
            recipe=training.Recipe(epochs=8, batch_size=16, lr=0.01, ema=0.9),
            seeds=2,
            group_by="player",
            device="cpu",
            out=tmp_path_factory.mktemp("comparison"),
        )


def test_models_are_compared_by_average_precision(done: Comparison) -> None:
    best, other = done.rankings
    assert (best.feature, other.feature) == ("good", "noise")
    low, high = best.interval
    assert low <= best.main.mean <= high
    (difference,) = done.differences
    assert difference.shown
    assert difference.p == pytest.approx(1 / 2001)
    assert "mean average precision by recording" in difference.sentence()
    with done.results.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row, cell in zip(rows[:1], best.cells[:1], strict=True):
        assert float(row["recording_map"]) == pytest.approx(
            cell.result.test_recording["map"], rel=1e-5
        )
        y = np.array([[n in r.labels for n in r.probabilities] for r in cell.recordings])
        p = np.array([list(r.probabilities.values()) for r in cell.recordings])
        expected = average_precision_score(y, p, average="macro")
        assert float(row["recording_map"]) == pytest.approx(expected, rel=1e-3)


def test_the_page_has_a_row_for_every_label(done: Comparison) -> None:
    text = done.report.read_text(encoding="utf-8")
    for part in ("average precision", "AUROC", "threshold", "given, but there is", "Platt"):
        assert part in text
    assert 'id="confusion"' not in text
    for name in ("a", "b", "c", "d"):
        assert f'data-label="class">{name}<' in text


def test_bins_add_up_to_the_calibration_error(done: Comparison) -> None:
    for cell in done.rankings[0].cells:
        bins = [row["after"] for row in bin_label_confidences(cell.clips)]
        gaps = [b["n"] * abs(b["confidence"] - b["accuracy"]) for b in bins if b["n"]]
        p = np.array([list(row.probabilities.values()) for row in cell.clips]).ravel()
        y = np.array([[n in r.labels for n in r.probabilities] for r in cell.clips]).ravel()
        assert sum(gaps) / len(p) == pytest.approx(label_calibration_error(p, y))


def test_wrong_labels_are_those_over_their_threshold(done: Comparison) -> None:
    cells = done.rankings[1].cells
    found = list(find_wrong_labels(cells))
    assert found
    limits = dict(zip(cells[0].result.classes, cells[0].result.thresholds, strict=True))
    own = [row for row in found if row in list(find_wrong_labels(cells[:1]))]
    assert all(row.probability >= limits[row.predicted] for row in own)
    assert all(row.predicted not in row.label.split(", ") for row in found)


def test_guessing_gives_the_share_of_the_labels(done: Comparison) -> None:
    cell = done.rankings[0].cells[0]
    y = np.array([[n in r.labels for n in r.probabilities] for r in cell.recordings])
    assert SeveralLabels().chance([cell]) == pytest.approx(y.mean(axis=0).mean())


def test_exchanged_average_precisions_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 40, 3)).round(1)  # with equal ones
    y = rng.random((40, 3)) < 0.4
    swap = rng.random((20, 40)) < 0.5
    for row, found in zip(swap, swapped_average_precision(p, q, y, swap), strict=True):
        mixed = np.where(row[:, None], q, p)
        assert found == pytest.approx(average_precision_score(y, mixed, average="macro"))
