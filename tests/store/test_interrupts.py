"""Stopped at any moment, out of space, refused: what is there stays usable, and resuming gives the
bytes of an undisturbed run. Also: memory is bounded, whatever the data.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiocls
from audiocls.store.extraction import Progress

RATE = 16000
# A small shard, so that there is something between the beginning and the end.
PROGRAM = """
import sys
from audiocls.store import planning
from audiocls.__main__ import main
planning.SHARD_RECORDINGS = int(sys.argv.pop(1))
try:
    main()
finally:
    sys.stderr.write(open("/proc/self/status").read())
"""


def start(
    data: Path, store: Path, *options: str, shard: int = 5, **popen: object
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(shard), "extract", str(data)]
    command += ["--feature", "mel-16k", "--out", str(store), "--threads", "2", *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,  # type: ignore[call-overload]
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def peak_kb(errors: str) -> int:
    # Not getrusage: its maximum counts the parent, of which the process is a fork.
    return int(errors.split("VmHWM:")[1].split()[0])


def contents(store: Path) -> dict[str, bytes]:
    files = [file for file in store.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 recordings of 20 s: enough work to be interrupted in."""
    folder = tmp_path_factory.mktemp("interrupts") / "data"
    y = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE).astype(np.float32)
    for i in range(120):
        (folder / f"class-{i % 3}").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"class-{i % 3}/{i:03}.wav", np.roll(y, i), RATE, "PCM_16")
    (folder / "class-0/broken.wav").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def undisturbed(data: Path) -> dict[str, bytes]:
    process = start(data, data.parent / "undisturbed")
    code, errors = finish(process)
    assert code == 0, errors
    return contents(data.parent / "undisturbed")


def shards(store: Path) -> int:
    return len(list(store.glob("shards/*.recordings.jsonl")))


def wait_for(store: Path, n_shards: int, process: subprocess.Popen[str]) -> None:
    while shards(store) < n_shards and process.poll() is None:
        time.sleep(0.001)


def test_kill_9_at_random_moments(
    data: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    store = tmp_path / "store"
    rng = random.Random(0)
    halfway = 0
    for _ in range(8):
        process = start(data, store)
        # From "has not written a byte" to "in the middle of a later shard".
        wait_for(store, shards(store) + rng.choice([0, 1, 1, 2, 3]), process)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        finish(process)
        done = contents(store) if store.exists() else {}
        for name, value in done.items():
            if name.endswith(".npy"):  # never half a file under its own name
                assert value == undisturbed[name], name
        if "store.json" in done:
            break
        halfway += any(name.endswith("recordings.jsonl") for name in done)
    assert halfway > 0
    code, errors = finish(start(data, store))
    assert code == 0, errors
    assert contents(store) == undisturbed


def test_ctrl_c(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    store = tmp_path / "store"
    process = start(data, store)
    wait_for(store, 2, process)
    process.send_signal(signal.SIGINT)
    code, errors = finish(process)
    assert code == 130, errors
    assert errors.splitlines()[0] == "interrupted; everything finished so far is kept"
    assert "Traceback" not in errors
    assert not list(store.glob("**/*.tmp"))
    kept = shards(store)
    assert kept >= 2
    assert not (store / "store.json").exists()
    code, errors = finish(start(data, store))
    assert code == 0, errors
    assert contents(store) == undisturbed


@pytest.mark.parametrize("command", ["extract", "info"])
def test_ctrl_c_while_a_read_never_returns(tmp_path: Path, command: str) -> None:
    """As from a network share that is gone: the thread that reads cannot be ended by anybody."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": b"x", "path": None}] * 3
    pq.write_table(pa.table({"audio": cells, "label": ["a"] * 3}), tmp_path / "x.parquet")
    program = (
        "import os, sys, time; from audiocls.data.listing import parquet\n"
        "ends = os.pipe()\n"
        "def blocked(*cell):\n"
        "    print('blocked', file=sys.stderr, flush=True)\n"
        "    os.read(ends[0], 1)\n"
        "parquet.read_cell = blocked\n"
        "from audiocls.__main__ import main; main()\n"
    )
    options = ["--feature", "mel-16k", "--out", str(tmp_path / "s")] if command == "extract" else []
    arguments = [sys.executable, "-c", program, command, str(tmp_path / "x.parquet"), *options]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "blocked\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted; everything finished so far is kept"
    assert "Traceback" not in errors
    if command == "extract":  # the lock is free, and what is there is whole
        pq.write_table(pa.table({"audio": cells, "label": ["b"] * 3}), tmp_path / "x.parquet")
        code, errors = finish(start(tmp_path / "x.parquet", tmp_path / "s", "--restart"))
        assert code == 1
        assert "none of 3 recordings gives a clip" in errors


@pytest.mark.parametrize("arguments", [["--help"], ["presets"], ["train", "--help"]])
def test_ctrl_c_during_start_up(arguments: list[str]) -> None:
    """At any moment from the first import of ours on, one line and 130."""
    program = (
        "import os, signal, sys, builtins\n"
        "at, n, real = int(sys.argv.pop(1)), 0, builtins.__import__\n"
        "def counting(*args, **kwargs):\n"
        "    global n; n += 1\n"
        "    if n == at: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(*args, **kwargs)\n"
        "from audiocls.__main__ import main\n"
        "builtins.__import__ = counting\n"
        "try: main()\n"
        "finally: builtins.__import__ = real; print(n)\n"
    )

    def run(at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(at), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    n_imports = int(run(0).stdout.splitlines()[-1])
    for at in (1, n_imports // 3, n_imports * 2 // 3):
        done = run(at)
        assert done.returncode == 130, done.stderr
        assert done.stderr == "interrupted; everything finished so far is kept\n"


def test_a_full_disk(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """A write call that the system refuses half-way, as on a full disk: here by a limit on the size
    of files, which needs no disk of its own and no rights.
    """
    store = tmp_path / "store"
    largest = max(len(value) for value in undisturbed.values())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, resource.RLIM_INFINITY))

    code, errors = finish(start(data, store, preexec_fn=limit))
    assert code == 1
    message = errors.splitlines()[0]
    assert message.startswith(f"audiocls extract: {store / 'shards'}")
    assert "File too large" in message
    assert "Traceback" not in errors
    assert not list(store.glob("**/*.tmp"))
    code, errors = finish(start(data, store))
    assert code == 0, errors
    assert contents(store) == undisturbed


def test_a_folder_that_cannot_be_written(data: Path, tmp_path: Path) -> None:
    # Not even root can make a folder here; a folder without write permission would not stop root.
    code, errors = finish(start(data, Path("/proc/audiocls-store")))
    assert code == 1
    assert errors.splitlines()[0].startswith("audiocls extract: ")
    assert "/proc/audiocls-store" in errors
    assert "Traceback" not in errors


def test_extraction_works_in_a_forked_child(data: Path, tmp_path: Path) -> None:
    """A thread pool that outlives a run would be dead in the child, which would wait for ever."""
    program = (
        "import os, sys, audiocls\n"
        "data, out = sys.argv[1:]\n"
        "audiocls.extract(data, 'mfcc', out + '/parent')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    audiocls.extract(data, 'mfcc', out + '/child')\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(data / "."), str(tmp_path)],
        check=True,
        timeout=120,
    )
    assert contents(tmp_path / "parent") == contents(tmp_path / "child")


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """The same at 1 and at 20 times the data, which is then several times the bound."""
    y = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * RATE).astype(np.float32)
    # Else glibc raises its threshold with every large block that is freed, and keeps such blocks:
    # the peak would tell how a busy machine ordered the threads, and not what was in use.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    peaks = []
    for times in (1, 20):
        data = tmp_path / f"data-{times}"
        (data / "a").mkdir(parents=True)
        soundfile.write(tmp_path / "minute.wav", y, RATE, "PCM_16")
        for i in range(2 * times):
            (data / f"a/{i:03}.wav").symlink_to(tmp_path / "minute.wav")
        # 20 clips a second, so that there is much more to write than to read.
        code, errors = finish(
            start(data, tmp_path / f"store-{times}", "--hop-s", "0.05", shard=1024, env=env)
        )
        assert code == 0, errors
        peaks.append(peak_kb(errors))
    size = sum(file.stat().st_size for file in tmp_path.glob("store-20/shards/*.npy"))
    assert size > 600_000_000
    assert max(peaks) < 300_000
    # 64 MiB may be in flight, which the small run cannot fill; what is on top is the allocator's.
    assert peaks[1] < peaks[0] + 64 * 1024 + 20_000


def test_a_recording_of_three_hours_is_never_held_whole(tmp_path: Path) -> None:
    seconds, rate = 3 * 3600, 8000
    (tmp_path / "data/a").mkdir(parents=True)
    file = tmp_path / "data/a/long.wav"
    with soundfile.SoundFile(file, "w", rate, 1, "PCM_16") as wav:
        noise = np.random.default_rng(0).integers(-9999, 9999, 60 * rate, dtype=np.int16)
        for _ in range(seconds // 60):
            wav.write(noise)
    code, errors = finish(start(tmp_path / "data", tmp_path / "store"))
    assert code == 0, errors
    # As float32 at the features' 16 kHz it is 691 MB.
    assert peak_kb(errors) < 300_000
    store = audiocls.open_store(tmp_path / "store")
    assert store.features.shape == (2 * seconds, 41, 80)
    assert store.recordings[0].duration_s == seconds
    soundfile.write(tmp_path / "minute.wav", noise, rate, "PCM_16")
    minute, _ = audiocls.load(tmp_path / "minute.wav", sample_rate=RATE)
    clips = minute.reshape(-1, RATE // 2)[:100]
    expected = audiocls.Extractor("mel-16k", threads=1).batch(clips)
    assert np.array_equal(store.features[:100], expected)
    # A later minute begins at another place of the resampler's grid: equal but for rounding, in the
    # bands below the recording's 4 kHz.
    later = store.features[60 * 240 :][1:100]
    assert np.abs(later - expected[1:])[..., :50].max() < 0.01


def n_calls(function: Callable[[], object]) -> int:
    """Calls of Python and C functions, and read and write calls of the system, that it makes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def system_calls() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("sysc"))

    before = system_calls()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls + system_calls() - before


def test_ten_times_the_files_are_ten_times_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing, extracting and resuming look at no file again because of another one."""
    monkeypatch.setattr("audiocls.store.planning.SHARD_RECORDINGS", 50)
    soundfile.write(tmp_path / "x.wav", np.zeros(160, np.float32), RATE)
    wav = (tmp_path / "x.wav").read_bytes()
    calls = {}
    for n in (200, 2000):
        data, store = tmp_path / f"data-{n}", tmp_path / f"store-{n}"
        for i in range(n):
            folder = data / f"class-{i % 7}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.wav").write_bytes(wav)

        def extract(
            data: Path = data,
            store: Path = store,
            progress: Callable[[Progress], None] | None = None,
        ) -> None:
            audiocls.extract(data, "mel-16k", store, progress=progress)

        def stop(progress: Progress) -> None:
            if progress.recordings == progress.total:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            extract(progress=stop)
        for file in store.glob("shards/*[05].recordings.jsonl"):
            file.unlink()  # so that every fifth shard is missing
        resumed = n_calls(extract)
        calls[n] = resumed, n_calls(extract)  # and once more, with nothing left to do
    for small, large in zip(calls[200], calls[2000], strict=True):
        assert large < 11 * small
