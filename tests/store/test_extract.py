"""`audiocls extract`: clips, settings, resuming, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import audiocls
from audiocls.cli import main
from audiocls.errors import DataError, SettingError
from audiocls.store import extraction, planning

RATE = 16000
N = RATE // 2


def noise(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, n).astype(np.float32)


def write(file: Path, samples: NDArray[np.float32], rate: int = RATE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples, rate, subtype="FLOAT")


def features(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    return audiocls.Extractor("mel-16k", threads=1)(clip)


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but its lock."""
    files = [file for file in store.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(9):
        write(tmp_path / f"data/class-{i % 2}/{i}.wav", noise(4000 * (i + 1), i))
    (tmp_path / "data/class-0/broken.wav").write_bytes(b"")
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 3)


# --- clips ---


@pytest.mark.parametrize(
    ("preset", "shape"), [("mel", (44, 128)), ("mel-16k", (41, 80)), ("mfcc", (49, 13))]
)
def test_shapes_of_the_study(tmp_path: Path, preset: str, shape: tuple[int, int]) -> None:
    write(tmp_path / "data/a/x.wav", noise(44100), 44100)
    store = audiocls.extract(tmp_path / "data", preset, tmp_path / "store")
    assert store.features.shape == (2, *shape)


def test_mel_equals_librosa(tmp_path: Path) -> None:
    y = noise(44100 + 500)
    write(tmp_path / "data/a/x.wav", y, 44100)
    store = audiocls.extract(tmp_path / "data", "mel", tmp_path / "store")
    for i in range(2):
        clip = y[i * 22050 : (i + 1) * 22050].astype(np.float64)
        power = librosa.feature.melspectrogram(y=clip, sr=44100, pad_mode="constant")
        assert np.abs(store.features[i] - librosa.power_to_db(power).T).max() < 1e-3


@pytest.mark.parametrize(
    ("n", "n_clips"), [(1, 1), (N - 1, 1), (N, 1), (2 * N - 1, 1), (2 * N, 2), (2 * N + 1, 2)]
)
def test_a_last_window_is_used_if_full_or_the_only_one(
    tmp_path: Path, n: int, n_clips: int
) -> None:
    y = noise(n)
    write(tmp_path / "data/a/x.wav", y)
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    padded = np.pad(y, (0, max(0, N - n)))
    clips = [features(padded[i * N : (i + 1) * N]) for i in range(n_clips)]
    assert np.array_equal(store.numpy(), clips)


def test_short_recordings(tmp_path: Path) -> None:
    short, long = noise(3000), noise(N, 1)
    write(tmp_path / "data/a/long.wav", long)
    write(tmp_path / "data/a/short.wav", short)
    treated = {
        "pad": np.pad(short, (0, N - 3000)),
        "repeat": np.concatenate([short, short, short[:2000]]),
    }
    for how, clip in treated.items():
        store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / how, short=how)
        assert np.array_equal(store.numpy(), [features(long), features(clip)])
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "drop", short="drop")
    assert np.array_equal(store.numpy(), [features(long)])
    assert (store.recordings[1].status, store.recordings[1].n_clips) == ("skipped", 0)
    assert store.recordings[1].error == "is shorter than one clip (--short drop)"
    assert store.counts["skipped"] == 1
    assert not (store.path / "failures.csv").exists()


def test_silent_clips_are_left_out_and_counted(tmp_path: Path) -> None:
    loud, quiet = noise(N), 1e-3 * noise(N, 1)
    write(tmp_path / "data/a/mixed.wav", np.concatenate([quiet, loud, quiet]))
    write(tmp_path / "data/a/quiet.wav", quiet)
    # Padding does not make a short loud note a quiet one: only what was recorded counts.
    write(tmp_path / "data/a/short.wav", loud[:50])
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store", min_rms=0.05)
    assert [(r.n_clips, r.n_silent, r.status) for r in store.recordings] == [
        (1, 2, "ok"),
        (0, 1, "skipped"),
        (1, 0, "ok"),
    ]
    assert store.counts["silent_clips"] == 3
    assert store.clip_start_s.tolist() == [0.5, 0.0]
    assert np.array_equal(store.features[0], features(loud))


def test_whole_recordings_may_be_silent_or_too_short(tmp_path: Path) -> None:
    write(tmp_path / "data/a/1.wav", noise(3 * N))
    write(tmp_path / "data/a/2.wav", 1e-3 * noise(3 * N))
    write(tmp_path / "data/a/3.wav", noise(100))
    store = audiocls.extract(tmp_path / "data", "fbank", tmp_path / "store", clip_s=0, min_rms=0.05)
    assert [r.status for r in store.recordings] == ["ok", "skipped", "skipped"]
    assert store.recordings[2].error == "is shorter than one frame"
    assert len(store.features) == 1
    assert store.counts["silent_clips"] == 1


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lengths=st.lists(st.integers(1, 5 * N), min_size=1, max_size=5),
    clip=st.integers(400, 2 * N),
    hop=st.integers(300, 3 * N),
    threads=st.integers(1, 3),
)
def test_any_clip_and_hop(
    tmp_path: Path, lengths: list[int], clip: int, hop: int, threads: int
) -> None:
    folder = tmp_path / "drawn"
    shutil.rmtree(folder, ignore_errors=True)
    expected, starts = [], []
    for i, n in enumerate(lengths):
        y = noise(n, i)
        write(folder / f"data/a/{i}.wav", y)
        first = np.arange(0, max(n - clip, 0) + 1, hop)
        padded = np.pad(y, (0, max(0, clip - n)))
        expected += [features(padded[s : s + clip]) for s in first]
        starts += first.tolist()
    store = audiocls.extract(
        folder / "data",
        "mel-16k",
        folder / "store",
        clip_s=clip / RATE,
        hop_s=hop / RATE,
        threads=threads,
    )
    assert np.array_equal(store.numpy(), expected)
    assert np.allclose(store.clip_start_s * RATE, starts)


def test_windows_lie_on_the_resampled_recording(tmp_path: Path) -> None:
    y = noise(3 * 44100)
    write(tmp_path / "data/a/x.wav", y, 44100)
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    resampled, _ = audiocls.load(tmp_path / "data/a/x.wav", sample_rate=RATE)
    clips = [features(resampled[i : i + N]) for i in range(0, 3 * RATE - N + 1, N)]
    assert np.array_equal(store.numpy(), clips)


def test_the_same_bytes_with_any_number_of_threads(data: Path, tmp_path: Path) -> None:
    one, four = tmp_path / "one", tmp_path / "four"
    audiocls.extract(data, "mfcc", one, threads=1)
    audiocls.extract(data, "mfcc", four, threads=4)
    assert contents(one) == contents(four)


def test_bytes_from_a_table(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    waves = []
    for i in range(5):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(N, i), RATE, format="FLAC" if i else "AU")
        waves.append({"bytes": buffer.getvalue(), "path": f"{i}.wav"})
    waves.append({"bytes": b"broken", "path": "5.wav"})
    table = pa.table({"audio": waves, "label": list("ababab"), "group": list("xxyyzz")})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    store = audiocls.extract(tmp_path / "t.parquet", "mel-16k", tmp_path / "store", threads=3)
    assert [r.status for r in store.recordings] == ["ok"] * 5 + ["failed"]
    assert store.groups.tolist() == list("xxyyz")
    for i in range(5):
        y, _ = soundfile.read(io.BytesIO(waves[i]["bytes"]), dtype="float32")
        assert np.array_equal(store.features[i], features(y))


def test_a_table_is_read_by_one_thread_at_a_time(tmp_path: Path) -> None:
    """Two reads of one ParquetFile at the same moment crash the process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    soundfile.write(buffer, noise(N, 1), RATE, format="WAV")
    rows = [{"bytes": buffer.getvalue(), "path": "x.wav"}] * 400
    table = pa.table({"audio": rows, "label": ["a", "b"] * 200})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1)
    store = audiocls.extract(tmp_path / "t.parquet", "mel-16k", tmp_path / "store", threads=8)
    assert [r.status for r in store.recordings] == ["ok"] * 400


# --- what is there already ---


def test_a_finished_store_is_left_as_it_is(data: Path, tmp_path: Path) -> None:
    first = audiocls.extract(data, "mel-16k", tmp_path / "store")
    before = {file: file.stat().st_mtime_ns for file in first.path.rglob("*.npy")}
    again = audiocls.extract(data, "mel-16k", tmp_path / "store")
    assert {file: file.stat().st_mtime_ns for file in again.path.rglob("*.npy")} == before


def test_finished_shards_are_kept_and_missing_ones_made(data: Path, tmp_path: Path) -> None:
    expected = contents(audiocls.extract(data, "mel-16k", tmp_path / "whole").path)
    store = tmp_path / "store"

    def stop(progress: extraction.Progress) -> None:
        if progress.recordings == progress.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audiocls.extract(data, "mel-16k", store, progress=stop)
    assert not (store / "store.json").exists()
    # As if it had been stopped in the third of four shards.
    (store / "shards/00002.recordings.jsonl").unlink()
    (store / "shards/00002.npy").write_bytes(b"of a shard that was not finished")
    for file in store.glob("shards/00003.*"):
        file.unlink()
    (store / "shards/00002.npy.tmp").write_bytes(b"half a shard")
    done = {file: file.stat().st_mtime_ns for file in store.glob("shards/0000[01].*npy")}
    assert len(done) == 4
    audiocls.extract(data, "mel-16k", store)
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert contents(store) == expected


def rewrite(file: Path) -> None:
    write(file, noise(5000, 99))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: rewrite(d / "class-1/new.wav"), r"1 new \(class-1/new\.wav\)"),
        (lambda d: (d / "class-1/1.wav").unlink(), r"1 gone \(class-1/1\.wav\)"),
        (lambda d: rewrite(d / "class-1/1.wav"), r"1 changed \(class-1/1\.wav\)"),
        (lambda d: os.utime(d / "class-1/1.wav", ns=(0, 0)), r"1 changed \(class-1/1\.wav\)"),
        (
            lambda d: (d / "class-1").rename(d / "class-2"),
            r"4 new \(class-2/1\.wav, …\), 4 gone \(class-1/1\.wav, …\)",
        ),
    ],
)
def test_changed_data_is_noticed_and_named(
    data: Path, tmp_path: Path, change: Callable[[Path], Any], message: str
) -> None:
    store = tmp_path / "store"
    audiocls.extract(data, "mel-16k", store)
    before = contents(store)
    change(data)
    with pytest.raises(DataError, match=f"was made from other data: {message}; extract with"):
        audiocls.extract(data, "mel-16k", store)
    assert contents(store) == before
    fresh = audiocls.extract(data, "mel-16k", tmp_path / "fresh")
    again = audiocls.extract(data, "mel-16k", store, restart=True)
    assert contents(again.path) == contents(fresh.path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_s": 0.25}, r"clip_s 0\.5, now 0\.25"),
        ({"hop_s": 0.25}, r"hop_s 0\.5, now 0\.25"),
        ({"short": "drop"}, "short 'pad', now 'drop'"),
        ({"min_rms": 0.01}, r"min_rms 0\.0, now 0\.01"),
        ({"dtype": "float16"}, "dtype 'float32', now 'float16'"),
        ({"feature": "mfcc"}, "feature 'mel-16k', now 'mfcc'"),
    ],
)
def test_other_settings_are_noticed_and_named(
    data: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    store = tmp_path / "store"
    audiocls.extract(data, "mel-16k", store)
    before = contents(store)
    with pytest.raises(SettingError, match=f"was made with .*{message}"):
        audiocls.extract(data, **{"feature": "mel-16k", "out": store, **arguments})
    assert contents(store) == before
    again = audiocls.extract(
        data, **{"feature": "mel-16k", "out": store, "restart": True} | arguments
    )
    assert again.counts["failed"] == 1


def test_another_engine_or_spec_is_noticed(data: Path, tmp_path: Path) -> None:
    store = audiocls.extract(data, "mel-16k", tmp_path / "store")
    spec = audiocls.FeatureSpec.preset("mel-16k", n_mels=40)
    with pytest.raises(SettingError, match="n_mels 80, now 40"):
        audiocls.extract(data, spec, store.path, name="mel-16k")
    about = store.path / "store.json"
    about.write_text(about.read_text().replace('"engine": "', '"engine": "0.0.0-'))
    with pytest.raises(SettingError, match=r"engine '0\.0\.0-"):
        audiocls.extract(data, "mel-16k", store.path)


def test_a_moved_data_set_is_the_same(data: Path, tmp_path: Path) -> None:
    audiocls.extract(data, "mel-16k", tmp_path / "store")
    data.rename(tmp_path / "elsewhere")
    audiocls.extract(tmp_path / "elsewhere", "mel-16k", tmp_path / "store")


def test_a_class_that_loses_everything_leaves_the_store_unfinished(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk with the data goes away in mid-run, and comes back."""
    undisturbed = contents(audiocls.extract(data, "mel-16k", tmp_path / "undisturbed").path)
    store = tmp_path / "store"
    kept = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in data.glob("class-1/*.wav")}

    list_recordings = planning.list_recordings

    def list_then_lose(data: Path, **_: object) -> object:
        listing = list_recordings(data)
        for file in kept:
            file.unlink()
        return listing

    monkeypatch.setattr(planning, "list_recordings", list_then_lose)
    with pytest.raises(DataError, match=r"recordings failed, all of class class-1 among them, for "
                       r"instance class-1/\d\.wav: .*left unfinished"):  # fmt: skip
        audiocls.extract(data, "mel-16k", store)
    monkeypatch.undo()
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 3)
    assert not (store / "store.json").exists()
    for file, (wav, mtime_ns) in kept.items():
        file.write_bytes(wav)
        os.utime(file, ns=(mtime_ns, mtime_ns))
    audiocls.extract(data, "mel-16k", store)
    assert contents(store) == undisturbed


def test_most_of_all_may_not_fail_without_consent(data: Path, tmp_path: Path) -> None:
    for i in range(12):
        (data / f"class-0/broken-{i}.wav").write_bytes(b"")
    arguments = ["extract", str(data), "--feature", "mel-16k", "--out", str(tmp_path / "store")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert (
        "13 of 22 recordings failed, for instance class-0/broken-0.wav: is empty" in result.stderr
    )
    assert "--accept-failures" in result.stderr
    result = CliRunner().invoke(main, ["info", str(tmp_path / "store")])
    assert result.exit_code == 2
    assert "is unfinished" in result.stderr
    result = CliRunner().invoke(main, [*arguments, "--accept-failures"])
    assert result.exit_code == 0
    assert "13 of 22 recordings" in result.stderr + result.stdout


def test_out_that_is_no_store_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SettingError, match="is a file; a feature store is a folder"):
        audiocls.extract(data, "mel-16k", tmp_path / "file", restart=True)
    with pytest.raises(SettingError, match="is a folder with other files"):
        audiocls.extract(data, "mel-16k", data, restart=True)
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    audiocls.extract(data, "mel-16k", tmp_path / "empty")


def test_a_second_run_into_one_store_is_refused(data: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    refused = []

    def meanwhile(_: extraction.Progress) -> None:
        with pytest.raises(DataError, match="another run is writing this store"):
            audiocls.extract(data, "mel-16k", store)
        refused.append(True)

    audiocls.extract(data, "mel-16k", store, progress=meanwhile)
    assert refused
    audiocls.extract(data, "mel-16k", store)


# --- the command line ---


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["extract", *map(str, arguments)])


def test_the_command_reports_and_succeeds(data: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = run(data, "--feature", "mel-16k", "--out", store, "--threads", "2")
    assert done.exit_code == 0, done.stderr
    n = audiocls.open_store(store).counts["clips"]
    assert done.stdout.splitlines() == [
        f"{store}: {n} × 41 × 80 float32, 2 classes",
        f"1 of 10 recordings failed: {store / 'failures.csv'}",
    ]
    with (store / "failures.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            ["class-0/broken.wav", "is empty (0 bytes)"],
        ]
    strict = run(data, "--feature", "mel-16k", "--out", store, "--strict", "--json")
    assert strict.exit_code == 1
    summary = json.loads(strict.stdout)
    assert summary["shape"] == [n, 41, 80]
    assert (summary["failed"], summary["failures"]) == (1, str(store / "failures.csv"))
    assert strict.stderr.splitlines()[-1].startswith("1 of 10 recordings failed")


def test_fields_of_the_preset_can_be_set(data: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sets = ("--set", "n_mels=40", "--set", "log=natural", "--set", "fmax_hz=null")
    assert run(data, "--feature", "mel-16k", *sets, "--out", store).exit_code == 0
    spec = audiocls.open_store(store).spec
    assert (spec.n_mels, spec.log, spec.fmax_hz) == (40, "natural", None)
    assert audiocls.open_store(store).features.shape[1:] == (41, 40)


def test_the_default_out_is_named_after_the_feature(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data", "--feature", "mfcc").exit_code == 0
    assert audiocls.open_store("features/mfcc").feature == "mfcc"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "DATA 'nowhere' is invalid: there is no such file or folder"),
        (["data", "--feature", "mell"], "did you mean 'mel'?"),
        (["data", "--set", "n_mels"], "--set 'n_mels' is invalid: must be KEY=VALUE"),
        (["data", "--set", "n_mel=3"], "did you mean 'n_mels'?"),
        (["data", "--set", "n_mels=-3"], "n_mels -3 is invalid"),
        (["data", "--short", "dropp"], "did you mean 'drop'?"),
        (["data", "--dtype", "float61"], "did you mean 'float16'?"),
        (["data", "--clip-s", "-1"], "--clip-s -1 is invalid: must be from one sample"),
        (["data", "--clip-s", "nan"], "--clip-s nan is invalid"),
        (["data", "--clip-s", "1e9"], "--clip-s 1000000000 is invalid"),
        (["data", "--hop-s", "0"], "--hop-s 0 is invalid: must be from one sample"),
        (["data", "--min-rms", "2"], "--min-rms 2 is invalid: must be in [0, 1)"),
        (
            ["data", "--set", "n_fft=1048576", "--set", "n_mels=131072"],
            "n_mels 131072 is invalid: must be <= 511",
        ),
        (["data", "--clip-s", "86400", "--set", "hop_length=1"], "at most 2^28 values"),
        (["data", "--threads", "0"], "threads 0 is invalid: must be >= 1"),
        (["data", "--feature", "fbank", "--clip-s", "0.01"], "gives no frame"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments, "--out", "store")
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert done.stderr.startswith("audiocls extract: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_nothing_usable_is_exit_1(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = run(tmp_path / "data", "--out", tmp_path / "store")
    assert done.exit_code == 1
    assert "holds no recordings (0 other files)" in done.stderr
    assert not (tmp_path / "store").exists()
    (tmp_path / "data/stray.wav").write_bytes(b"x")
    done = run(tmp_path / "data", "--out", tmp_path / "store")
    assert done.exit_code == 1
    assert "stray.wav: is in no class folder" in done.stderr


def test_similar_labels_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "data/Oboe/x.wav", noise(N))
    write(tmp_path / "data/oboe/y.wav", noise(N))
    done = run(tmp_path / "data", "--feature", "mel-16k", "--out", tmp_path / "store")
    assert done.stderr.splitlines() == [
        "note: labels 'Oboe', 'oboe' differ only in case, accents or spaces: kept as 2 classes",
        f"next: audiocls train --model best --features {tmp_path / 'store'}",
    ]


def test_real_recordings(philharmonia: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("banjo", "saxophone"):
        (tmp_path / "data" / name).symlink_to(philharmonia / name)
    store = audiocls.extract(tmp_path / "data", "mfcc", tmp_path / "store")
    [broken] = [r for r in store.recordings if r.status != "ok"]
    assert broken.path == "saxophone/saxophone_Fs3_15_fortissimo_normal.mp3"
    assert (broken.status, broken.error) == ("failed", "is empty (0 bytes)")
    assert store.counts["recordings"] == sum(1 for _ in tmp_path.glob("data/*/*.mp3"))
    assert store.features.shape[1:] == (49, 13)
    assert np.isfinite(store.numpy()).all()
