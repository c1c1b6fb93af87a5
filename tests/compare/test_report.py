"""What a comparison concludes, and what its page says: of new runs, old ones, and odd names."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from scipy import stats
from tiny_store import TinyStore, recording, tiny_store

from audiocls import Extractor, FeatureSpec, training
from audiocls.cli import main
from audiocls.compare.charts import draw_scores_by_cost
from audiocls.compare.commands import write_compare_command, write_extract_command
from audiocls.compare.confusion import MOST_CLASSES, bin_confidences, build_matrix, tabulate_classes
from audiocls.compare.differences import Difference, compare_pairs, describe_differences, pair_cells
from audiocls.compare.grid import compare
from audiocls.compare.mistakes import MOST, PICTURE, _mistake, find_confident_mistakes
from audiocls.compare.page import write_report
from audiocls.compare.ranking import Cell, Ranking, Spread, rank_cells
from audiocls.compare.yardstick import OneLabel
from audiocls.training.fitting.predictions import PredictionRow, write_predictions

torch.set_num_threads(1)
RECIPE = training.Recipe(epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Cell]]:
    """A comparison of two stores and two models, two seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    stores = {"a": tiny_store(), "b": tiny_store(frames=8, features=6, seed=1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "audiocls.compare.grid.open_features", lambda path, *_: stores[Path(path).name]
        )
        done = compare(
            ["features/a", "features/b"],
            ["lstm", "newcnn"],
            recipe=RECIPE,
            seeds=2,
            group_by="player",
            device="cpu",
            out=folder,
        )
    return folder, [cell_of(row, folder) for row in done.rows]


def cell_of(row: dict[str, Any], out: Path) -> Cell:
    made = training.Run(out / row["run"])
    result = training.Result.read(made.folder)
    assert result is not None
    trial = training.Trial(row["model"], RECIPE, row["seed"], "player", row["fold"], row["feature"])
    return Cell(trial, made, result)


def page_of(cells: list[Cell], path: Path) -> list[Difference]:
    rankings = rank_cells(cells)
    tested = compare_pairs(rankings)
    write_report(path, rankings, tested)
    return tested


class Page(HTMLParser):
    """What a page refers to and shows, and whether its tags are closed in order."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        self.scripts += tag == "script"
        assert tag not in ("link", "iframe", "object")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_everything_and_loads_nothing(made: tuple[Path, list[Cell]]) -> None:
    folder, cells = made
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.references == [], "the recordings of a tiny store do not exist"
    for outside in ("url(", "http://", "https://", "@import", "//cdn"):
        assert outside not in text
    rankings = rank_cells(cells)
    words = " ".join(page.text.split()).replace("\u00a0", " ")
    assert f"{rankings[0].model} on {rankings[0].feature} is the choice of validation" in words
    for ranking in rankings:
        for score in ranking.scores.values():
            assert str(score) in words
        assert ranking.interval is not None
        assert "{:.3f} to {:.3f}".format(*ranking.interval) in words
    for difference in compare_pairs(rankings):
        assert difference.sentence() in words
    assert "its recording was not found as a file" in words
    assert torch.__version__ in words
    assert "audiocls compare --features features/a,features/b --models lstm,newcnn" in words
    assert text.count("<svg") == 4 + 1 + 1, "curves, reliability, cost"
    assert len(text) < 300_000


def test_the_page_is_the_same_again(made: tuple[Path, list[Cell]], tmp_path: Path) -> None:
    _, cells = made
    for name in "ab":
        page_of(cells, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_runs_of_earlier_versions(made: tuple[Path, list[Cell]], tmp_path: Path) -> None:
    """Without stored predictions, intervals and cost the page says what it does not know."""
    _, cells = made
    old = []
    for cell in cells:
        folder = tmp_path / cell.run.folder.name
        folder.mkdir()
        for name in ("history.csv", "split.csv"):
            (folder / name).write_bytes((cell.run.folder / name).read_bytes())
        document = json.loads((cell.run.folder / "metrics.json").read_text())
        for part in ("test", "test_recording", "val", "train"):
            for key in [k for k in document[part] if k.endswith(("_uncalibrated", "interval_95"))]:
                del document[part][key]
        del document["cost"], document["temperature"]
        (folder / "metrics.json").write_text(json.dumps(document))
        result = training.Result.read(folder)
        assert result is not None
        old.append(Cell(cell.trial, training.Run(folder), result))
    tested = page_of(old, tmp_path / "report.html")
    assert {d.p for d in tested} == {None}
    page = Page((tmp_path / "report.html").read_text())
    assert page.open == []
    words = " ".join(page.text.split())
    for missing in (
        "There is no interval",
        "cannot be tested",
        "The recordings are not known",
        "There is no diagram",
        "Not known: these runs are of an earlier version",
        "which stored no cost",
    ):
        assert missing in words
    # Half of them old: what can be tested is.
    tested = page_of([*cells[:2], *old[2:]], tmp_path / "mixed.html")
    assert sum(d.p is not None for d in tested) < len(tested)


def test_names_cannot_break_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"drum": "</script><script>alert(1)</script>", "flute": 'a & $b$ "c"', "viola": "x\ny"}
    store = tiny_store()
    store.classes = [names[c] for c in store.classes]
    for r in store.recordings:
        r.label, r.path = names[r.label], r.path.replace("drum/", "</script>&/")
    monkeypatch.setattr("audiocls.compare.grid.open_features", lambda *_: store)
    done = compare(["x"], ["lstm"], recipe=RECIPE, group_by="player", device="cpu", out=tmp_path)
    page = Page(done.report.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.scripts == 2, "the data of the matrix, and the page's own"
    assert "</script><script>alert(1)</script>" in page.text


# --- ranking ---


def test_the_best_is_chosen_by_validation(made: tuple[Path, list[Cell]]) -> None:
    cell = made[1][0]

    def scored(model: str, val: float, test: float) -> Cell:
        scores = {"accuracy": test, "balanced_accuracy": test, "macro_f1": test}
        result = replace(
            cell.result, val={"balanced_accuracy": val}, test=scores, test_recording=scores
        )
        return Cell(replace(cell.trial, model=model), cell.run, result)

    order = rank_cells([scored("lstm", 0.7, 0.9), scored("cnn", 0.8, 0.6)])
    assert [r.model for r in order] == ["cnn", "lstm"]


def test_spread() -> None:
    values = [0.1, 0.4, 0.3]
    assert str(Spread.of(values)) == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert str(Spread.of([0.25])) == f"{Spread.of([0.25])}" == "0.250"
    assert f"{Spread.of([1, 2]):.1f}" == "1.5 ± 0.7"
    assert f"{Spread.of([-0.01]):z.1f}" == "0.0"


def test_a_single_cell_has_the_interval_of_its_run(made: tuple[Path, list[Cell]]) -> None:
    for cell in made[1]:
        interval = Ranking(cell.trial.feature, cell.trial.model, [cell]).interval
        stored = cell.result.test_recording["interval_95"]["balanced_accuracy"]
        # The groups stand in another order, so other ones are drawn.
        np.testing.assert_allclose(interval, stored, atol=0.1)


# --- differences ---


def predicted(cell: Cell, folder: Path, hit: dict[str, float], rng: np.random.Generator) -> Cell:
    """The cell with recordings that are right as often as `hit` says of their group."""
    assert cell.recordings is not None
    rows = []
    for row in cell.recordings:
        other = next(c for c in cell.result.classes if c != row.label)
        right = rng.random() < hit[row.group]
        rows.append(row._replace(predicted=row.label if right else other))
    folder.mkdir(parents=True)
    write_predictions(folder / "predictions_recording.csv", rows)
    classes = {r.label for r in rows}
    recall = [np.mean([r.right for r in rows if r.label == c]) for c in classes]
    scores = cell.result.test_recording | {"balanced_accuracy": float(np.mean(recall))}
    result = replace(cell.result, test_recording=scores)
    return Cell(cell.trial, training.Run(folder), result)


def test_differences_by_group_add_up_to_that_of_the_scores(made: tuple[Path, list[Cell]]) -> None:
    rankings = rank_cells(made[1])
    for a in rankings:
        for b in rankings:
            shares = OneLabel().group_differences(pair_cells(a, b))
            assert shares is not None
            assert shares.sum() == pytest.approx(a.main.mean - b.main.mean)


def test_a_sentence_and_its_test(made: tuple[Path, list[Cell]], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own = [c for c in made[1] if (c.trial.feature, c.trial.model) == ("a", "lstm")]
    groups = {r.group for c in own for r in c.recordings or ()}
    made_up = {}
    for name, hit in (("good", 1.0), ("bad", 0.1), ("alike", 0.1)):
        cells = [
            predicted(c, tmp_path / name / str(i), dict.fromkeys(groups, hit), rng)
            for i, c in enumerate(own)
        ]
        made_up[name] = Ranking("a", name, cells)
    found = compare_pairs(list(made_up.values()))
    assert [(d.better.model, d.shown) for d in found[:2]] == [("good", True)] * 2
    assert not found[2].shown
    # Few groups: the test is exact, and scipy's.
    pairs = pair_cells(made_up["good"], made_up["bad"])
    shares = OneLabel().group_differences(pairs)
    assert shares is not None
    exact = stats.permutation_test(
        (shares, np.zeros(len(shares))),
        lambda x, y, axis: (x - y).sum(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf if 2 ** len(shares) <= 10_000 else 10_000,
        vectorized=True,
        rng=0,
    ).pvalue
    assert found[0].p == pytest.approx(3 * exact, rel=0.5)
    assert found[0].sentence().startswith("good on a is better than bad on a: 1.000 against 0.")
    assert found[2].sentence().startswith("no difference can be shown between ")
    sentence = Difference(made_up["good"], made_up["bad"], 0.0123).sentence()
    assert sentence.endswith(
        "balanced accuracy by recording, p = 0.012 (Holm, 10,000 group-wise permutations)"
    )


def test_many_that_are_beaten_are_named_together(made: tuple[Path, list[Cell]]) -> None:
    cell = made[1][0]
    best, *others = (Ranking("a", f"m{i}", [cell]) for i in range(7))
    tested = [Difference(best, other, 0.004) for other in others[:4]]
    tested += [Difference(best, others[4], 0.2), Difference(others[5], best, 0.01)]
    tested.append(Difference(others[0], others[1], 0.001))
    (shown, first), *rest = describe_differences(best, tested)
    assert shown
    assert first.startswith("m0 on a is better than 4 of 6 others: m1 on a, m2 on a, m3 on a, m4")
    assert "each p ≤ 0.004" in first
    assert rest == [(False, d.sentence()) for d in tested[4:6]]
    assert describe_differences(best, tested[:3]) == [(True, d.sentence()) for d in tested[:3]]


# --- class by class ---


def test_per_class_table() -> None:
    rows = tabulate_classes([[6, 2, 0], [1, 3, 0], [0, 0, 0]], ["a", "b", "c"], {"a": 4, "b": 2})
    low, high = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert rows[0] == {
        "name": "a",
        "n": 8,
        "groups": 4,
        "hits": 6,
        "precision": 6 / 7,
        "recall": 6 / 8,
        "interval": pytest.approx((low, high), abs=1e-6),
        "f1": 2 * 6 / (8 + 7),
        "taken_for": "b",
        "taken_n": 2,
        "taken_share": 0.25,
    }
    assert (rows[1]["taken_for"], rows[1]["taken_share"]) == ("a", 0.25)
    assert [rows[2][k] for k in ("precision", "recall", "f1", "taken_for")] == [None] * 4


def test_the_matrix_names_its_recordings(made: tuple[Path, list[Cell]]) -> None:
    best = rank_cells(made[1])[0]
    for unit, part in (("recordings", "test_recording"), ("clips", "test")):
        shown = build_matrix(best, unit)
        counts = sum(np.array(getattr(c.result, part)["confusion"]) for c in best.cells)
        assert shown.counts == counts.tolist()
        for at, names in shown.names.items():
            i, j = map(int, at.split(","))
            if len(names) < 12:
                assert sum(n for _, n in names) == shown.counts[i][j]
            for path, _ in names:
                assert path.startswith(shown.classes[i])


def test_a_large_matrix_shows_the_classes_with_most_mistakes(
    made: tuple[Path, list[Cell]],
) -> None:
    cell = made[1][0]
    classes = [f"c{i}" for i in range(60)]
    confusion = np.eye(60, dtype=int) * 5
    for i in range(MOST_CLASSES // 2):
        confusion[i, 59 - i] = 1
    result = replace(cell.result, classes=classes, test_recording={"confusion": confusion.tolist()})
    ranking = object.__new__(Ranking)
    object.__setattr__(ranking, "cells", [Cell(cell.trial, training.Run(Path("none")), result)])
    shown = build_matrix(ranking, "recordings")
    assert shown.classes == [c for i, c in enumerate(classes) if i < 20 or i >= 40]
    assert (shown.n_classes, shown.stored, shown.totals[0]) == (60, False, 6)


def test_bins_of_the_reliability_diagram(made: tuple[Path, list[Cell]]) -> None:
    for cell in made[1]:
        assert cell.clips is not None
        rows = bin_confidences(cell.clips)
        for name, key in (("after", "ece"), ("before", "ece_uncalibrated")):
            known = [r[name] for r in rows if r[name]["n"]]
            gaps = [b["n"] * abs(b["confidence"] - b["accuracy"]) for b in known]
            assert sum(gaps) / len(cell.clips) == pytest.approx(cell.result.test[key], abs=1e-4)


def test_names_in_the_picture_of_cost_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    crowd: list[Any] = [
        SimpleNamespace(
            yardstick=OneLabel(),
            cpu_ms=10 ** rng.uniform(0, 0.7),
            main=Spread.of([rng.uniform(0.8, 0.9)]),
            interval=None,
            name=f"model-{i} on mel",
            model=f"model-{i}",
            feature="mel",
        )
        for i in range(16)
    ]
    svg = str(draw_scores_by_cost(crowd))
    assert svg.count("<circle") == 16
    labels = re.findall(r'class="label[^"]*" x="([\d.]+)" y="([\d.]+)">([^<]+)<', svg)
    assert len(labels) >= 8
    boxes = [(float(x), float(y), 6 * len(name)) for x, y, name in labels]
    for i, (x, y, width) in enumerate(boxes):
        assert 0 < x < x + width < 420
        assert 0 < y < 270
        for left, other, wide in boxes[:i]:
            assert abs(y - other) >= 12 or x >= left + wide or left >= x + width


def test_a_store_of_a_stranger_gives_no_file_away(tmp_path: Path) -> None:
    """Heard is only what the store was made of: size and time of the file say so."""
    file = tmp_path / "data/a/1.wav"
    file.parent.mkdir(parents=True)
    soundfile.write(file, np.zeros(16_000), 16_000)
    secret = tmp_path / "home/private.wav"
    secret.parent.mkdir()
    soundfile.write(secret, np.zeros(16_000), 16_000)
    status = file.stat()
    known = {"n_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    store = tiny_store()
    store.about["data"] = str(tmp_path / "data")
    for path in ("a/1.wav", "../home/private.wav", str(secret)):
        store.recordings = [recording(path, "drum", **known)]
        row = PredictionRow(path, "g", "drum", 0.0, "flute", 0.9, 0.1, 0.9)
        mistake = _mistake(row, store, Extractor(PICTURE, threads=1))
        assert (mistake.audio is not None) == (path == "a/1.wav")
    os.utime(file, ns=(0, 0))  # it has changed since
    store.recordings = [recording("a/1.wav", "drum", **known)]
    row = PredictionRow("a/1.wav", "g", "drum", 0.0, "flute", 0.9, 0.1, 0.9)
    assert _mistake(row, store, Extractor(PICTURE, threads=1)).audio is None


def test_mistakes_are_the_most_confident_one_a_recording() -> None:
    def row(
        path: str, probability: float, start: float = 0.0, right: bool = False
    ) -> PredictionRow:
        said = "drum" if right else "flute"
        return PredictionRow(path, "g", "drum", start, said, probability, 0.1, 0.5)

    rows = [row(f"p{i}", 0.5 + i / 100) for i in range(MOST + 5)]
    rows += [row("p3", 0.99, 1.0), row("sure", 1.0, right=True)]
    mistakes = find_confident_mistakes((row for row in rows if not row.right), None)
    assert len(mistakes) == MOST
    assert (mistakes[0].row.path, mistakes[0].row.start_s) == ("p3", 1.0)
    assert [m.row.path for m in mistakes[1:3]] == [f"p{MOST + 4}", f"p{MOST + 3}"]
    assert {m.audio for m in mistakes} == {None}


# --- commands ---


def test_commands_are_accepted_as_they_stand(tmp_path: Path) -> None:
    store: TinyStore = tiny_store()
    spec = FeatureSpec.preset("mel", n_mels=64, fmax_hz=8000.0)
    store.spec, store.feature, store.path = spec, "mel", Path("features/my mel")
    store.about |= {"data": "my data", "clip_s": 1.0, "dtype": "float16"}
    words = shlex.split(write_extract_command(store))
    assert words[:5] == ["audiocls", "extract", "my data", "--feature", "mel"]
    assert sorted(w for w in words if "=" in w) == ["fmax_hz=8000.0", "n_mels=64"]
    assert words[-6:] == ["--clip-s", "1.0", "--dtype", "float16", "--out", "features/my mel"]
    recipe = training.Recipe(epochs=3, mixup=0.123456789, sampler="sqrt")
    command = write_compare_command(
        ["a b"], ["lstm"], recipe, seeds=3, folds=5, group_by="(x) y", device="cpu", out="o"
    )
    words = shlex.split(command)
    for option in (["--group-by", "(x) y"], ["--epochs", "3"], ["--mixup", "0.123456789"]):
        at = words.index(option[0])
        assert words[at : at + 2] == option
    # click knows every option: what it refuses is the store, which is not there.
    refused = CliRunner().invoke(main, words[1:])
    assert refused.exit_code == 2
    assert "'features/a b' is invalid: there is no such folder" in refused.stderr
