"""Several labels at once, the whole way: extract, train, predict, evaluate, stream, export."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet
import pytest
import soundfile
from click.testing import CliRunner, Result
from scenes import NOTHING, RATE, TONES, draw_events, scene, write_scenes

import audiocls
from audiocls.cli import main
from audiocls.data.annotations import Event, read_annotations
from audiocls.inference.predict import Classifier

CLASSES = sorted((*TONES, NOTHING))


def run(*arguments: object, **options: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)), **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes, a store of them and a model."""
    root = tmp_path_factory.mktemp("several")
    write_scenes(root / "scenes", n=60)
    store = root / "store"
    cut = ("--clip-s", "0.25", "--hop-s", "0.25", "--label-separator", ";")
    result = run("extract", root / "scenes", "--feature", "mel-16k", "--out", store, *cut)
    assert result.exit_code == 0, result.output
    # What takes bands out of features would take whole tones.
    off = [x for name in ("mel-band", "mel-noise", "mel-shift", "freq-mask", "mixup")
           for x in (f"--{name}", "0")]  # fmt: skip
    options = ("--epochs", "15", "--lr", "0.01", "--ema", "0.9", *off)
    result = run(
        "train",
        "--model",
        "compact",
        "--features",
        store,
        "--out",
        root / "run",
        *options,
        "--json",
    )
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["task"] == "several"
    assert metrics["test"]["map"] > 0.95
    return root


@pytest.fixture(scope="module")
def long_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of 12 s with overlapping events, and what Raven says of them."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(7)
    for name in ("a", "b"):
        events = draw_events(rng, 12.0)
        soundfile.write(folder / f"{name}.wav", scene(events, 12.0, 3), RATE)
        rows = [f"{e.start_s}\t{e.end_s}\t{e.label}\n" for e in events]
        (folder / f"{name}.txt").write_text("".join(rows))
    return folder


def test_a_table_for_people(place: Path) -> None:
    y = scene([Event(0.0, 2.0, "bell"), Event(1.0, 2.0, "hum")], 3.0, 1)
    soundfile.write(place / "one.wav", y, RATE)
    result = run("predict", place / "run", place / "one.wav")
    first, *rows = result.stdout.splitlines()
    assert "bell" in first
    assert "hum" in first
    assert "whistle" not in first
    found = {row.split()[-1]: (float(row.split()[0]), float(row.split()[2])) for row in rows}
    assert found["bell"] == pytest.approx((0.0, 2.0), abs=0.3)
    assert found["hum"] == pytest.approx((1.0, 2.0), abs=0.3)


def test_python_gives_all_labels_of_paths_bytes_and_files(place: Path) -> None:
    classifier = audiocls.Classifier.load(place / "run")
    y = scene([Event(0.0, 2.0, "bell"), Event(0.0, 2.0, "hum")], 2.0, 1)
    data = io.BytesIO()
    soundfile.write(data, y, RATE, format="WAV", subtype="FLOAT")
    path = place / "two.wav"
    path.write_bytes(data.getvalue())
    data.seek(0)
    sources = [path, data.getvalue(), data, y]
    labels = classifier.predict(sources)
    assert [sorted(own) for own in labels] == [["bell", "hum"]] * 4
    p = classifier.predict_proba([path, data.getvalue(), y])
    assert (p[0] == p[1]).all()
    np.testing.assert_allclose(p[0], p[2], atol=1e-6)
    with path.open("rb") as file:
        assert classifier.predict([file]) == [labels[0]]
    with (
        path.open("r", encoding="latin-1") as text,
        pytest.raises(audiocls.errors.SettingError, match="rb"),
    ):
        classifier.predict([text])
    spans = {s.label: (s.start_s, s.end_s) for s in classifier.timeline(y)}
    assert spans == {"bell": (0.0, 2.0), "hum": (0.0, 2.0)}


def test_limits_differ_by_class(place: Path) -> None:
    classifier = Classifier.load(place / "run")
    y = scene([Event(0.0, 2.0, "bell"), Event(1.0, 1.5, "hum")], 2.0, 1)
    (found,) = classifier.recordings([y])

    def labels(**limits: object) -> list[str]:
        return sorted(s.label for s in found.segments(classifier.limits(**limits)))

    assert labels() == ["bell", "hum"]
    assert labels(least_s={"hum": 1.0}) == ["bell"]
    assert labels(threshold={"bell": 1.1}) == ["hum"]
    assert labels(smooth_s=1.5) == ["bell"]
    result = run("predict", place / "run", place / "one.wav", "--threshold", "bel=0.5")
    assert result.exit_code == 2
    assert "'bel'" in result.output


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_documents_of_programs(place: Path, form: str) -> None:
    result = run("predict", place / "run", place / "scenes", "--format", form)
    assert result.exit_code == 0, result.output
    rows = (
        json.loads(result.stdout)
        if form == "json"
        else [json.loads(line) for line in result.stdout.splitlines()]
    )
    assert len(rows) == 60
    with (place / "scenes" / "metadata.csv").open() as file:
        truth = {row["file_name"]: set(row["label"].split(";")) for row in csv.DictReader(file)}
    right = sum(
        {x["label"] for x in row["labels"]} == truth[Path(row["path"]).name] for row in rows
    )
    assert right > 54
    assert all(len(row["top"]) == 3 and row["error"] is None for row in rows)


def test_all_probabilities_of_every_clip(place: Path) -> None:
    scenes, out = place / "scenes", place / "clips.parquet"
    result = run("predict", place / "run", scenes, "--clips", "--out", out)
    assert result.exit_code == 0, result.output
    table = pyarrow.parquet.read_table(out).to_pylist()
    assert len(table) == 60 * 4
    assert list(table[0]) == ["path", "start_s", "end_s", *CLASSES]
    text = run("predict", place / "run", scenes, "--clips").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["path"] for row in rows] == [row["path"] for row in table]
    for name in ("start_s", "end_s", *CLASSES):
        found = [float(row[name]) for row in rows]
        np.testing.assert_allclose(found, [row[name] for row in table], atol=1e-6)
    classifier = Classifier.load(place / "run")
    (one,) = classifier.recordings([str(scenes / "003.wav")])
    own = [[row[name] for name in CLASSES] for row in table if row["path"].endswith("003.wav")]
    np.testing.assert_allclose(own, one.probabilities, atol=1e-6)


@pytest.mark.parametrize(("form", "suffix"), [("raven", ".selections.txt"), ("audacity", ".txt")])
def test_tables_of_other_programs_come_back(
    place: Path, long_scenes: Path, tmp_path: Path, form: str, suffix: str
) -> None:
    """Each recording has its own, which a second call leaves as it is."""
    out = tmp_path / "tables"
    (tmp_path / "more").mkdir()
    for name in "ab":
        (tmp_path / "more" / f"{name}.wav").hardlink_to(long_scenes / f"{name}.wav")
    arguments = ("predict", place / "run", tmp_path / "more", "--format", form, "--out", out)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    classifier = Classifier.load(place / "run")
    for name in "ab":
        table = read_annotations(out / f"{name}.wav{suffix}")
        assert table is not None
        assert table.form.lower() == form
        expected = classifier.timeline(long_scenes / f"{name}.wav")
        assert [e.label for e in table.events] == [s.label for s in expected]
        starts = [e.start_s for e in table.events]
        np.testing.assert_allclose(starts, [s.start_s for s in expected], atol=1e-6)
    before = (out / f"a.wav{suffix}").stat().st_mtime_ns
    (out / f"b.wav{suffix}").unlink()
    result = run(*arguments)
    assert "1 recordings written, 1 were there already" in result.stderr
    assert (out / f"a.wav{suffix}").stat().st_mtime_ns == before
    assert (out / f"b.wav{suffix}").exists()
    other = run(*arguments, "--threshold", "0.9")
    assert other.exit_code == 2
    assert "was made with another threshold" in other.stderr


def test_what_does_not_go_together_is_refused(place: Path) -> None:
    model, scenes = place / "run", place / "scenes"
    for arguments, rule in (
        (("--format", "raven"), "give --out DIR"),
        (("--out", place / "x"), "is for the screen"),
        (("--format", "parquet"), "is for --clips"),
        (("--clips", "--format", "parquet"), "needs --out"),
        (("--clips", "--format", "json"), "is not for --clips"),
        (("--json", "--format", "csv"), "is not --json"),
        (("--out", scenes / "000.wav", "--format", "csv"), "is a file"),
    ):
        result = run("predict", model, scenes, *arguments)
        assert result.exit_code == 2, result.output
        assert rule in result.stderr


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_ctrl_c_leaves_a_whole_document(place: Path, tmp_path: Path, form: str) -> None:
    code = (
        "import sys\n"
        "from audiocls.inference import predict\n"
        "from audiocls.__main__ import main\n"
        "before = predict.Classifier.recordings\n"
        "def slow(self, sources, *rest):\n"
        "    for n, found in enumerate(before(self, sources, *rest)):\n"
        "        if n == 3:\n"
        "            import os, signal, time\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            time.sleep(60)\n"
        "        yield found\n"
        "predict.Classifier.recordings = slow\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", place / "run", place / "scenes", "--format", form],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == 130, done.stderr
    text = done.stdout
    rows = json.loads(text) if form == "json" else list(map(json.loads, text.splitlines()))
    assert len(rows) == 3


def test_a_stream_says_what_predict_says(place: Path) -> None:
    y = scene([Event(0.0, 2.0, "bell"), Event(1.0, 2.0, "hum")], 3.0, 1)
    pcm = np.round(y * 32767).astype("<i2")
    result = run("stream", place / "run", "--json", input=pcm.tobytes())
    heard = [json.loads(line) for line in result.stdout.splitlines()]
    classifier = Classifier.load(place / "run")
    (found,) = classifier.recordings([pcm])
    limits = np.asarray(classifier.threshold)
    expected = [
        (start, CLASSES[c])
        for start, p in zip(found.starts_s, found.probabilities, strict=True)
        for c in np.flatnonzero(p >= limits)
    ]
    assert sorted((h["start_s"], h["label"]) for h in heard) == sorted(expected)
    assert {"bell", "hum", NOTHING} == {h["label"] for h in heard}


def test_scores_of_new_recordings(place: Path) -> None:
    write_scenes(place / "new", n=12, seed=50)
    arguments = ("evaluate", place / "run", place / "new", "--label-separator", ";")
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["task"] == "several"
    assert found["recording"]["map"] > 0.95
    assert found["recording"]["n"] == 12
    assert found["clip"]["n"] == 48
    assert found["events"] is None
    low, high = found["recording"]["interval_95"]["map"]
    assert low <= found["recording"]["map"] <= high
    text = run(*arguments)
    assert "mAP" in text.stdout
    assert "whistle" in text.stdout
    store = json.loads(run("evaluate", place / "run", place / "store", "--json").stdout)
    whole = json.loads((place / "run" / "metrics.json").read_text())
    assert store["recording"]["n"] == 60
    assert set(store["recording"]["per_class"]) == set(whole["test"]["per_class"])


def test_events_are_compared_with_annotations(place: Path, long_scenes: Path) -> None:
    arguments = ("evaluate", place / "run", long_scenes, "--background", NOTHING)
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    events = json.loads(result.stdout)["events"]
    assert events["recordings"] == 2
    assert events["segment"]["f1"] > 0.85
    assert events["event"]["f1"] > 0.6
    assert "event F1" in run(*arguments).stdout


def test_a_model_and_data_of_different_tasks(place: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    for name in ("bell", "hum"):
        (one / name).mkdir(parents=True)
        soundfile.write(one / name / "x.wav", scene([Event(0, 1, name)], 1.0, 0), RATE)
    result = run("evaluate", place / "run", one)
    assert result.exit_code == 2
    assert "has one label a recording, and this model gives several" in result.stderr
    orchestra = run("evaluate", "orchestra", place / "scenes", "--label-separator", ";")
    assert orchestra.exit_code == 2
    assert "has several labels a clip, and this model gives one" in orchestra.stderr


def test_an_exported_file_has_the_thresholds(place: Path) -> None:
    out = place / "model.onnx"
    result = run("export", place / "run", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession(out)
    metadata = session.get_modelmeta().custom_metadata_map
    classifier = Classifier.load(place / "run")
    assert json.loads(metadata["task"]) == "several"
    assert json.loads(metadata["thresholds"]) == pytest.approx(classifier.threshold)
    y = scene([Event(0.0, 1.0, "bell"), Event(0.0, 1.0, "hum")], 0.25, 1)
    (p,) = session.run(None, {"samples": y[np.newaxis]})
    np.testing.assert_allclose(p[0], classifier.predict_proba([y])[0], atol=1e-4)


def test_info_of_a_model_of_several_labels(place: Path) -> None:
    text = run("info", place / "run").stdout
    assert "several labels a clip" in text
    assert "mAP" in text
