"""soundfile in a child process: the same samples, and no file holds up, fills or ends a run."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import soundfile
from opus import silence
from saved_model import saved

import audiocls
from audiocls.data.synth import write_dataset
from audiocls.engine import _fallback as fallback
from audiocls.engine import audio
from audiocls.engine._fallback import Decoding
from audiocls.errors import LimitError

RATE = 16000
TONE = (0.5 * np.sin(np.arange(3 * RATE) * 0.1)).astype(np.float32)


def encoded(kind: str, subtype: str | None = None, n: int = len(TONE)) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.resize(TONE, n), RATE, format=kind, subtype=subtype)
    return file.getvalue()


OPUS = encoded("OGG", "OPUS")


# Those of tests before these, as of a pool of processes.
EARLIER: set[int] = set()


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if lives(p) and p.pid not in EARLIER]


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended after it was listed
        return False


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    fallback.end_all()
    EARLIER.update(p.pid for p in psutil.Process().children())
    yield
    fallback.end_all()
    deadline = time.monotonic() + 20
    while children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not children()


def busy() -> list[psutil.Process]:
    """Children that are neither idle nor ended, once those that were ended have ended."""
    idle = {child._process.pid for child in fallback._Child._idle.get(os.getpid(), [])}
    deadline = time.monotonic() + 20
    while (found := [p for p in children() if p.pid not in idle]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("OGG", "OPUS"), ("AU", "PCM_16"), ("WAV", "IMA_ADPCM"), ("CAF", "ALAC_16")],
)
def test_the_samples_are_those_of_soundfile(tmp_path: Path, kind: str, subtype: str) -> None:
    stereo = np.stack([TONE, np.roll(TONE, 7)], axis=1)
    file = tmp_path / "x"
    soundfile.write(file, stereo, RATE, format=kind, subtype=subtype)
    expected, rate = soundfile.read(file, dtype="float32")
    for source in (str(file), file.read_bytes()):
        decoding = Decoding(source)
        assert (decoding.sample_rate, decoding.channels) == (rate, 2)
        assert np.array_equal(np.concatenate(list(decoding)), expected.mean(axis=1))
    assert audio.probe(str(file)) == (len(expected) / rate, rate, 2)


def test_one_child_serves_many_and_each_thread_has_its_own() -> None:
    def decode(_: int) -> bytes:
        return audio.load_bytes(OPUS)[0].tobytes()

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(decode, range(20)))) == 1
    assert 1 <= len(children()) <= 2
    [first, *_] = children()
    with pytest.raises(OSError, match="soundfile: Format not recognised"):
        audio.load_bytes(b"no sound at all")
    with pytest.raises(OSError, match="soundfile: Format not recognised"):
        Decoding(b"no sound at all")
    assert first in children()


def header_claims(mp3: bytes, frames: int) -> bytes:
    """The same with another number of frames in its Info header."""
    at = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    return mp3[: at + 8] + struct.pack(">I", frames) + mp3[at + 12 :]


@pytest.mark.parametrize("frames", [100_000, 1_000_000, 2**31])
def test_no_memory_is_taken_because_a_header_claims_it(frames: int) -> None:
    """libsndfile alone takes 575 MB for the first, and does not end with the last."""
    short = header_claims(encoded("MP3", n=1000), frames)
    decoding = Decoding(short)
    [child] = children()
    samples = np.concatenate([np.zeros(0, np.float32), *decoding])
    assert samples.size < 10_000
    assert child.memory_info().rss < 300_000_000


# --- children that do not behave ---

BEGIN = """
import os, struct, sys, time, signal
def send(kind, payload=b''):
    os.write(1, struct.pack('<cI', kind, len(payload)) + payload)
send(b'r')
sys.stdin.buffer.read(26)
"""
HEADER = "send(b'i', struct.pack('<IIQ', 16000, 1, 5))\n"
MISCHIEF = {
    "sleeps": ("time.sleep(99)", "takes too long"),
    "spins": ("while True: pass", "takes too long"),
    "sleeps after its header": (HEADER + "time.sleep(99)", "takes too long"),
    "never ends": (HEADER + "while True: send(b'b', bytes(4 << 16))", "gives more than"),
    "dies": ("os.kill(os.getpid(), signal.SIGSEGV)", r"the decoder crashed \(SIGSEGV\)"),
    "dies after its header": (HEADER + "os._exit(3)", r"the decoder crashed \(3\)"),
    "claims a huge message": ("os.write(1, struct.pack('<cI', b'b', 2**31))", "crashed"),
    "talks nonsense": ("os.write(1, b'x' * 99)", "crashed"),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "SECONDS", 0.5)
    monkeypatch.setattr(fallback, "SECONDS_A_MILLION", 0.0)
    monkeypatch.setattr(fallback, "SAMPLES_A_BYTE", 100)


@pytest.mark.parametrize("name", MISCHIEF)
def test_a_child_that_does_not_behave_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None, name: str
) -> None:
    program, message = MISCHIEF[name]
    (tmp_path / "worker.py").write_text(BEGIN + program)
    monkeypatch.setattr(fallback, "_WORKER", tmp_path / "worker.py")
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/bad.opus").write_bytes(OPUS)
    with pytest.raises(LimitError, match=f"^the fallback decoder: .*{message}"):
        list(Decoding(OPUS))
    with pytest.raises(OSError, match=rf"bad\.opus: .*; the fallback decoder: .*{message}"):
        audiocls.load(tmp_path / "data/a/bad.opus")
    soundfile.write(tmp_path / "data/a/good.wav", TONE, RATE)
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    bad, good = store.recordings
    assert (bad.status, good.status, len(store)) == ("failed", "ok", 6)
    assert "the fallback decoder: " in bad.error
    assert not busy()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")
def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real child, with a soundfile that allocates what a header claims."""
    (tmp_path / "soundfile.py").write_text(
        "class SoundFile:\n    def __init__(self, *_, **__): self.x = bytearray(1 << 33)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LimitError, match="needs too much memory"):
        Decoding(OPUS)


@pytest.mark.skipif(sys.platform == "win32", reason="there the parent's clock is the only limit")
def test_a_child_ends_itself_when_its_parent_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "soundfile.py").write_text(
        "class SoundFile:\n    def __init__(self, *_, **__):\n        while True: pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = fallback._Child()
    try:
        assert child.messages.get(timeout=60)[0] == b"r"
        child.ask(OPUS, False, 0.2)
        assert child.messages.get(timeout=60) == (b"", b"")
        assert "takes too long" in child.cause_of_death()
    finally:
        child.end()


def test_nothing_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy.py", "soundfile.py", "struct.py"):
        (tmp_path / name).write_text("raise SystemExit('a stranger was here')")
    monkeypatch.chdir(tmp_path)
    assert len(audio.load_bytes(OPUS)[0]) == len(TONE)


def test_what_c_libraries_print_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    # libmpg123 has notes on this: "Illegal Audio-MPEG-Header 0x00000000 at offset 5120. Trying …"
    data = b"\xff\xfb\x90\x64" + bytes(range(256)) * 20
    with pytest.raises(OSError, match="soundfile: File does not exist or is not a regular file"):
        Decoding(data)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(data))
    assert "Illegal" in capfd.readouterr().err


def test_without_soundfile_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OSError, match="soundfile and av, which may know the format, are not"):
        audio.load_bytes(OPUS)


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no longer a regular file"):
        Decoding(str(tmp_path / "pipe"))


def test_a_forked_process_has_children_of_its_own() -> None:
    program = (
        "import os, sys, warnings; from audiocls.engine import audio\n"
        "data = sys.stdin.buffer.read(); n = len(audio.load_bytes(data)[0])\n"
        "child = os.fork()\n"
        "assert len(audio.load_bytes(data)[0]) == n\n"
        "if child == 0: os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=OPUS, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["extract", "info", "load"])
def test_ctrl_c_while_soundfile_is_busy(tmp_path: Path, command: str) -> None:
    """The child decodes for ever; Ctrl-C ends the command with 130 and leaves no process."""
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/x.opus").write_bytes(OPUS)
    (tmp_path / "worker.py").write_text(
        BEGIN + "open(sys.argv[0] + '.asked', 'w').write(str(os.getpid()))\nwhile True: pass\n"
    )
    program = (
        "import sys, pathlib; from audiocls.engine import _fallback as fallback\n"
        f"fallback._WORKER = pathlib.Path({str(tmp_path / 'worker.py')!r})\n"
        "if sys.argv[1] == 'load':\n"
        "    import audiocls\n"
        "    try: audiocls.load('data/a/x.opus')\n"
        "    except KeyboardInterrupt: sys.exit(130)\n"
        "from audiocls.__main__ import main; main()\n"
    )
    options = ["--feature", "mel-16k", "--out", "store"] if command == "extract" else []
    process = subprocess.Popen(
        [sys.executable, "-c", program, command, "data", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    asked = tmp_path / "worker.py.asked"
    while not asked.exists() or not asked.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int(asked.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(int(asked.read_text()))


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(LimitError, match="the run was stopped"):
        Decoding(OPUS, stop)


# --- what only FFmpeg knows ---


CORE = 22_050


def he_aac() -> bytes:
    """An M4A whose header says HE-AAC, of which the core has half the rate. The part that holds its
    high frequencies is left out.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=CORE, layout="mono")
        frame = av.AudioFrame.from_ndarray(TONE[None], "fltp", "mono")
        frame.sample_rate, frame.pts = CORE, 0
        pieces = av.AudioResampler("fltp", "mono", CORE, frame_size=1024)
        for piece in [*pieces.resample(frame), *pieces.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode())
        old = bytes(stream.codec_context.extradata or b"")
    data = bytearray(file.getvalue())
    # ISO/IEC 14496-3: object type 5 (SBR) over type 2 (LC), 22.05 and 44.1 kHz, one channel.
    new = bytes.fromhex("2b8a0800")
    esds = data.find(b"esds")
    at = data.find(b"\5\x80\x80\x80" + bytes([len(old)]) + old, esds)
    assert 0 < esds < at
    more = len(new) - len(old)
    data[at + 4 : at + 5 + len(old)] = bytes([len(new)]) + new
    for tag in (b"\4\x80\x80\x80", b"\3\x80\x80\x80"):
        data[data.find(tag, esds) + 4] += more
    entry = data.find(b"mp4a", data.find(b"stsd"))
    for name in (b"esds", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov", b"mp4a"):
        box = (entry if name == b"mp4a" else data.find(name)) - 4
        length = int.from_bytes(data[box : box + 4], "big") + more
        data[box : box + 4] = length.to_bytes(4, "big")
    data[entry + 28 : entry + 32] = (2 * CORE << 16).to_bytes(4, "big")
    return bytes(data)


def test_he_aac_is_decoded_as_by_ffmpeg(tmp_path: Path) -> None:
    file = tmp_path / "phone.m4a"
    file.write_bytes(he_aac())
    with av.open(str(file)) as container:
        frames = [f.to_ndarray() for f in container.decode(audio=0)]
        rate = container.streams.audio[0].codec_context.sample_rate
    expected = np.concatenate(frames, axis=1).mean(axis=0)
    assert rate == 2 * CORE
    assert np.abs(expected).max() > 0.3
    for samples, got in (audiocls.load(file), audio.load_bytes(file.read_bytes())):
        assert got == rate
        np.testing.assert_allclose(samples, expected, atol=1e-6)
    assert audio.probe(str(file))[1] == rate


def test_without_ffmpeg_the_reason_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "phone.m4a"
    file.write_bytes(he_aac())
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "av" else found(n))
    worker = tmp_path / "worker.py"
    run = f"runpy.run_path({str(fallback._WORKER)!r}, run_name='__main__')"
    worker.write_text(f"import runpy, sys\nsys.modules['av'] = None\n{run}\n")
    monkeypatch.setattr(fallback, "_WORKER", worker)
    with pytest.raises(OSError, match=r"HE-AAC.*; pip install 'audiocls\[av\]' decodes more"):
        audiocls.load(file)


def test_playlists_name_no_other_file(tmp_path: Path) -> None:
    """FFmpeg would follow them, to files and URLs."""
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, TONE, RATE)
    for name, text in (
        ("x.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("x.ffconcat", f"ffconcat version 1.0\nfile {secret}\n"),
        ("x.sdp", "v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(OSError, match="PyAV: "):
            audiocls.load(tmp_path / name)


# --- a recording that few bytes make very long ---


PEAKS = """
import sys, audiocls
from pathlib import Path
from audiocls.inference import demo
classifier = audiocls.Classifier.load(sys.argv[1])
for path in sys.argv[3:]:
    if sys.argv[2] == "path":
        assert classifier.predict([path])
    elif sys.argv[2] == "bytes":
        assert classifier.predict([Path(path).read_bytes()])
    elif sys.argv[2] == "demo":
        assert demo.Overview.of(path, 60.0).high.max() == 0
        assert len(demo.cut_out(path, 1.0, 3.0)[1]) == 2 * 44100
    else:
        audiocls.load(path)
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_dataset(folder / "data", clips_per_class=6, n_classes=2)
    return saved(folder / "model", audiocls.extract(folder / "data", "mfcc", folder / "store"))


@pytest.mark.parametrize("how", ["path", "bytes", "demo", "load"])
def test_twenty_minutes_take_the_memory_of_half_a_minute(
    tmp_path: Path, model: Path, how: str
) -> None:
    """`load` alone holds the samples: once."""
    files = [tmp_path / f"{seconds}.opus" for seconds in (30, 1200)]
    for file in files:
        file.write_bytes(silence(int(file.stem)))
    assert file.stat().st_size < 33_000
    command = [sys.executable, "-c", PEAKS, str(model), how, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = (int(kb) / 1e3 for kb in done.stdout.split())
    held = 1200 * 48000 * 4 / 1e6 if how == "load" else 0  # at 12 kHz it would be 58
    assert after - before < 1.15 * held + 30, (before, after)


def test_pieces_are_what_load_gives(tmp_path: Path) -> None:
    file = tmp_path / "x.opus"
    file.write_bytes(encoded("OGG", "OPUS", 40 * RATE))
    for rate in (48000, 44100, 8000):
        whole, _ = audiocls.load(file, rate)
        for source in (file, file.read_bytes()):
            pieces = list(audio.read_blocks(source, rate, 10_000))
            assert len(pieces) > 1
            assert np.array_equal(np.concatenate(pieces), whole)
        assert np.array_equal(audio.read_excerpt(file, rate, 1000, 90_000), whole[1000:90_000])
    assert whole.flags.writeable
