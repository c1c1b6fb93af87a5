"""The feature store: what is written is what the engine computes, and reads back as one array."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

import audiocls
from audiocls.data import extraction
from audiocls.data.store import Store, open_store
from audiocls.errors import DataError, SettingError

RATE = 16000
SPEC = audiocls.FeatureSpec.preset("mel-16k")


def noise(seconds: float, seed: int, rate: int = RATE) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate))
    return values.astype(np.float32)


def write(file: Path, samples: NDArray[np.float32], rate: int = RATE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples, rate, subtype="FLOAT")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eleven recordings of 0.1 to 2.1 s in three classes."""
    for i in range(11):
        write(tmp_path / f"data/class-{i % 3}/{i:02}.wav", noise(0.1 + 0.2 * i, i))
    return tmp_path / "data"


@pytest.fixture
def store(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Their features, in three shards."""
    monkeypatch.setattr(extraction, "SHARD_RECORDINGS", 4)
    return audiocls.extract(data, "mel-16k", tmp_path / "store")


def expected(data: Path, store: Store) -> list[NDArray[np.float32]]:
    """The clips of every recording by plain slicing, their features by the engine's own API."""
    extractor = audiocls.Extractor(SPEC, threads=1)
    n = RATE // 2
    clips = []
    for recording in store.recordings:
        y, _ = soundfile.read(data / recording.path, dtype="float32")
        if len(y) < n:
            y = np.pad(y, (0, n - len(y)))
        clips += [extractor(y[i : i + n]) for i in range(0, len(y) - n + 1, n)]
    return clips


def test_features_are_those_of_the_clips(data: Path, store: Store) -> None:
    clips = np.stack(expected(data, store))
    assert store.features.shape == clips.shape == (len(store), 41, 80)
    assert np.array_equal(store.numpy(), clips)
    assert np.array_equal(store.features, clips)
    assert len(store.about["shards"]) == 3


def test_labels_groups_and_recordings_belong_to_the_clips(store: Store) -> None:
    assert store.classes == ["class-0", "class-1", "class-2"]
    assert [r.id for r in store.recordings] == list(range(11))
    for i in range(len(store)):
        recording = store.recordings[store.clip_recording[i]]
        assert store.classes[store.labels[i]] == recording.label
        assert store.groups[i] == recording.group == recording.path
    counts = np.bincount(store.clip_recording)
    assert counts.tolist() == [r.n_clips for r in store.recordings]
    starts = store.clip_start_s[store.clip_recording == np.argmax(counts)]
    assert starts.tolist() == [0.0, 0.5, 1.0, 1.5]
    recording = store.recordings[int(np.argmax(counts))]
    assert (recording.sample_rate, recording.channels, recording.status) == (RATE, 1, "ok")
    assert recording.duration_s == pytest.approx(2.1)


def test_indexing_is_that_of_numpy(store: Store) -> None:
    rows, whole = store.features, store.numpy()
    n = len(whole)
    rng = np.random.default_rng(0)
    for index in (
        0,
        -1,
        np.int64(n - 1),
        slice(None),
        slice(3, 9),
        slice(n, 2),
        slice(-4, None),
        slice(None, None, -3),
        [],
        [5, 1, 5, -1],
        rng.integers(-n, n, 50),
        rng.random(n) < 0.5,
        (slice(2, 12), 4),
        (3, slice(None), 7),
        ([4, 0], slice(None, None, 2), slice(0, 5)),
    ):
        assert np.array_equal(rows[index], whole[index]), index
    assert sum(1 for _ in rows) == n
    for bad in (n, -n - 1, [0, n], np.zeros(n - 1, bool), [0.5], np.zeros((2, 2), int)):
        with pytest.raises(IndexError):
            rows[bad]


def test_rows_taken_are_the_callers_own(store: Store) -> None:
    row = store.features[0]
    row += 1
    assert not np.array_equal(store.features[0], row)


def test_few_shards_are_open_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocls.data.store._OPEN_SHARDS", 1)
    fresh = open_store(store.path)
    assert np.array_equal(fresh.features[np.arange(len(fresh))[::-1]], store.numpy()[::-1])


def test_pytorch_reads_it(store: Store) -> None:
    tensor = store.tensor()
    assert tensor.shape == store.features.shape
    features, label = store[3]
    assert torch.equal(torch.from_numpy(features), tensor[3])
    assert label == store.labels[3]
    loader = torch.utils.data.DataLoader(store, batch_size=5)  # type: ignore[arg-type]
    batches = list(loader)
    assert torch.equal(torch.cat([x for x, _ in batches]), tensor)
    assert torch.cat([y for _, y in batches]).tolist() == store.labels.tolist()


def test_a_pickled_store_is_small_and_works(store: Store) -> None:
    _ = store.features[0]
    pickled = pickle.dumps(store)
    assert len(pickled) < 5000
    assert np.array_equal(pickle.loads(pickled).numpy(), store.numpy())


def test_float16_is_the_rounded_float32(data: Path, store: Store, tmp_path: Path) -> None:
    half = audiocls.extract(data, "mel-16k", tmp_path / "half", dtype="float16")
    assert half.features.dtype == np.float16
    assert np.array_equal(half.numpy(), store.numpy().astype(np.float16))


def test_whole_recordings(data: Path, tmp_path: Path) -> None:
    for preset in ("mel-16k", "mel"):  # frames as they come; all at the end, for top_db
        extractor = audiocls.Extractor(preset, threads=1)
        store = audiocls.extract(data, preset, tmp_path / preset, clip_s=0)
        clips = store.features
        assert len(clips) == len(store) == 11
        for i, recording in enumerate(store.recordings):
            y, _ = audiocls.load(data / recording.path, sample_rate=extractor.spec.sample_rate)
            assert np.array_equal(clips[i], extractor(y)), recording.path
        assert clips.frames.shape == tuple(store.about["shape"])
        assert clips.offsets[-1] == len(clips.numpy())
        assert [len(c) for c in clips[2:5]] == np.diff(clips.offsets)[2:5].tolist()
        with pytest.raises(IndexError):
            clips[11]


def test_numpy_alone_reads_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten lines of docs/store.md, run as they stand there."""
    text = (Path(__file__).parent.parent / "docs/store.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line]) <= 10
    assert "audiocls" not in code
    (store.path.parent / "features").mkdir()
    store.path.rename(store.path.parent / "features/mel")
    monkeypatch.chdir(store.path.parent)
    names: dict[str, object] = {}
    exec(code, names)
    moved = open_store("features/mel")
    assert np.array_equal(names["features"], moved.numpy())  # type: ignore[arg-type]
    assert names["labels"] == [moved.classes[i] for i in moved.labels]


def test_any_text_of_the_data_set_is_read_back(tmp_path: Path) -> None:
    """A bare carriage return ends a line of CSV, and a lone surrogate has no UTF-8."""
    write(tmp_path / "data/x\r.wav", noise(1.0, 0))
    odd = 'a\r\n\x00\x0b\x1c\x85\u2028\ufeff\ud800\\",é'
    row = {"path": "x\r.wav", "label": odd, "group": odd, "split": odd, odd: odd}
    (tmp_path / "data/metadata.jsonl").write_text(json.dumps(row))
    audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    store = open_store(tmp_path / "store")
    [recording] = store.recordings
    assert (recording.path, recording.label, recording.group) == ("x\r.wav", odd, odd)
    assert (recording.split, recording.extra) == (odd, {odd: odd})
    assert store.classes == [odd]
    assert store.labels.tolist() == [0, 0]


def test_what_is_no_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "nowhere", "there is no such folder"),
        (tmp_path / "file", "is a file, not a feature store"),
        (tmp_path, r"is not a feature store: it has no store\.json"),
    ):
        with pytest.raises(SettingError, match=message):
            open_store(path)
    about = store.path / "store.json"
    text = about.read_text()
    about.write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(DataError, match="is of format version 2, this program reads 1"):
        open_store(store.path)
    for damaged in ("", "[]", "{}", json.dumps({"format": "other", "version": 1})):
        about.write_text(damaged)
        with pytest.raises(DataError, match="does not describe a feature store"):
            open_store(store.path)
    about.unlink()
    (store.path / "unfinished.json").touch()
    with pytest.raises(SettingError, match="is unfinished: run the same"):
        open_store(store.path)


def test_a_damaged_shard_is_named(store: Store) -> None:
    file = store.path / "shards/00001.npy"
    contents = file.read_bytes()
    for damaged in (b"", contents[:-1], contents[:200], b"PK" + contents[2:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"00001\.npy"):
            open_store(store.path).numpy()
    np.save(file, np.zeros((2, 41, 80), np.float32))
    with pytest.raises(DataError, match=r"store\.json says"):
        open_store(store.path).numpy()
    np.save(file, np.array([{"code": "runs"}]))  # a pickle
    with pytest.raises(DataError, match="is missing or damaged"):
        open_store(store.path).numpy()
