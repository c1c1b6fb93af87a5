"""The test out of the domain: what it counts, against counts by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from saved_model import saved

import audiocls
import elsewhere
import orchestra
from audiocls.data.synth import write_dataset


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run of three classes, one of them `unknown`, its held-out recordings, and sources."""
    write_dataset(tmp_path / "data", clips_per_class=4, n_classes=3)
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    names = [*store.classes[:2], "unknown"]
    saved(tmp_path / "run", store, classes=names)
    files = sorted((tmp_path / "data").rglob("*.wav"))
    rows = [(f, f.parent.name) for f in files if f.parent.name in names]
    write(tmp_path / "run/split.csv", ["path", "label", "group", "part"],
          [[f, label, f.name, "test"] for f, label in rows])  # fmt: skip
    columns = ["file_name", "label", "source", "family", "use", "group"]
    for folder, source in (
        ("sources", "font"),
        ("sources/unknown", "unknown"),
        ("sources/melodies", "font"),
    ):
        made = []
        for i, (_, label) in enumerate(rows):
            y = np.random.default_rng(i).standard_normal(16000) * 0.1
            (tmp_path / folder).mkdir(exist_ok=True)
            soundfile.write(tmp_path / folder / f"{i}.wav", y, 16000)
            made.append([f"{i}.wav", label, source, source, "test", label])
        write(tmp_path / folder / "metadata.csv", columns, made)
    for label in names:
        (tmp_path / "sources/gcompris" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "sources/gcompris" / label / "a.ogg", y, 16000)
    return tmp_path


def write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_every_row_of_the_table(place: Path) -> None:
    found = elsewhere.scores(place / "run", place / "sources")
    model = audiocls.Classifier.load(place / "run")
    own = elsewhere.predict_held_out(place / "run")
    p = model.predict_proba([path for path, _ in own])
    labels = np.array([label for _, label in own])
    for i, classes in ((0, model.classes_[:2]), (2, model.classes_)):
        said = np.array(classes)[p[:, : len(classes)].argmax(axis=1)]
        expected = 100 * np.mean([np.mean(said[labels == c] == c) for c in set(labels)])
        assert found["pitches held out, Philharmonia"][i] == pytest.approx(expected)
    closed = p[:, :2] / p[:, :2].sum(axis=1, keepdims=True)
    right = np.array(model.classes_)[closed.argmax(axis=1)] == labels
    bins = np.clip(np.ceil(15 * closed.max(axis=1)), 1, 15)
    gaps = [abs(sum(right[bins == b] - closed.max(axis=1)[bins == b])) for b in range(1, 16)]
    assert found["pitches held out, Philharmonia"].ece == pytest.approx(100 * sum(gaps) / len(p))
    font = "`font`, never heard, 2 classes"
    assert {name for name in found if "never heard, " in name} == {font}
    assert found["mean of these sources"] == found[font]
    assert sum(name.startswith("Philharmonia, ") for name in found) == len(elsewhere.CONDITIONS)
    assert found["melodies of these sources, 2 classes"] == found[font], "the same sounds"
    assert found["recordings by other players, 2 classes"].recording in (0, 50, 100), "one of each"
    # The unknown sounds are the notes themselves: nothing tells them apart.
    assert found["unknown sounds told from sources never heard: AUROC"][0] == pytest.approx(50)
    assert all(0 <= value <= 100 for row in found.values() for value in row if value is not None)


def test_a_model_that_has_heard_every_source(place: Path) -> None:
    notes = elsewhere.never_heard(place / "run", place / "sources")
    with (place / "run/split.csv").open("a", newline="") as file:
        csv.writer(file).writerows([n["path"], n["label"], "", "train"] for n in notes)
    with pytest.raises(SystemExit, match="it has heard every source; leave one out"):
        elsewhere.scores(place / "run", place / "sources")


def test_sources_of_before_there_were_melodies(place: Path) -> None:
    shutil.rmtree(place / "sources/gcompris")
    with pytest.raises(SystemExit, match=r"no gcompris here; call render_sources\.py .* again"):
        elsewhere.scores(place / "run", place / "sources")


def test_recordings_that_are_not_here(tmp_path: Path) -> None:
    rows: list[list[object]] = [["oboe/a.mp3", "oboe", "oboe/A4", "test"]]
    write(tmp_path / "split.csv", ["path", "label", "group", "part"], rows)
    with pytest.raises(SystemExit, match=r"no oboe/a\.mp3 here; call this from the folder"):
        elsewhere.predict_held_out(tmp_path)


def test_a_note_with_a_relative_that_trained_has_been_heard(tmp_path: Path) -> None:
    columns = ["file_name", "label", "source", "family", "use", "group"]
    rows = [
        ["a.wav", "oboe", "large", "large+small", "train", "oboe"],
        ["b.wav", "oboe", "small", "large+small", "test", "oboe"],
        ["c.wav", "flute", "small", "small", "test", "flute"],
        ["d.wav", "flute", "other", "larger+other", "test", "flute"],
    ]
    write(tmp_path / "metadata.csv", columns, rows)
    split = [[tmp_path / "b.wav", "oboe", "oboe/A4", "train"], ["f.mp3", "flute", "f", "test"]]
    for heard, left in (
        (split, ["c.wav", "d.wav"]),
        (split[1:], ["a.wav", "b.wav", "c.wav", "d.wav"]),
    ):
        write(tmp_path / "split.csv", ["path", "label", "group", "part"], heard)
        notes = elsewhere.never_heard(tmp_path, tmp_path)
        assert [Path(note["path"]).name for note in notes] == left


def test_a_source_left_out_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ["file_name", "label", "source", "family", "use", "group"]
    notes = [
        ["a.wav", "oboe", "large", "large+small", "train", "oboe"],
        ["b.wav", "oboe", "small", "large+small", "train", "oboe"],
        ["c.wav", "oboe", "third", "third", "test", "oboe"],
        ["d.wav", "flute", "small", "small+third", "train", "flute"],
    ]
    sounds = [
        ["piano.wav", "piano", "small", "large+small", "train", "piano"],
        ["harp.wav", "harp", "small", "small", "train", "harp"],
    ]
    for folder, rows in (("s", notes), ("s/unknown", sounds)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "metadata.csv", columns, rows)
    (tmp_path / "p/oboe").mkdir(parents=True)
    files = [f"oboe_{pitch}4_1_forte_normal.mp3" for pitch in "ABCDEFG"]
    for name in files:
        (tmp_path / "p/oboe" / name).write_bytes(b"sound")
    (tmp_path / "p/oboe/oboe_A5_1_forte_normal.mp3").touch()  # without content, and so left out
    given = ["orchestra.py", *(str(tmp_path / name) for name in ("p", "s", "out.csv"))]

    def manifest(*options: str) -> list[tuple[str, str]]:
        monkeypatch.setattr("sys.argv", [*given, *options])
        orchestra.main()
        with (tmp_path / "out.csv").open(newline="") as file:
            return [(Path(row["path"]).name, row["label"]) for row in csv.DictReader(file)]

    own, harp = [(name, "oboe") for name in files], ("harp.wav", "unknown")
    notes = [("a.wav", "oboe"), ("b.wav", "oboe"), ("d.wav", "flute")]
    assert manifest() == [*own, *notes, ("piano.wav", "unknown"), harp]
    assert manifest("--without", "large") == [*own, ("d.wav", "flute"), harp]
    third = [
        *own,
        *notes[:2],
        ("c.wav", "oboe"),
        ("d.wav", "flute"),
        ("piano.wav", "unknown"),
        harp,
    ]
    assert manifest("--use", "all") == third
    assert manifest("--use", "all", "--without", "third") == [*own, *notes[:2], *third[-2:]]
    for name in ("third", "unknown"):
        with pytest.raises(SystemExit):
            manifest("--without", name)
        assert f"--without {name}: no source" in capsys.readouterr().err
