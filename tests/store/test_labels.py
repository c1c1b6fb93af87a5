"""Several labels a clip: how a data set says them, and what a store makes of them."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import audiocls
from audiocls.cli import main
from audiocls.errors import DataError, SettingError
from audiocls.store.summary import summarise

ROWS = {"a": "dog;bird", "b": "dog", "c": " bird ; rain ", "d": "rain;rain", "e": "dog;;rain"}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Five seconds of noise, and a table that says what is in them."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ROWS:
        samples = (rng.normal(0, 3000, 16_000)).astype("<i2")
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.tobytes())
    rows = "".join(f"{name}.wav,{label}\n" for name, label in ROWS.items())
    (folder / "metadata.csv").write_text(f"file_name,label\n{rows}")
    return folder


def extract(scenes: Path, **settings: Any) -> audiocls.Store:
    settings = {"feature": "mel-16k", "label_separator": ";"} | settings
    return audiocls.extract(scenes, out=scenes.parent / "store", accept_failures=True, **settings)


def test_the_cells_of_a_table_are_several_labels(scenes: Path) -> None:
    store = extract(scenes)
    assert store.task == "several"
    assert store.about["label_separator"] == ";"
    assert store.classes == ["bird", "dog", "rain"]
    expected = {"a": [1, 1, 0], "b": [0, 1, 0], "c": [1, 0, 1], "d": [0, 0, 1]}
    found = {}
    for r, row in zip(store.clip_recording, store.label_matrix, strict=True):
        found.setdefault(store.recordings[r].path[0], set()).add(tuple(row.astype(int).tolist()))
    assert found == {name: {tuple(row)} for name, row in expected.items()}
    assert store[0][1].dtype == np.bool_
    with pytest.raises(SettingError, match="several labels a clip"):
        store.labels  # noqa: B018
    failed = [r for r in store.recordings if r.status == "failed"]
    assert [(r.path, r.error) for r in failed] == [
        ("e.wav", "label 'dog;;rain': one side of ';' is empty")
    ]


def test_a_store_of_one_label_is_as_it_was(scenes: Path) -> None:
    store = extract(scenes, label_separator=None)
    assert store.task == "one"
    assert not {"task", "label_separator"} & store.about.keys()
    assert store.classes == sorted(label.strip() for label in ROWS.values())
    assert (store.label_matrix.argmax(axis=1) == store.labels).all()
    assert (store.label_matrix.sum(axis=1) == 1).all()


def test_going_on_with_another_separator_is_refused(scenes: Path) -> None:
    extract(scenes)
    with pytest.raises(SettingError, match="label_separator ';', now ','"):
        extract(scenes, label_separator=",")


@pytest.mark.parametrize("separator", ["", "a", "; or "])
def test_a_separator_that_could_stand_in_a_label_is_refused(scenes: Path, separator: str) -> None:
    with pytest.raises(SettingError, match="label_separator"):
        extract(scenes, label_separator=separator)


def test_parts_of_several_labels_join(scenes: Path) -> None:
    whole = extract(scenes)
    out = scenes.parent / "parts"
    for number in (1, 2):
        audiocls.store.extraction.extract_part(
            scenes, "mel-16k", out, shard=(number, 2), label_separator=";"
        )
    joined = audiocls.store.parts.merge(out)
    assert joined.about == whole.about
    assert (joined.label_matrix == whole.label_matrix).all()


def test_a_class_that_is_lost_is_named(scenes: Path) -> None:
    for name in "cd":
        (scenes / f"{name}.wav").write_bytes(b"")
    with pytest.raises(DataError, match="all of class rain among them"):
        audiocls.extract(scenes, "mel-16k", scenes.parent / "lost", label_separator=";")


def test_info_counts_each_label(scenes: Path) -> None:
    result = CliRunner().invoke(main, ["info", str(scenes), "--label-separator", ";", "--json"])
    assert result.exit_code == 0, result.output
    counts = {c["label"]: c["recordings"] for c in json.loads(result.stdout)["classes"]}
    assert counts == {"bird": 2, "dog": 3, "rain": 3, "": 1}
    summary = summarise(extract(scenes).path)
    assert {c.label: c.recordings - c.failed for c in summary.classes if c.label} == {
        "bird": 2,
        "dog": 2,
        "rain": 2,
    }
