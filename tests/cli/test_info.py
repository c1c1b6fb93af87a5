"""`audiocls info`: what a data set and a store contain."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from tiny_store import tiny_store

import audiocls
from audiocls.cli import main
from audiocls.training import Device, Recipe, Run, Trial, fit
from audiocls.training.data.splits import make_split

RATE = 16000


def noise(seconds: float, seed: int) -> NDArray[np.int16]:
    # Integers: libsndfile rounds floats to other integers in FLAC than in WAV.
    n = round(seconds * RATE)
    return np.random.default_rng(seed).integers(-9999, 9999, n, dtype=np.int16)


def info(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["info", *map(str, arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three of a class, one of another; one broken; one sound under two labels and three names."""
    folder = tmp_path / "data"
    for name in ("[bold]a", "$b", "B"):
        (folder / name).mkdir(parents=True)
    for i in range(3):
        soundfile.write(folder / f"[bold]a/{i}.wav", noise(1 + i, i), RATE)
    (folder / "[bold]a/broken\n.wav").write_bytes(b"")
    soundfile.write(folder / "$b/x.flac", noise(1, 9), RATE)
    soundfile.write(folder / "$b/y.wav", noise(1, 9), RATE)
    soundfile.write(folder / "B/z.wav", noise(1, 9), RATE)
    soundfile.write(folder / "B/other-rate.wav", noise(1, 9), 22050, format="WAV")
    return folder


@pytest.fixture
def store(data: Path, tmp_path: Path) -> Path:
    return audiocls.extract(data, "mel-16k", tmp_path / "store").path


def test_a_store(store: Path) -> None:
    summary = json.loads(info(store, "--json").stdout)
    assert {c["label"]: (c["recordings"], c["failed"], c["clips"]) for c in summary["classes"]} == {
        "[bold]a": (4, 1, 12),
        "$b": (2, 0, 4),
        "B": (2, 0, 3),
    }
    assert summary["classes"][0]["seconds"] == pytest.approx(6)
    assert summary["imbalance"] == 4
    assert summary["sample_rates"] == {"16000": 6, "22050": 1}
    assert summary["channels"] == {"1": 7}
    assert summary["group_sizes"] == {"groups": 7, "min": 1, "median": 1, "max": 1}
    # As in failures.csv: any name is one line of valid UTF-8.
    assert summary["failures"] == [[r"[bold]a/broken\n.wav", "is empty (0 bytes)"]]
    assert summary["duration_s"]["max"] == 3
    assert summary["shape"] == [19, 41, 80]


def test_the_same_audio_under_two_labels_or_in_two_groups(store: Path) -> None:
    summary = json.loads(info(store, "--json").stdout)
    # FLAC and WAV of 16-bit samples: other bytes, the same audio. Another rate is another sound,
    # but of the same samples, and so worth a look as well.
    [found] = summary["duplicates"]
    assert found["labels"] == ["$b", "B"]
    assert found["paths"] == ["$b/x.flac", "$b/y.wav", "B/other-rate.wav", "B/z.wav"]
    assert found["n_groups"] == 4
    text = info(store).stdout
    assert "1 times the same audio has several labels:" in text


def test_copies_within_a_group_are_no_leak(tmp_path: Path) -> None:
    rows = ["path,label,group"]
    for i, group in enumerate(["g", "g", "h", "h"]):
        soundfile.write(tmp_path / f"{i}.wav", noise(1, i // 2 if i < 3 else 9), RATE)
        rows.append(f"{i}.wav,a,{group}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    store = audiocls.extract(tmp_path / "list.csv", "mel-16k", tmp_path / "store")
    text = info(store.path).stdout
    assert "1 times the same audio is there more than once:" in text
    assert "several groups" not in text
    assert "2 groups of 2 to 2" in text


def test_of_a_data_set_the_headers_are_read(data: Path, store: Path) -> None:
    summary = json.loads(info(data, "--json").stdout)
    extracted = json.loads(info(store, "--json").stdout)
    assert summary["decoded"] is False
    assert summary["recordings"] == 8
    # Headers tell what decoding finds.
    for key in ("failures", "sample_rates", "channels", "duration_s", "group_sizes"):
        assert summary[key] == extracted[key], key
    assert [c["seconds"] for c in summary["classes"]] == [
        {c["label"]: c["seconds"] for c in extracted["classes"]}[c["label"]]
        for c in summary["classes"]
    ]
    text = info(data).stdout
    assert "known once the data set is extracted" in text
    assert "16000 Hz (6), 22050 Hz (1)" in text
    assert r"broken\n.wav: is empty (0 bytes)" in text


def test_headers_of_a_table_and_of_what_only_soundfile_reads(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    file = tmp_path / "x.w64"
    soundfile.write(file, noise(1.5, 0), RATE)
    cells = [{"bytes": file.read_bytes(), "path": "x.w64"}, {"bytes": b"text", "path": "y"}]
    pyarrow.parquet.write_table(
        pa.table({"audio": cells, "label": ["a", "b"]}), tmp_path / "t.parquet"
    )
    summary = json.loads(info(tmp_path / "t.parquet", "--json").stdout)
    assert summary["sample_rates"] == {"16000": 1}
    assert summary["duration_s"]["total"] == 1.5
    [(path, reason)] = summary["failures"]
    assert path == "t.parquet/000000001"
    assert reason.startswith("no audio format")


def test_whether_a_score_can_speak_for_other_sources(tmp_path: Path) -> None:
    def notes(sources: list[str]) -> list[str]:
        rows = [f"{i}.wav,{'ab'[i % 2]},{source}" for i, source in enumerate(sources)]
        (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label,source", *rows]))
        return json.loads(info("--json", tmp_path).stdout)["notices"]

    for i in range(4):
        soundfile.write(tmp_path / f"{i}.wav", noise(0.1, i), RATE)
    assert notes(["hall", "hall", "phone", "hall"]) == []
    for one in (["hall"] * 4, ["hall", "phone", "hall", "phone"]):
        (said,) = notes(one)
        assert said.startswith("every class has one source: a score on this data says nothing")
    assert notes([""] * 4)[0].startswith("no column `source`")


def test_a_model(tmp_path: Path) -> None:
    store = tiny_store()
    trial = Trial("lstm", Recipe(epochs=1))
    split = make_split(store.recordings, seed=0)
    run = tmp_path / "run"
    result = fit(trial, store, split, Run(run), Device.pick("cpu")).to_dict()
    for path in (run, run / "model"):
        found = json.loads(info(path, "--json").stdout)
        assert found["architecture"] == "lstm"
        assert found["parameters"] == result["parameters"]
        assert found["classes"] == ["drum", "flute", "viola"]
        assert found["metrics"] == json.loads((run / "metrics.json").read_text())
    text = info(run).stdout
    assert f"lstm: {result['parameters']:,} parameters" in text
    assert "test, by recording" in text
    assert "viola" in text
    assert info(run, "--plot", tmp_path / "x.png").exit_code == 2

    (run / "metrics.json").unlink()
    assert "no metrics.json" in info(run).stdout
    (run / "model/weights.safetensors").write_bytes(b"")
    assert info(run).exit_code == 1


def test_the_table_shows_any_name_as_it_is(store: Path) -> None:
    text = info(store).stdout
    assert "[bold]a" in text
    assert r"broken\n.wav: is empty (0 bytes)" in text
    assert "7 groups of 1 to 1 (median 1) recordings" in text
    assert "16000 Hz (6), 22050 Hz (1)" in text


def test_verify(store: Path) -> None:
    result = info(store, "--verify")
    assert result.exit_code == 0
    assert result.stdout == f"{store}: every byte is as it was written\n"
    file = store / "shards/00000.npy"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        result = info(store, "--verify")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"{file} has ")
        found = json.loads(info(store, "--verify", "--json").stdout)
        assert list(found["damaged"]) == ["shards/00000.npy"]


def test_verify_is_for_stores(data: Path) -> None:
    result = info(data, "--verify")
    assert result.exit_code == 2
    assert "is not a feature store" in result.stderr


def test_a_picture_of_an_unknown_format_is_wrong_usage(store: Path, tmp_path: Path) -> None:
    result = info(store, "--plot", tmp_path / "x.foo")
    assert result.exit_code == 2
    assert "--plot" in result.stderr
    assert "x.foo' is invalid: Format 'foo' is not supported" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_picture(store: Path, data: Path, tmp_path: Path) -> None:
    for source in (store, data):
        file = tmp_path / f"{source.name}.png"
        assert info(source, "--plot", file).exit_code == 0
        image = matplotlib.image.imread(file)
        assert image.shape[0] > 200
        assert image.std() > 0.05


def test_wrong_usage(tmp_path: Path) -> None:
    done = info(tmp_path / "nowhere")
    assert done.exit_code == 2
    assert done.stderr.startswith("audiocls info: DATA")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/store.json").write_text("{")
    done = info(tmp_path / "s")
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
