"""The feature store: what is written is what the engine computes, and reads back as one array."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT
from numpy.typing import NDArray

import audiocls
from audiocls.data.listing import list_recordings
from audiocls.data.recordings import Listing, Recording, write_recordings
from audiocls.errors import DataError, SettingError
from audiocls.files import LARGEST_DOCUMENT, write_json
from audiocls.store import planning
from audiocls.store.format import UNFINISHED, verify
from audiocls.store.store import Store, open_store

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
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 4)
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
    monkeypatch.setattr("audiocls.store.rows._OPEN_SHARDS", 1)
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


class Both(torch.utils.data.Dataset[tuple[Any, Any]]):
    """What a user might write: rows of a store beside features made in the workers of a loader."""

    def __init__(self, store: Store, files: list[Path]) -> None:
        self.store, self.files = store, files
        self.extractor = audiocls.Extractor("mel-16k", threads=2)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        samples, _ = audiocls.load(self.files[i], RATE)
        return self.store[i], self.extractor(np.resize(samples, RATE))


# On one core torch would rather have one worker.
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_of_a_loader_read_it(data: Path, store: Store, start: str, workers: int) -> None:
    """After the parent has used threads, memory maps and a child of its own."""
    soundfile.write(data / "class-0/x.opus", noise(1.0, 3), RATE, format="OGG", subtype="OPUS")
    both = Both(store, sorted(data.rglob("*.*")))
    expected = [both[i] for i in range(len(both))]
    loader = torch.utils.data.DataLoader(
        both, batch_size=None, num_workers=workers, multiprocessing_context=start
    )
    for i, ((row, label), features) in enumerate(loader):
        assert np.array_equal(row, expected[i][0][0])
        assert label == expected[i][0][1]
        assert np.array_equal(features, expected[i][1])


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
    """The ten lines of docs/internals/store.md, run as they stand there."""
    text = (ROOT / "docs/internals/store.md").read_text(encoding="utf-8")
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
    about.write_text(text.replace('"version": 2', '"version": 4'))
    with pytest.raises(DataError, match="version 4 is invalid: this program reads 1 to 3"):
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
            Store(store.path, store.about).numpy()
        if len(damaged) != len(contents):
            with pytest.raises(DataError, match=r"00001\.npy: has \d+ bytes, not 118208"):
                open_store(store.path)
    np.save(file, np.zeros((2, 41, 80), np.float32))
    with pytest.raises(DataError, match=r"store\.json says"):
        Store(store.path, store.about).numpy()
    np.save(file, np.array([{"code": "runs"}]))  # a pickle
    with pytest.raises(DataError, match="is missing or damaged"):
        Store(store.path, store.about).numpy()
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match=r"00001\.npy: is no regular file"):
        open_store(store.path)


def variable(data: Path, folder: Path) -> Store:
    return audiocls.extract(data, "mel-16k", folder / "variable", clip_s=0)


def test_an_index_that_points_nowhere_is_named(data: Path, store: Store, tmp_path: Path) -> None:
    """Sizes and checksums may be right: a stranger made them."""
    clips = np.load(store.path / "shards/00000.clips.npy")
    for bad in (clips + 99, clips - 99, clips.astype(float), clips[:, 0], clips[:-1]):
        np.save(store.path / "shards/00000.clips.npy", bad)
        with pytest.raises(DataError, match=r"00000\.clips\.npy: (points at|holds)"):
            _ = Store(store.path, store.about).labels
    store = variable(data, tmp_path)
    offsets = np.load(store.path / "shards/00000.offsets.npy")
    for bad in (offsets + 1, offsets[::-1], offsets.astype(float), offsets[1:], offsets[:, None]):
        np.save(store.path / "shards/00000.offsets.npy", bad)
        with pytest.raises(DataError, match=r"00000\.offsets\.npy: (points at|holds)"):
            _ = Store(store.path, store.about).features


def test_a_description_that_does_not_fit_is_one_line(store: Store) -> None:
    file, about = store.path / "store.json", store.about
    for name, value in (
        ("shape", "x"), ("shape", [1]), ("shape", [10**30, 41, 80]), ("shape", [23, 41, 80]),
        ("dtype", "O"), ("clip_s", "a"), ("clip_s", -1), ("hop_s", 0), ("classes", None),
        ("classes", ["a", "a", "b"]), ("classes", [1]), ("counts", {}), ("counts", []),
        ("counts", {**about["counts"], "clips": 10**9}), ("spec", None), ("spec", {"kind": 1}),
        ("spec", {"nested": []}), ("spec", {"hop_length": 1e400}), ("shards", [{}]),
        ("shards", about["shards"][1:]), ("shards", [{**about["shards"][0], "files": {}}]),
    ):  # fmt: skip
        file.write_text(json.dumps({**about, name: value}))
        with pytest.raises(DataError, match=r"store\.json: ") as caught:
            open_store(store.path)
        assert "\n" not in str(caught.value)
    for name in set(about) - {"files"}:
        file.write_text(json.dumps({k: v for k, v in about.items() if k != name}))
        with pytest.raises(DataError, match=f"store.json: has no {name}"):
            open_store(store.path)
    for damaged in ("", "[]", "{}", json.dumps({"format": "other"}), "[" * 10_000, "\xff"):
        file.write_text(damaged, encoding="latin-1")
        with pytest.raises(DataError, match=r"store\.json: "):
            open_store(store.path)
    file.write_text(json.dumps({**about, "classes": ["class-0", "x", "y"]}))
    with pytest.raises(DataError, match=r"store\.json: its classes lack 'class-1'"):
        _ = open_store(store.path).labels


def test_a_store_of_version_1_is_read(store: Store) -> None:
    """It had no checksums, and its shards said nothing of themselves once it was finished."""
    about = {**store.about, "version": 1}
    del about["files"]
    about["shards"] = [{k: v for k, v in s.items() if k != "files"} for s in about["shards"]]
    (store.path / "store.json").write_text(json.dumps(about))
    for file in store.path.glob("shards/*.jsonl"):
        file.unlink()
    old = open_store(store.path)
    assert np.array_equal(old.numpy(), store.numpy())
    assert old.labels.tolist() == store.labels.tolist()
    assert verify(store.path) == {}
    (store.path / "shards/00001.npy").unlink()
    assert verify(store.path) == {"shards/00001.npy": "cannot be read: No such file or directory"}


# --- size ---


def work(listing: Listing) -> planning.Work:
    return planning.Work({}, SPEC, {}, [], listing, threads=1)


def described(n_recordings: int, n_bytes: int) -> Listing:
    listing = Listing("data")
    one = Recording(0, "a/x.wav", "a", "a/x.wav", n_bytes=n_bytes)
    for _ in range(n_recordings):
        listing.add(one, "data/a/x.wav")
    return listing


def test_a_shard_holds_1024_recordings_or_64_mib_of_files() -> None:
    shards = work(described(3000, 1000)).shards
    assert shards == [(0, 0, 1024), (1, 1024, 2048), (2, 2048, 3000)]
    assert work(described(3, 64 << 20)).shards == [(0, 0, 1), (1, 1, 2), (2, 2, 3)]


def test_of_more_data_shards_are_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MOST_SHARDS", 16)
    for listing in (described(16 * 1024 + 1, 1), described(100, 1 << 30)):
        shards = work(listing).shards
        ends = [end for _, _, end in shards]
        assert [start for _, start, _ in shards] == [0, *ends[:-1]]
        assert ends[-1] == len(listing.recordings)
        assert len(shards) <= 16


def test_the_description_of_a_million_long_recordings_can_be_read(
    data: Path, tmp_path: Path
) -> None:
    store = variable(data, tmp_path)  # every kind of file that a shard can have
    n_shards = len(work(described(1_000_000, 96 << 20)).shards)  # 96 TB
    shard = json.dumps([store.about["shards"][0]], indent=1)
    # As many again for the rule of the recordings.
    assert 2 * n_shards * len(shard) < LARGEST_DOCUMENT


# --- damage ---


def files(store: Path) -> dict[str, bytes]:
    found = [file for file in store.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(store)): file.read_bytes() for file in found}


def flip(file: Path, at: int = -7) -> None:
    contents = bytearray(file.read_bytes())
    contents[at] ^= 1
    file.write_bytes(contents)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", ["npy", "clips.npy", "offsets.npy", "recordings.jsonl"])
def test_what_is_damaged_is_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, finished: bool
) -> None:
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 4)
    store = variable(data, tmp_path).path
    sound = files(store)
    file = store / f"shards/00001.{name}"
    notices: list[str] = []
    for damage in (flip, lambda f: f.write_bytes(f.read_bytes()[:-1]), Path.unlink):
        damage(file)
        if finished:
            assert list(verify(store)) == [f"shards/00001.{name}"]
        else:  # as an interrupted run leaves it
            about = {k: v for k, v in json.loads(sound["store.json"]).items() if k in UNFINISHED}
            write_json(store / "unfinished.json", about)
            (store / "store.json").unlink()
            write_recordings(store / "recordings.csv", list_recordings(data).recordings)
        others = {p: p.stat().st_mtime_ns for p in store.glob("shards/0000[02].*")}
        audiocls.extract(data, "mel-16k", store, clip_s=0, notice=notices.append)
        assert files(store) == sound
        assert others == {p: p.stat().st_mtime_ns for p in store.glob("shards/0000[02].*")}
        assert verify(store) == {}
    if finished:
        assert len(notices) == 3
        assert notices[0].startswith(f"{file} has other contents than it was made with")


def test_a_damaged_recordings_csv_makes_everything_again(data: Path, store: Store) -> None:
    sound = files(store.path)
    flip(store.path / "recordings.csv", 200)
    assert list(verify(store.path)) == ["recordings.csv"]
    audiocls.extract(data, "mel-16k", store.path)
    assert files(store.path) == sound
