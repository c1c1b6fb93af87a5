"""Files that real collections contain: each is named with its reason, and nothing else is lost.

Every file is built here, as the report that first described it says.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.typing import NDArray

import audiocls
from audiocls.data.listing import list_recordings
from audiocls.errors import DataError, SettingError
from audiocls.store.summary import summarise

RATE = 16000
TONE = (0.5 * np.sin(np.arange(RATE) * 0.1)).astype(np.float32)


def encoded(kind: str, subtype: str | None = None, samples: NDArray[np.float32] = TONE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind, subtype=subtype)
    return file.getvalue()


def wav(
    data: bytes,
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    align: int | None = None,
    data_len: int | None = None,
    extra: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """A WAV file of which every field can be wrong."""
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", kind, channels, rate, rate * align % 2**32, align, bits) + extra
    data_len = len(data) if data_len is None else data_len
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + before
    chunks += b"data" + struct.pack("<I", data_len) + data
    return b"RIFF" + struct.pack("<I", min(len(chunks) + 4, 2**32 - 1)) + b"WAVE" + chunks


def pcm(n: int) -> bytes:
    return (TONE[:n] * 32767).astype("<i2").tobytes()


def extensible(valid: int) -> bytes:
    return (
        struct.pack("<HHI", 22, valid, 4)
        + b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x008\x9bq"
    )


def rf64() -> bytes:
    plain = wav(pcm(RATE))
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, len(plain) + 28, 2 * RATE, RATE, 0)
    text = b"RF64" + b"\xff" * 4 + b"WAVE" + ds64 + plain[12:]
    return text.replace(b"data" + struct.pack("<I", 2 * RATE), b"data" + b"\xff" * 4)


def flac_with(change: Callable[[bytearray], None]) -> bytes:
    contents = bytearray(encoded("FLAC"))
    change(contents)
    return bytes(contents)


def absurd_total(contents: bytearray) -> None:
    contents[21] |= 0x0F  # the 36 bits of STREAMINFO's total samples
    contents[22:26] = b"\xff" * 4


def huge_metadata(contents: bytearray) -> None:
    contents[4] &= 0x7F  # STREAMINFO is no longer the last block
    contents[42:42] = b"\x84\xff\xff\xff"  # a last block of 16 MB that is not there


def float_wav(values: list[float]) -> bytes:
    return wav(np.array(values, "<f4").tobytes(), kind=3, bits=32)


MP3 = encoded("MP3")
GOOD, BAD = "ok", "failed"
# name: contents, what becomes of it, a part of the reason or the number of clips
FILES: dict[str, tuple[bytes, str, str | int]] = {
    "zero-bytes.wav": (b"", BAD, "is empty"),
    "header-only.wav": (wav(b""), BAD, "no samples"),
    "cut-header.wav": (wav(pcm(100))[:20], BAD, ""),
    "one-sample.wav": (wav(pcm(1)), GOOD, 1),
    "two-samples.wav": (wav(pcm(2)), GOOD, 1),
    "text.wav": (b"This is a text file with the wrong name.\n" * 3, BAD, "no audio format"),
    "claims-4-gib.wav": (wav(pcm(8), data_len=2**32 - 2), GOOD, 1),
    "length-ffffffff.wav": (wav(pcm(RATE), data_len=2**32 - 1), GOOD, 2),
    "odd-fmt-size.wav": (wav(pcm(RATE), extra=b"\x00\x00"), GOOD, 2),
    "short-fmt.wav": (wav(b"")[:16] + b"\x06\x00\x00\x00\x01\x00\x01\x00\x80\x3e", BAD, ""),
    "block-align-0.wav": (wav(pcm(RATE), align=0), GOOD, 2),
    "no-channels.wav": (wav(pcm(RATE), channels=0), BAD, ""),
    "65535-channels.wav": (wav(pcm(RATE), channels=65535, align=2), BAD, ""),
    "frames-overflow.wav": (wav(pcm(4), channels=1024, data_len=2**32 - 1), BAD, ""),
    "huge-list.wav": (wav(pcm(RATE), before=b"LIST\xf0\xff\xff\x7fINFO"), BAD, ""),
    "24-in-32.wav": (
        wav(b"\x00\x10\x20\x01" * RATE, kind=0xFFFE, bits=32, extra=extensible(24)), GOOD, 2),
    "extensible.wav": (wav(pcm(RATE), kind=0xFFFE, extra=extensible(16)), GOOD, 2),
    "rf64.wav": (rf64(), GOOD, 2),
    "nan.wav": (float_wav([0.1] * RATE + [np.nan]), BAD, "sample 16000 is NaN: must be finite"),
    "inf.wav": (float_wav([0.1, float("-inf")] * 20), BAD, "sample 1 is -inf: must be finite"),
    "beyond-one.wav": (float_wav([8.0, -9.0] * RATE), GOOD, 4),
    "dc.wav": (float_wav([0.5] * RATE), GOOD, 2),
    "silence.wav": (float_wav([0.0] * RATE), GOOD, 2),
    "rate-0.wav": (wav(pcm(RATE), rate=0), BAD, ""),
    "rate-1.wav": (wav(pcm(RATE), rate=1), BAD, "sample_rate 1 is invalid"),
    "rate-7.wav": (wav(pcm(RATE), rate=7), BAD, "sample_rate 7 is invalid"),
    "rate-11024.wav": (wav(pcm(11024), rate=11024), GOOD, 2),
    "rate-768000.wav": (wav(pcm(RATE), rate=768000), GOOD, 1),
    "rate-4294967295.wav": (wav(pcm(RATE), rate=2**32 - 1), BAD, "4294967295 is invalid"),
    "cut.mp3": (MP3[: len(MP3) // 2], GOOD, 1),
    "tag-of-33-bytes.mp3": (b"ID3\x03\x00\x00\x00\x00\x00\x17" + bytes(23) + MP3, GOOD, 2),
    "tag-claims-256-mb.mp3": (b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + MP3, BAD, ""),
    "garbage-before-sync.mp3": (b"\x00garbage\xff\x00" * 20 + MP3, GOOD, 2),
    "no-xing.mp3": (MP3.replace(b"Xing", b"    ").replace(b"Info", b"    "), GOOD, 2),
    "absurd-total.flac": (flac_with(absurd_total), GOOD, 2),
    "huge-metadata.flac": (flac_with(huge_metadata), BAD, ""),
    "cut.flac": (encoded("FLAC")[:3000], GOOD, 1),
    "cut.ogg": (encoded("OGG")[:60], BAD, ""),
}  # fmt: skip
N_GOOD = 20


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> tuple[audiocls.Store, int]:
    """All these files among good ones, extracted by the command line; and its peak memory, kB."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (contents, _, _) in FILES.items():
        (folder / "data/bad").mkdir(parents=True, exist_ok=True)
        (folder / "data/bad" / name).write_bytes(contents)
    (folder / "data/good").mkdir()
    for i in range(N_GOOD):
        (folder / f"data/good/{i:02}.wav").write_bytes(encoded("WAV"))
    os.mkfifo(folder / "data/good/pipe.wav")
    program = (
        "import sys; from audiocls.cli import main\n"
        "try: main()\n"
        "finally: sys.stderr.write(open('/proc/self/status').read())"
    )
    arguments = ["extract", "data", "--feature", "mel-16k", "--out", "store", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recordings"] == len(FILES) + N_GOOD + 1
    return audiocls.open_store(folder / "store"), int(done.stderr.split("VmHWM:")[1].split()[0])


@pytest.mark.parametrize("name", FILES)
def test_each_file(extracted: tuple[audiocls.Store, int], name: str) -> None:
    _, status, detail = FILES[name]
    store, _ = extracted
    [recording] = [r for r in store.recordings if r.path == f"bad/{name}"]
    assert recording.status == status, recording
    if status == GOOD:
        assert recording.n_clips == detail
        assert np.isfinite(store.features[store.clip_recording == recording.id]).all()
    else:
        assert recording.n_clips == 0
        assert recording.error
        assert str(detail) in recording.error
        assert "\n" not in recording.error
        assert "panicked" not in recording.error


def test_nothing_else_is_lost(extracted: tuple[audiocls.Store, int]) -> None:
    store, _ = extracted
    good = [r for r in store.recordings if r.label == "good" and r.status == "ok"]
    assert len(good) == N_GOOD
    clips = [store.features[store.clip_recording == r.id] for r in good]
    assert all(np.array_equal(c, clips[0]) and len(c) == 2 for c in clips)


def test_every_failure_is_in_failures_csv(extracted: tuple[audiocls.Store, int]) -> None:
    store, _ = extracted
    with (store.path / "failures.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    failed = [r for r in store.recordings if r.status == "failed"]
    assert rows == [{"path": r.path, "reason": r.error} for r in failed]
    assert "good/pipe.wav" in {row["path"] for row in rows}


def test_memory_stays_bounded(extracted: tuple[audiocls.Store, int]) -> None:
    _, peak_kb = extracted
    assert peak_kb < 300_000


def test_a_file_without_read_permission(tmp_path: Path) -> None:
    # Root reads everything, so that a test run as root becomes somebody else for a moment.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("a/good.wav", "a/secret.wav", "b/good.wav", "locked/x.wav"):
            (folder / "data" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "data" / file).write_bytes(encoded("WAV"))
        (folder / "data/a/secret.wav").chmod(0)
        (folder / "data/locked").chmod(0)
        (folder / "out").mkdir()
        folder.chmod(0o755)
        (folder / "out").chmod(0o777)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            store = audiocls.extract(folder / "data", "mel-16k", folder / "out/store")
            errors = {r.path: r.error for r in store.recordings if r.error}
        finally:
            if was_root:
                os.seteuid(0)
            (folder / "data/locked").chmod(0o755)
        assert errors == {
            "a/secret.wav": "Permission denied (os error 13)",
            "locked": "folder cannot be read: Permission denied",
        }
        assert len(store) == 4


def test_a_file_that_vanishes_or_changes_after_it_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("a/gone.wav", "a/grown.wav", "a/touched.wav", "a/became-a-pipe.wav", "b/good.wav"):
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).write_bytes(encoded("WAV"))

    from audiocls.store import planning

    list_recordings = planning.list_recordings

    def list_then_change(data: Path, **_: object) -> object:
        listing = list_recordings(data)
        (data / "a/gone.wav").unlink()
        (data / "a/grown.wav").write_bytes(encoded("WAV") + bytes(100))
        os.utime(data / "a/touched.wav", ns=(0, 0))
        (data / "a/became-a-pipe.wav").unlink()
        os.mkfifo(data / "a/became-a-pipe.wav")
        return listing

    monkeypatch.setattr(planning, "list_recordings", list_then_change)
    with pytest.raises(DataError, match="4 of 5 recordings failed, all of class a among them"):
        audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    with (tmp_path / "store/failures.csv").open(newline="") as text:
        assert {row["path"]: row["reason"] for row in csv.DictReader(text)} == {
            "a/became-a-pipe.wav": "changed after it was listed",
            "a/gone.wav": "vanished after it was listed",
            "a/grown.wav": "changed after it was listed",
            "a/touched.wav": "changed after it was listed",
        }


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="a Linux file that blocks its reader")
def test_what_only_looks_like_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/kernel.wav").symlink_to("/proc/kmsg")
    (tmp_path / "data/a/good.wav").write_bytes(encoded("WAV"))
    with pytest.raises(OSError, match=r"kernel\.wav"):
        audiocls.load(tmp_path / "data/a/kernel.wav")
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    assert [r.status for r in store.recordings] == ["ok", "failed"]
    done = subprocess.run(
        [sys.executable, "-m", "audiocls", "info", str(tmp_path / "data"), "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["failed"] == 1


def parquet_of(file: Path, cells: list[object]) -> None:
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array(cells, struct_type)
    pq.write_table(pa.table({"audio": audio, "label": ["a"] * len(cells)}), file)


def test_a_cell_names_only_regular_files(tmp_path: Path) -> None:
    """A table from a stranger may name what never ends, blocks or is none of its business."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.wav").write_bytes(encoded("WAV"))
    (tmp_path / "secret.wav").write_bytes(encoded("WAV"))
    cells = [
        {"bytes": encoded("WAV"), "path": "anything\0"},
        {"bytes": None, "path": str(tmp_path / "data/x.wav")},
        {"bytes": None, "path": str(tmp_path / "secret.wav")},
        {"bytes": None, "path": "/dev/zero"},
        {"bytes": None, "path": str(tmp_path / "pipe")},
        {"bytes": b"", "path": "a\0b"},
        {"bytes": None, "path": None},
        None,
    ]
    parquet_of(tmp_path / "data/x.parquet", [*cells, *cells[:2] * 3])
    store = audiocls.extract(tmp_path / "data/x.parquet", "mel-16k", tmp_path / "store")
    errors = [r.error for r in store.recordings[: len(cells)]]
    assert errors[:3] == ["", "", ""]
    for error, expected in zip(
        errors[3:],
        ["is a pipe, socket or device", "is a pipe, socket or device", "is no name of a file",
         "neither bytes nor a path", "neither bytes nor a path"],
        strict=True,
    ):  # fmt: skip
        assert expected in error
    summary = summarise(tmp_path / "data/x.parquet")
    assert summary.failed == 5
    inside = audiocls.extract(
        tmp_path / "data/x.parquet", "mel-16k", tmp_path / "inside", inside_only=True
    )
    assert [r.path for r in inside.recordings if "outside the data set" in r.error] == [
        f"x.parquet/{i:09}" for i in (2, 3, 4, 5)
    ]


def test_links_that_lead_out_may_be_refused(tmp_path: Path) -> None:
    for file in ("data/a/good.wav", "data/a/also.wav", "elsewhere/b/x.wav"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(encoded("WAV"))
    (tmp_path / "data/a/inside.wav").symlink_to("good.wav")
    (tmp_path / "data/a/outside.wav").symlink_to(tmp_path / "elsewhere/b/x.wav")
    (tmp_path / "data/linked").symlink_to(tmp_path / "elsewhere/b")
    listing = list_recordings(tmp_path / "data")
    assert [r.error for r in listing.recordings] == [""] * 5
    inside = list_recordings(tmp_path / "data", inside_only=True).recordings
    assert {r.path: r.error for r in inside} == {
        "a/also.wav": "",
        "a/good.wav": "",
        "a/inside.wav": "",
        "a/outside.wav": "lies outside the data set",
        "linked": "lies outside the data set",
    }  # fmt: skip
    manifest = tmp_path / "data/metadata.csv"
    manifest.write_text("path,label\na/good.wav,a\n../elsewhere/b/x.wav,b\n")
    listing = list_recordings(tmp_path / "data", inside_only=True)
    assert [r.error for r in listing.recordings] == ["lies outside the data set", ""]


@pytest.mark.parametrize(
    "metadata",
    [b"{", b"[]", b"[" * 10_000, b'{"info": 1}', b'{"info": {"features": []}}',
     b'{"info": {"features": {"label": {"names": 1}}}}',
     b'{"info": {"features": {"label": {"names": [1, null]}}}}'],
)  # fmt: skip
def test_broken_hugging_face_metadata_is_one_line(tmp_path: Path, metadata: bytes) -> None:
    table = pa.table({"audio": [encoded("WAV")], "label": [0]})
    table = table.replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: its Hugging Face metadata"):
        list_recordings(tmp_path / "x.parquet")


def test_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    parquet_of(tmp_path / "x.parquet", [{"bytes": encoded("WAV"), "path": None}] * 4)
    whole = (tmp_path / "x.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 8):
            damaged[at] = rng.integers(256)
        # The end, where the description of the table is, more often than chance has it.
        for at in rng.integers(len(whole) - 700, len(whole) - 8, 2):
            damaged[at] = rng.integers(256)
        (tmp_path / "x.parquet").write_bytes(damaged)
        with contextlib.suppress(DataError):
            summarise(tmp_path / "x.parquet")


def test_a_manifest_of_any_text(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(encoded("WAV"))
    rows = [json.dumps({"path": "x.wav", "label": "a"})] * 3
    odd = [
        json.dumps({"path": path, "label": "a"}) for path in ("\ud800.wav", "a\0b.wav", "x" * 5000)
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(rows[:2] + odd[:1]))
    store = audiocls.extract(manifest, "mel-16k", tmp_path / "store")
    assert [r.status for r in store.recordings] == ["ok", "ok", "failed"]
    assert store.recordings[2].path == "\ud800.wav"
    manifest.write_text("\n".join(rows + odd))
    assert [r.status for r in list_recordings(manifest).recordings].count("failed") == 3
    for line in ("[" * 100_000, '{"a": ' * 100_000, '{"path": ' + "9" * 5000 + "}", "[]", "nul"):
        manifest.write_text(rows[0] + "\n" + line)
        with pytest.raises(DataError, match=r"m\.jsonl: line 2 is not "):
            list_recordings(manifest)
    manifest.unlink()
    os.mkfifo(manifest)
    with pytest.raises(SettingError, match="must be a folder"):
        list_recordings(manifest)


def test_what_our_decoders_cannot_read_goes_to_soundfile(tmp_path: Path) -> None:
    (tmp_path / "data/a").mkdir(parents=True)
    contents = encoded("AU", "PCM_16")
    (tmp_path / "data/a/x.au").write_bytes(contents)
    (tmp_path / "data/a/y.wav").write_bytes(encoded("WAV", "PCM_16"))
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
    assert [r.status for r in store.recordings] == ["ok", "ok"]
    assert np.array_equal(store.features[:2], store.features[2:])
    assert store.recordings[0].audio_hash == store.recordings[1].audio_hash


def test_only_bad_files_give_no_store(tmp_path: Path) -> None:
    (tmp_path / "data/a").mkdir(parents=True)
    for i in range(3):
        (tmp_path / f"data/a/{i}.wav").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"none of 3 recordings gives a clip.*a/0\.wav: is empty"
        ):
            audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store")
        assert not (tmp_path / "store/store.json").exists()
        assert len((tmp_path / "store/failures.csv").read_text().splitlines()) == 4
