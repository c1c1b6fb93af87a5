"""From a fresh folder to scores: annotated soundscapes, and the layouts of well-known data sets."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sounds import RATE, tone, write

from audiocls.cli import main
from audiocls.store.store import open_store


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four minutes in four files, with events of two classes that overlap, also those of one; a
    Raven table and an Audacity track of each.
    """
    folder = tmp_path_factory.mktemp("soundscapes")
    for site in range(4):
        rng = np.random.default_rng(site)
        samples = 0.01 * rng.standard_normal(60 * RATE)
        events = []
        for hz, label in ((600, "owl"), (2500, "frog")):
            for start in np.sort(rng.uniform(0, 57, 12)).round(3):
                end = round(start + rng.uniform(0.6, 2.5), 3)
                first, last = round(start * RATE), round(end * RATE)
                samples[first:last] += tone((last - first) / RATE, hz, seed=site)
                events.append((float(start), end, label))
        write(folder / f"audio/site{site}.wav", samples)
        raven = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tSpecies\n"
        for n, (start, end, label) in enumerate(sorted(events), 1):
            for view in ("Waveform 1", "Spectrogram 1"):
                raven += f"{n}\t{view}\t1\t{start}\t{end}\t300\t{label}\n"
        rows = "".join(f"{start}\t{end}\t{label}\n\\\t300\t4000\n" for start, end, label in events)
        for name in ("raven", "audacity"):
            (folder / name).mkdir(exist_ok=True)
        (folder / f"raven/site{site}.Table.1.selections.txt").write_text(raven)
        (folder / f"audacity/site{site}.txt").write_text(rows)
    return folder


def test_annotated_soundscapes(soundscapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(soundscapes)
    labels = ["--background", "quiet", "--annotations"]
    cut = ["--feature", "mel-16k", "--clip-s", 0.4, "--hop-s", 0.2]
    for form in ("raven", "audacity"):
        run("extract", "audio", *labels, form, *cut, "--out", form + "-store")
    store, other = open_store("raven-store"), open_store("audacity-store")
    assert store.task == "several"
    assert store.classes == ["frog", "owl", "quiet"]
    np.testing.assert_array_equal(store.label_matrix, other.label_matrix)
    shown = json.loads(run("info", "raven-store", "--json").stdout)
    assert sum(c["events"] for c in shown["classes"]) == 96
    run("train", "--features", "raven-store", "--model", "compact", "--epochs", 12, "--out", "run",
        "--device", "cpu", "--precision", "float32")  # fmt: skip
    found = run("evaluate", "run", "audio", *labels, "audacity", "--json")
    assert "3 of 4 recordings trained this model" in found.stderr
    scores = json.loads(found.stdout)
    assert scores["events"]["event"]["f1"] > 0.9
    assert scores["events"]["segment"]["f1"] > 0.95
    assert scores["events"]["psds"]["psds1"] > 0.8
    assert scores["events"]["psds"]["psds2"] > 0.9
    assert scores["clip"]["map"] > 0.95


def test_soundscapes_of_one_label_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for site in range(6):
        y, rows = rng.normal(0, 1e-3, 20 * RATE), []
        for i in range(8):
            label, pitch = (("frog", 600), ("owl", 1900))[i % 2]
            start = 0.6 + 2.4 * i + 0.2 * rng.integers(3)
            note = tone(1.2, pitch, seed=site)
            y[round(start * RATE) : round(start * RATE) + len(note)] += note
            rows.append(f"{start:.3f}\t{start + 1.2:.3f}\t{label}\n")
        write(tmp_path / f"audio/site{site}.wav", y)
        (tmp_path / f"audio/site{site}.txt").write_text("".join(rows))
    labels = ["--background", "quiet"]
    run("extract", "audio", *labels, "--feature", "mel-16k", "--clip-s", 0.4, "--hop-s", 0.2,
        "--out", "store")  # fmt: skip
    assert open_store("store").task == "one"
    run("train", "--features", "store", "--model", "compact", "--epochs", 12, "--out", "run",
        "--device", "cpu", "--precision", "float32")  # fmt: skip
    result = run("evaluate", "run", "audio", *labels, "--json")
    scores = json.loads(result.stdout)
    assert scores["recording"]["balanced_accuracy"] > 0.95
    events = scores["events"]
    assert set(events["event"]["per_class"]) == {"frog", "owl"}
    assert events["event"]["n"] == 48
    assert events["event"]["f1"] > 0.9
    assert events["segment"]["f1"] > 0.9
    assert events["psds"]["psds2"] > 0.9
    assert "PSDS1" in run("evaluate", "run", "audio", *labels).stdout
    (said,) = json.loads(run("predict", "run", "audio/site0.wav", "--format", "json").stdout)
    assert sum(s["label"] == "frog" for s in said["segments"]) == 4


def layout(name: str, folder: Path) -> list[str]:
    """Makes the layout of a data set in `folder`; the one option that it needs."""
    rows: list[list[object]]
    if name == "ESC-50":
        rows = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
        for k, word in enumerate(("dog", "rain", "clock")):
            for fold in range(1, 6):
                file = f"{fold}-{1000 + fold}-A-{k}.wav"
                write(folder / "audio" / file, tone(0.5, 300 * (k + 1), seed=fold))
                rows.append([file, fold, k, word, "False", 1000 + fold, "A"])
        table, option = folder / "meta/esc50.csv", ["--table", "meta/esc50.csv"]
    elif name == "UrbanSound8K":
        rows = [["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]]
        for k, word in enumerate(("dog", "rain", "clock")):
            for i in range(6):
                file = f"{100 + i}-{k}-0-{i}.wav"
                write(folder / f"audio/fold{1 + i % 3}" / file, tone(0.5, 300 * (k + 1), seed=i))
                rows.append([file, 100 + i, 20.5 * i, 20.5 * i + 4, 1, 1 + i % 3, k, word])
        table = folder / "metadata/UrbanSound8K.csv"
        option = ["--table", "metadata/UrbanSound8K.csv"]
    elif name == "RAVDESS":
        for actor in range(1, 5):
            for emotion in (1, 3, 5):
                file = f"Actor_{actor:02}/03-01-{emotion:02}-01-01-01-{actor:02}.wav"
                write(folder / file, tone(0.5, 300 * emotion, seed=actor))
        return ["--label-by", "/[0-9]+-[0-9]+-([0-9]+)-"]
    else:
        for word in ("yes", "no", "up"):
            for i in range(5):
                write(folder / word / f"{i:08x}_nohash_0.wav", tone(0.5, 300 * len(word), seed=i))
        write(folder / "_background_noise_/hum.wav", tone(3, 50))
        (folder / "validation_list.txt").write_text("yes/00000000_nohash_0.wav\n")
        return ["--exclude", "_background_noise_"]
    table.parent.mkdir(parents=True)
    with table.open("w", newline="") as text:
        csv.writer(text).writerows(rows)
    return option


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("ESC-50", {"dog": 5, "rain": 5, "clock": 5}),
        ("UrbanSound8K", {"dog": 6, "rain": 6, "clock": 6}),
        ("RAVDESS", {"01": 4, "03": 4, "05": 4}),
        ("Speech Commands", {"yes": 5, "no": 5, "up": 5}),
    ],
)
def test_layouts_of_data_sets_need_one_option(
    name: str, classes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = layout(name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    shown = json.loads(run("info", name, *option, "--json").stdout)
    assert {c["label"]: c["recordings"] for c in shown["classes"]} == classes
    run("train", name, *option, "--model", "lstm", "--feature", "mel-16k", "--epochs", 1,
        "--out", "run", "--device", "cpu")  # fmt: skip
    scores = json.loads((tmp_path / "run/metrics.json").read_text())
    assert scores["classes"] == sorted(classes)
    found = json.loads(run("evaluate", "run", name, *option, "--json").stdout)
    assert found["recording"]["n"] == sum(classes.values())


@pytest.mark.usefixtures("no_graph")
@pytest.mark.parametrize("how", ["folder", "table"])
def test_a_class_in_latin_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """As unzip leaves a name of Windows, or a table: it is learned, and said again."""
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate((b"Fl\xf6te", b"Horn")):
        for i in range(8):
            sound = tone(0.6, 300 + 900 * k, seed=i)
            write(Path(os.fsdecode(b"data/" + name)) / f"{i}.wav", sound)
    options: list[str] = []
    if how == "table":
        Path(os.fsdecode(b"data/Fl\xf6te")).rename("data/a")
        rows = "".join(f"a/{i}.wav,Flöte\nHorn/{i}.wav,Horn\n" for i in range(8))
        Path("data/t.csv").write_text("file_name,label\n" + rows, encoding="latin-1")
        failed = CliRunner().invoke(main, ["extract", "data/t.csv", "--out", "store"])
        assert failed.exit_code == 1
        assert "--encoding, for instance latin-1" in failed.stderr.splitlines()[-1]
        options = ["--encoding", "latin-1"]
    data = "data/t.csv" if how == "table" else "data"
    run("extract", data, *options, "--feature", "mel-16k", "--clip-s", 0.5, "--out", "store")
    train = ["train", "--features", "store", "--model", "lstm", "--epochs", 2, "--out", "run"]
    run(*train)
    run(*train, "--resume")
    label = "Flöte" if how == "table" else "Fl\\xf6te"
    said = json.loads(run("predict", "run", "data/Horn/1.wav", "--threshold", 0, "--json").stdout)
    top = [row["label"] for row in said[0]["top"]]
    assert sorted(top) == [label, "Horn"]
    assert label in run("info", "run").stdout
    run("evaluate", "run", data, *options)
