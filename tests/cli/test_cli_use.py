"""`audiocls predict`, `stream`, `evaluate`: a saved model on the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from saved_model import saved

import audiocls
from audiocls.cli import main
from audiocls.data.synth import write_dataset
from audiocls.inference.stream import Stream, read_pcm

RATE = 12_000  # of the preset mfcc


def call(*args: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args], input=stdin)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, its store, and a model of it."""
    folder = tmp_path_factory.mktemp("place")
    write_dataset(folder / "data", clips_per_class=6, n_classes=3)
    store = audiocls.extract(folder / "data", "mfcc", folder / "store")
    saved(folder / "model", store)
    noise = np.random.default_rng(1).normal(0, 0.2, 3 * RATE + 500)
    soundfile.write(folder / "noise.wav", noise, RATE, subtype="PCM_16")
    return folder


# --- predict ---


def test_predict_json_has_every_recording_in_order(place: Path) -> None:
    run = call("predict", place / "model", place / "data", place / "noise.wav", "--json")
    assert run.exit_code == 0, run.stderr
    rows = json.loads(run.stdout)
    failed = [row for row in rows if row["error"]]
    assert [Path(row["path"]).name for row in failed] == sorted(
        f"broken-{what}.wav" for what in ("empty", "nan", "no-samples", "not-audio")
    )
    assert failed[0]["error"] == "is empty (0 bytes)"
    assert f"4 of {len(rows)} recordings failed" in run.stderr
    last = rows[-1]
    classifier = audiocls.Classifier.load(place / "model")
    expected = classifier.predict_proba([place / "noise.wav"])[0]
    assert last["label"] == classifier.classes_[expected.argmax()]
    assert [t["probability"] for t in last["top"]] == pytest.approx(sorted(expected)[::-1])
    assert last["segments"][-1]["end_s"] == 3.0
    assert call("predict", place / "model", place / "data", "--strict").exit_code == 1


def test_predict_takes_patterns_and_writes_csv(place: Path) -> None:
    pattern = place / "data" / "*" / "*-flute*.wav"
    run = call("predict", place / "model", pattern, "--format", "csv", "--threshold", "1.5")
    assert run.exit_code == 0, run.stderr
    rows = list(csv.DictReader(io.StringIO(run.stdout)))
    assert len({row["path"] for row in rows}) == len(list(place.glob("data/*/*-flute*.wav"))) > 2
    assert {row["row"] for row in rows} == {"recording", "segment"}
    assert {row["label"] for row in rows} == {"unknown"}


def test_predict_writes_a_label_track(place: Path) -> None:
    args = ("--format", "audacity", "--hop-s", "0.1")
    run = call("predict", place / "model", place / "noise.wav", *args)
    labels = [line.split("\t") for line in run.stdout.splitlines()]
    assert float(labels[0][0]) == 0.0
    assert all(float(a) < float(b) and name for a, b, name in labels)
    two = call("predict", place / "model", place / "noise.wav", place / "noise.wav", *args)
    assert (two.exit_code, two.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("predict nowhere noise.wav", 1, "'nowhere' holds no model"),
        ("predict model noise.wav --format xml", 2, "choose from table, json, jsonl, csv"),
        ("predict model noise.wav --hop-s -1", 2, "--hop-s -1 is invalid"),
        ("predict model empty-folder", 1, "no recordings there"),
        ("predict model none*.wav", 1, "no recordings there"),
        ("stream model --sample-type int8", 2, "int16"),
        ("stream model --rate 7", 2, "sample_rate 7 is invalid"),
        ("evaluate model", 2, "one of the two"),
        ("evaluate model nowhere", 2, "there is no such file or folder"),
        ("evaluate model data --unknown", 2, "--threshold"),
        ("evaluate model data --group-by pitch", 2, "--group-by 'pitch'"),
    ],
)
def test_bad_input_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, args: str, code: int, message: str
) -> None:
    monkeypatch.chdir(place)
    (place / "empty-folder").mkdir(exist_ok=True)
    run = call(*args.split(), stdin=b"\0\0" * 9000)
    assert (run.exit_code, message in run.stderr) == (code, True), run.output
    assert run.stderr.count("\n") == 1


def test_a_file_that_is_no_recording_is_a_row_and_nothing_usable_is_1(place: Path) -> None:
    run = call("predict", place / "model", "no-such.mp3", place / "store")
    assert run.exit_code == 1
    run = call("predict", place / "model", "no-such.mp3", place / "store" / "store.json")
    assert run.exit_code == 1
    assert "no-such.mp3: failed: No such file or directory" in run.stdout
    assert "2 of 2 recordings failed" in run.stderr


# --- stream ---


def pcm(file: Path) -> bytes:
    samples, _ = soundfile.read(file, dtype="int16")
    return bytes(samples.tobytes())


@pytest.mark.parametrize("hop_s", [None, 0.11])
def test_a_stream_says_what_predict_says(place: Path, hop_s: float | None) -> None:
    file = place / "noise.wav"
    extra = [] if hop_s is None else ["--hop-s", str(hop_s)]
    run = call("stream", place / "model", "--json", *extra, stdin=pcm(file))
    assert run.exit_code == 0, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    (whole,) = audiocls.Classifier.load(place / "model").recordings([file], hop_s)
    assert not isinstance(whole, Exception)
    np.testing.assert_allclose([r["start_s"] for r in rows], whole.starts_s)
    np.testing.assert_allclose(
        [r["probability"] for r in rows], whole.probabilities.max(axis=1), atol=1e-5
    )


@pytest.mark.parametrize("sample_type", ["int16", "int32", "float32"])
def test_samples_of_any_type_rate_and_cut(place: Path, tmp_path: Path, sample_type: str) -> None:
    """Two channels at 44.1 kHz, in pieces of any length: as the same samples in a file."""
    rng = np.random.default_rng(2)
    values = rng.integers(-8000, 8000, (44_100 * 2, 2)).astype(np.int16)
    soundfile.write(tmp_path / "two.wav", values, 44_100)
    scaled = {"int16": values, "int32": values.astype("<i4") << 16, "float32": values / 32768.0}
    raw = scaled[sample_type].astype({"int16": "<i2", "int32": "<i4"}.get(sample_type, "<f4"))
    data, pieces = raw.tobytes(), []

    class Pipe(io.BytesIO):
        def read1(self, n: int | None = -1) -> bytes:
            return super().read1(int(rng.integers(1, 5000)))

    classifier = audiocls.Classifier.load(place / "model")
    stream = Stream(classifier, 44_100, hop_s=0.05)
    for piece in read_pcm(Pipe(data), sample_type, 2):
        pieces += stream.push(piece)
    pieces += stream.finish()
    (whole,) = classifier.recordings([tmp_path / "two.wav"], 0.05)
    assert not isinstance(whole, Exception)
    np.testing.assert_allclose([p.start_s for p in pieces], whole.starts_s)
    np.testing.assert_allclose(
        [p.probability for p in pieces], whole.probabilities.max(axis=1), atol=1e-5
    )


def test_what_was_said_before_a_broken_stream_stays(place: Path) -> None:
    half = call("stream", place / "model", stdin=pcm(place / "noise.wav") + b"\0")
    assert (half.exit_code, len(half.stdout.splitlines())) == (1, 6)
    assert "ends within a sample: 1 of 2 bytes" in half.stderr
    samples = np.zeros(RATE, "<f4")
    samples[-1] = np.nan
    nan = call("stream", place / "model", "--sample-type", "float32", stdin=samples.tobytes())
    assert (nan.exit_code, len(nan.stdout.splitlines())) == (1, 1)
    assert "must be finite" in nan.stderr
    assert f"sample {RATE - 1}" in nan.stderr
    assert "Traceback" not in nan.output
    nothing = call("stream", place / "model", stdin=b"")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "holds no samples" in nothing.stderr


def test_a_closed_pipe_ends_a_stream_quietly(place: Path) -> None:
    line = f"{sys.executable} -m audiocls stream {place / 'model'} --hop-s 0.01 | head -n 2"
    run = subprocess.run(
        ["bash", "-c", line], input=pcm(place / "noise.wav") * 50, capture_output=True, check=False
    )
    assert run.returncode == 0
    assert len(run.stdout.splitlines()) == 2
    assert b"Traceback" not in run.stderr


# --- evaluate ---


def test_evaluate_agrees_on_a_store_and_its_recordings(place: Path) -> None:
    by_data = json.loads(call("evaluate", place / "model", place / "data", "--json").stdout)
    by_store = json.loads(
        call("evaluate", place / "model", "--features", place / "store", "--json").stdout
    )
    assert len(by_data["failed"]) == len(by_store["failed"]) == 4
    for part in ("clip", "recording"):
        assert by_data[part]["confusion"] == by_store[part]["confusion"]
    assert by_data["recording"]["n"] < by_data["clip"]["n"]
    low, high = by_data["recording"]["interval_95"]["accuracy"]
    assert low <= by_data["recording"]["accuracy"] <= high
    sure = [m["probability"] for m in by_data["mistakes"]]
    assert sure == sorted(sure, reverse=True)
    assert all(m["label"] != m["predicted"] for m in by_data["mistakes"])


def test_classes_are_matched_by_name(place: Path, tmp_path: Path) -> None:
    """A data set with a class more, which comes first: every index is another."""
    other = tmp_path / "other"
    for source in (place / "data").iterdir():
        if source.is_dir():
            (other / source.name).parent.mkdir(exist_ok=True)
            (other / source.name).symlink_to(source)
    (other / "a-gong").mkdir()
    soundfile.write(other / "a-gong" / "1.wav", np.full(RATE, 0.1), RATE)
    known = json.loads(call("evaluate", place / "model", place / "data", "--json").stdout)
    run = call("evaluate", place / "model", other, "--json")
    found = json.loads(run.stdout)
    assert found["unknown_labels"] == {"a-gong": 1}
    assert found["recording"]["confusion"] == known["recording"]["confusion"]
    text = call("evaluate", place / "model", other)
    assert "does not know 'a-gong': 1 recordings left out" in text.stderr

    args = ("--unknown", "--threshold", "1.1", "--json")
    refused: dict[str, Any] = json.loads(call("evaluate", place / "model", other, *args).stdout)
    assert refused["classes"][-1] == "unknown"
    n = known["recording"]["n"]
    assert refused["recording"]["n"] == n + 1
    assert refused["recording"]["accuracy"] == pytest.approx(1 / (n + 1))


def test_a_class_named_unknown_answers_no_question_about_the_others(
    place: Path, tmp_path: Path
) -> None:
    store = audiocls.open_store(place / "store")
    first, second, third = store.classes
    classes = [first, second, "unknown"]  # `third` is a label that it does not know
    saved(tmp_path / "model", store, classes=classes, threshold=0.68)
    model = audiocls.Classifier.load(tmp_path / "model")
    paths = [p for p in sorted((place / "data").rglob("*.wav")) if "broken" not in p.name]
    labels = np.array([p.parent.name for p in paths])
    p = model.predict_proba(paths)
    known = np.isin(labels, classes)

    closed: dict[str, Any] = json.loads(
        call("evaluate", tmp_path / "model", place / "data", "--json").stdout
    )
    said = np.array([first, second])[p[known][:, :2].argmax(axis=1)]
    assert closed["classes"] == [first, second]
    assert closed["unknown_labels"] == {third: (~known).sum()}
    assert closed["recording"]["accuracy"] == np.mean(said == labels[known])
    given = p[known][:, :2] / p[known][:, :2].sum(axis=1, keepdims=True)
    right = given[np.arange(len(given)), (labels[known] == second).astype(int)]
    assert closed["recording"]["nll"] == pytest.approx(-np.log(right).mean())

    sure = p[:, 2] <= 1 - 0.68
    assert 0 < sure[known].mean() < 1
    best = np.array(classes)[p[:, :2].argmax(axis=1)]
    expected = {
        "threshold": 0.68,
        "share": sure[known].mean(),
        "accuracy": np.mean((best == labels)[known & sure]),
    }
    assert closed["answered"] == pytest.approx(expected)
    text = call("evaluate", tmp_path / "model", place / "data").stdout
    assert f"threshold 0.68: {expected['share']:.1%} of the recordings" in text

    opened = json.loads(
        call("evaluate", tmp_path / "model", place / "data", "--unknown", "--json").stdout
    )
    assert opened["classes"] == [first, second, "unknown"]
    answers = np.where(sure, best, "unknown")
    expected_right = answers == np.where(known, labels, "unknown")
    assert opened["recording"]["accuracy"] == pytest.approx(expected_right.mean())
    assert opened["answered"] == pytest.approx(expected)


def test_a_store_of_other_features_is_refused(place: Path, tmp_path: Path) -> None:
    audiocls.extract(place / "data", "mel", tmp_path / "mel")
    run = call("evaluate", place / "model", tmp_path / "mel")
    assert run.exit_code == 2
    assert "spec is not that of the model" in run.stderr


# --- every command ---


def test_audiocls_alone_shows_the_path_from_folder_to_answer() -> None:
    run = call()
    assert run.exit_code == 0
    for command in ("audiocls extract", "audiocls train", "audiocls predict"):
        assert command in run.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    run = call("completion", shell)
    assert run.exit_code == 0
    assert "_AUDIOCLS_COMPLETE" in run.stdout
    asked = subprocess.run(
        [sys.executable, "-c", "from audiocls.cli import main; main(prog_name='audiocls')"],
        env=os.environ | {
            "_AUDIOCLS_COMPLETE": "bash_complete", "COMP_WORDS": "audiocls ev", "COMP_CWORD": "1"
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert asked.stdout.split() == ["plain,evaluate"], asked.stderr
