"""Embeddings: those of the trained module, without torch, in files, and what is near to what."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from saved_model import saved

import audiocls
from audiocls.classifier.description import EMBEDDING, NETWORK
from audiocls.classifier.model import Model
from audiocls.cli import main
from audiocls.data.synth import write_dataset
from audiocls.inference.similar import find_nearest
from audiocls.models import MODELS

torch.set_num_threads(1)


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, clips_per_class=4, n_classes=3)
    fading = np.random.default_rng(0).normal(0, 0.1, 16_000) * np.linspace(1, 0.001, 16_000) ** 3
    soundfile.write(folder / "synthetic-flute" / "fading.wav", fading, 16_000)
    return folder


@pytest.fixture(scope="module")
def store(data: Path) -> audiocls.Store:
    return audiocls.extract(data, "mfcc", data.parent / "store", hop_s=0.2)


@pytest.fixture(scope="module")
def model(store: audiocls.Store) -> Path:
    """A model whose answers leave quiet clips out."""
    return saved(store.path.parent / "model", store, "compact", quiet_db=10.0)


def of_store(model: Path, store: audiocls.Store) -> tuple[list[Path], list[np.ndarray]]:
    """What the trained module gives its head for the clips of each recording."""
    module, found = Model.load(model), []
    with torch.no_grad():
        rows = module.embed(torch.from_numpy(store.features.numpy())).numpy()
    good = [r for r in store.recordings if r.n_clips]
    for r in good:
        found.append(rows[store.clip_recording == r.id])
    return [Path(store.about["data"]) / r.path for r in good], found


@pytest.mark.parametrize("name", MODELS)
def test_the_head_makes_logits_of_the_embedding(name: str) -> None:
    torch.manual_seed(0)
    network = audiocls.build_model(name, 4, (40, 13)).eval()
    x = torch.randn(3, 40, 13)
    with torch.no_grad():
        embedding = network.embed(x)
        assert embedding.shape == (3, network.head.in_features)
        torch.testing.assert_close(network.head(embedding), network(x))
    assert network.head.out_features == 4


def test_embeddings_are_those_of_the_module(model: Path, store: audiocls.Store) -> None:
    paths, expected = of_store(model, store)
    classifier = audiocls.Classifier.load(model)
    clips = classifier.embed(paths, clips=True)
    assert clips.dtype == np.float32
    np.testing.assert_allclose(clips, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    whole = classifier.embed(paths)
    assert whole.shape == (len(paths), expected[0].shape[1])
    counts = [p.counts for p in classifier.recordings(paths)]
    assert not all(c.all() for c in counts), "some clips are too quiet to count"
    for row, rows, counting in zip(whole, expected, counts, strict=True):
        np.testing.assert_allclose(row, rows[counting].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_a_graph_of_an_earlier_version_needs_torch(
    model: Path, store: audiocls.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, expected = of_store(model, store)
    whole = (model / NETWORK).read_bytes()
    graph = onnx.load(model / NETWORK, load_external_data=False)
    del graph.graph.output[1:]
    try:
        (model / NETWORK).write_bytes(graph.SerializeToString())
        classifier = audiocls.Classifier.load(model)
        assert len(classifier.predict(paths[:2])) == 2
        clips = classifier.embed(paths[:2], clips=True)
        np.testing.assert_allclose(clips, np.concatenate(expected[:2]), rtol=1e-4, atol=1e-5)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        run = call("embed", model, paths[0], "--out", model.parent / "none.npy")
        assert run.exit_code == 1
        assert "of an earlier version: to embed with it needs torch: pip install" in run.stderr
        assert run.stderr.count("\n") == 1
    finally:
        (model / NETWORK).write_bytes(whole)


def test_files_of_embeddings(
    model: Path, store: audiocls.Store, data: Path, tmp_path: Path
) -> None:
    paths, expected = of_store(model, store)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    out = tmp_path / "rows.npy"
    run = call("embed", model, *paths, tmp_path / "broken.wav", "--out", out, "--json")
    assert run.exit_code == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["rows"] == len(paths)
    assert [f["path"] for f in said["failed"]] == [str(tmp_path / "broken.wav")]
    rows = np.load(out, allow_pickle=False)
    np.testing.assert_allclose(rows, audiocls.Classifier.load(model).embed(paths), rtol=1e-5)
    with (tmp_path / "rows.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(p) for p in paths]
    out = tmp_path / "clips.parquet"
    assert call("embed", model, *paths, "--clips", "--out", out).exit_code == 0
    table = pyarrow.parquet.read_table(out).to_pydict()
    assert table["path"] == [str(p) for p, rows in zip(paths, expected, strict=True) for _ in rows]
    assert table["start_s"][:2] == [0.0, 0.2]
    np.testing.assert_allclose(
        np.array(table["embedding"]), np.concatenate(expected), rtol=1e-4, atol=1e-5
    )
    for name, rule in (("rows.txt", "must end with .npy or .parquet"), ("", "must end with")):
        wrong = call("embed", model, data, "--out", tmp_path / name)
        assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
        assert rule in wrong.stderr


def test_the_box_embeds_without_torch(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    code = (
        "import sys, audiocls\n"
        f"rows = audiocls.Classifier.load('orchestra').embed([{str(tmp_path / 'a.wav')!r}])\n"
        "assert rows.shape == (1, 256) and rows.dtype == 'float32', rows\n"
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    graph = onnx.load(
        Path(audiocls.__file__).parent / "classifier/orchestra" / NETWORK, load_external_data=False
    )
    assert [o.name for o in graph.graph.output] == ["probabilities", EMBEDDING]


def test_the_nearest_is_the_one_that_points_the_same_way() -> None:
    rows = [[1, 0], [0, 0], [2, 2.1], [-1, -1], [5, 4]]
    order, cosines = find_nearest([3, 3], rows, 4)
    assert order.tolist() == [2, 4, 0, 1]
    expected = [4.1 / np.hypot(2, 2.1), 9 / np.hypot(5, 4), 1]
    np.testing.assert_allclose(cosines, [*np.array(expected) / np.sqrt(2), 0])


def test_similar_finds_the_recording_itself_under_another_name(
    model: Path, data: Path, tmp_path: Path
) -> None:
    query = next(iter(sorted(data.glob("synthetic-*/*.wav"))))
    copy = data / "synthetic-flute" / "copy.wav"
    copy.write_bytes(query.read_bytes())
    try:
        run = call("similar", model, query, data, "--top", "3", "--json")
    finally:
        copy.unlink()
    assert run.exit_code == 0, run.stderr
    first, *others = json.loads(run.stdout)["nearest"]
    assert first == {"path": str(copy), "similarity": 1.0}
    assert len(others) == 2
    assert str(query) not in [hit["path"] for hit in others], "the query itself is left out"
    for args, rule in (
        ((data, data), "the query is one recording"),
        ((query, query), "no other recordings than the query"),
        ((tmp_path / "gone.wav", data), "No such file"),
    ):
        wrong = call("similar", model, *args)
        assert (wrong.exit_code, wrong.stderr.count("\n")) == (1, 1), wrong.stderr
        assert rule in wrong.stderr
