"""Decoding against libsndfile (soundfile), and what no recording may do to a process."""

from __future__ import annotations

import errno
import itertools
import math
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import audiocls
from audiocls import _native
from audiocls.engine import _fallback
from audiocls.engine.audio import load_bytes, probe, read_blocks
from audiocls.errors import SettingError, UnusableError

PCM = ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"]
FORMATS = [
    *[("WAV", subtype) for subtype in ["PCM_U8", *PCM, "ALAW"]],
    *[("WAVEX", subtype) for subtype in ["PCM_U8", *PCM, "ALAW"]],
    *[("RF64", subtype) for subtype in ["PCM_U8", *PCM]],
    *[("W64", subtype) for subtype in ["PCM_U8", *PCM]],
    *[("AIFF", subtype) for subtype in ["PCM_S8", "PCM_U8", *PCM, "ALAW"]],
    *[("CAF", subtype) for subtype in ["PCM_S8", *PCM, "ALAW"]],
    *[("FLAC", subtype) for subtype in ["PCM_S8", "PCM_16", "PCM_24"]],
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]


def sound(n: int, channels: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((n, channels)) * 0.1
    tone = 0.3 * np.sin(np.arange(n) * 0.05)[:, None] * np.arange(1, channels + 1) / channels
    return np.clip(noise + tone, -1, 0.999)


def write(path: Path, n: int, channels: int, format: str, subtype: str, rate: int = 44100) -> bytes:
    sf.write(path, sound(n, channels), rate, format=format, subtype=subtype)
    return path.read_bytes()


def reference(path: Path) -> tuple[np.ndarray, int]:
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def assert_as_libsndfile(path: Path) -> None:
    expected, rate = reference(path)
    got, got_rate = _native.load(path)  # the engine itself: nothing may fall back here
    assert (got_rate, got.shape, got.dtype) == (rate, expected.shape, np.float32)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_samples_and_length_equal_libsndfile(tmp_path: Path, format: str, subtype: str) -> None:
    # One name for all: the content tells the format.
    path = tmp_path / "recording.txt"
    most = 2 if format in ("MP3", "OGG") else 6
    for n, channels in itertools.product([1, 2, 1000, 50_001], [1, 2, most]):
        write(path, n, channels, format, subtype)
        assert_as_libsndfile(path)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 48000])
def test_every_mpeg_rate(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "x.mp3"
    write(path, 2 * rate + 17, 2, "MP3", "MPEG_LAYER_III", rate)
    assert_as_libsndfile(path)


def mpeg_frame_len(header: bytes) -> int:
    """Length of an MPEG-1 layer III frame at 44.1 kHz, from its first four bytes."""
    kbps = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320][header[2] >> 4]
    return 144_000 * kbps // 44100 + (header[2] >> 1 & 1)


def without_tag(mp3: bytes) -> bytes:
    first = mpeg_frame_len(mp3)
    assert b"Info" in mp3[:first] or b"Xing" in mp3[:first]
    return mp3[first:]


@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_of_constant_rate_without_tag(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "x.mp3"
    # Without a level the encoder chooses a variable rate all the same.
    how = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.5}
    sf.write(path, sound(100_000, channels), 44100, **how)
    path.write_bytes(without_tag(path.read_bytes()))
    assert_as_libsndfile(path)


def test_mp3_of_variable_rate_without_tag(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    tagged = write(path, 100_000, 1, "MP3", "MPEG_LAYER_III")
    expected, _ = reference(path)
    # Nothing says what the encoder added: LAME's 576 samples, the decoder's 529, and whole frames.
    # (libsndfile guesses the length from the first frame's bit rate, and stops at a third.)
    got, _ = load_bytes(without_tag(tagged))
    assert got.size % 1152 == 0
    np.testing.assert_allclose(got[1105:][: expected.size], expected, rtol=0, atol=1e-5)


def test_mp3_between_tags(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    audio = write(path, 50_000, 1, "MP3", "MPEG_LAYER_III")
    expected, _ = _native.load(path)
    # 33 bytes of ID3v2 (Symphonia#439), a cover larger than any buffer, ID3v1 and APEv2 at the end.
    small = b"ID3\x03\0\0\0\0\0\x17" + bytes(23)
    large = b"ID3\x04\0\0" + bytes([0, 40, 0, 0]) + b"\xff\xfb\x90\xc4" * (40 * 16384 // 4)
    ape_size = struct.pack("<I", 32 + 9)
    ape = b"\0" * 9 + b"APETAGEX" + b"\xd0\x07\0\0" + ape_size + struct.pack("<II", 1, 0) + bytes(8)
    for before, after in [(small, b""), (large, b""), (b"", b"TAG" + bytes(125)), (b"", ape)]:
        got, _ = load_bytes(before + audio + after)
        np.testing.assert_array_equal(got, expected)


def test_mp3_after_garbage_and_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    audio = write(path, 100_000, 1, "MP3", "MPEG_LAYER_III")
    whole, _ = _native.load(path)
    got, _ = load_bytes(bytes(3000) + audio)
    np.testing.assert_array_equal(got, whole)
    # What decodes is kept, and is what libsndfile gives too.
    path.write_bytes(audio[: len(audio) // 2])
    got, _ = _native.load(path)
    assert 0.45 * whole.size < got.size < 0.55 * whole.size
    expected, _ = reference(path)
    assert abs(expected.size - got.size) <= 1152
    n = min(expected.size, got.size) - 1152
    np.testing.assert_allclose(got[:n], expected[:n], atol=1e-5)


def test_a_long_file_is_read_in_pieces(tmp_path: Path) -> None:
    # Beyond every buffer: 2 minutes.
    path = tmp_path / "x"
    for format, subtype in [("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_24"), ("FLAC", "PCM_16")]:
        write(path, 44100 * 120 + 1, 1, format, subtype)
        assert path.stat().st_size > 1 << 20 or format == "MP3"
        assert_as_libsndfile(path)


def wav(
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    align: int | None = None,
    data_len: int | None = None,
    fmt_len: int = 16,
) -> bytes:
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", tag, channels, rate, 0, align, bits)
    fmt = (fmt + bytes(64))[:fmt_len]
    length = len(data) if data_len is None else data_len
    riff = b"WAVEfmt " + struct.pack("<I", fmt_len) + fmt + b"data" + struct.pack("<I", length)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + riff + data


SAMPLES = struct.pack("<4h", 0, 8192, -8192, 16384)


@pytest.mark.parametrize(
    "bytes_",
    [
        wav(SAMPLES, data_len=0xFFFFFFFF),
        wav(SAMPLES, data_len=0xFFFFFFFE),
        wav(SAMPLES, align=0),
        wav(SAMPLES, fmt_len=18),
        wav(SAMPLES, fmt_len=40),
        wav(SAMPLES + b"\1", data_len=9),
    ],
    ids=["unknown length", "4 GiB", "align 0", "fmt 18", "fmt 40", "half a sample at the end"],
)
def test_odd_wav_headers(bytes_: bytes) -> None:
    samples, rate = load_bytes(bytes_)
    assert rate == 8000
    np.testing.assert_array_equal(samples, np.float32([0, 0.25, -0.25, 0.5]))


def chunk(name: bytes, data: bytes, claimed: int | None = None, order: str = "<") -> bytes:
    return name + struct.pack(order + "I", len(data) if claimed is None else claimed) + data


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
KILLED = {
    "sizes 0": chunk(b"RIFF", b"WAVE" + FMT + chunk(b"data", SAMPLES, 0), 0),
    "sizes of an empty file": chunk(b"RIFF", b"WAVE" + FMT + chunk(b"data", SAMPLES, 0), 36),
    "AVAudioFile": chunk(
        b"RIFF",
        b"WAVE" + chunk(b"JUNK", bytes(4000)) + FMT + chunk(b"FLLR", bytes(4008))
        + chunk(b"data", SAMPLES, 0),
        4088,
    ),
    "RF64": chunk(
        b"RF64",
        b"WAVE" + chunk(b"ds64", bytes(28)) + FMT + chunk(b"data", SAMPLES, 0xFFFFFFFF),
        0xFFFFFFFF,
    ),
    "AIFF": chunk(
        b"FORM",
        b"AIFF"
        + chunk(b"COMM", struct.pack(">hIh", 1, 0, 16) + bytes.fromhex("400bfa00000000000000"),
                order=">")
        + chunk(b"SSND", bytes(8) + struct.pack(">4h", 0, 8192, -8192, 16384), 0, ">"),
        0,
        ">",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KILLED)
def test_a_recorder_that_was_killed(name: str) -> None:
    """Lengths are written last: all samples are there, and FFmpeg reads them."""
    samples, rate = load_bytes(KILLED[name])
    assert rate == 8000
    np.testing.assert_array_equal(samples, np.float32([0, 0.25, -0.25, 0.5]))


def test_a_wav_that_is_empty_stays_so() -> None:
    """Its length says that what follows is no sound."""
    more = chunk(b"LIST", b"INFOISFT\4\0\0\0abc\0")
    with pytest.raises(OSError, match="holds no samples"):
        load_bytes(chunk(b"RIFF", b"WAVE" + FMT + chunk(b"data", b"") + more))


def test_24_bits_in_32() -> None:
    data = struct.pack("<3i", 0, 1 << 30, -(1 << 30))
    samples, _ = load_bytes(wav(data, bits=24, align=4))
    np.testing.assert_array_equal(samples, np.float32([0, 0.5, -0.5]))


def test_float_samples_beyond_one_are_kept() -> None:
    samples, _ = load_bytes(wav(struct.pack("<3f", 2.5, -7, 1e-9), tag=3, bits=32))
    np.testing.assert_array_equal(samples, np.float32([2.5, -7, 1e-9]))


@pytest.mark.parametrize("n", [1, 2])
def test_one_and_two_samples(n: int) -> None:
    assert load_bytes(wav(SAMPLES[: 2 * n]))[0].shape == (n,)


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (b"", "is empty"),
        (b"not a sound at all", "no audio format"),
        (wav(b""), "holds no samples"),
        (wav(SAMPLES)[:20], "ends within its header|no `data`|chunk"),
        (wav(SAMPLES, rate=0), "sample rate 0"),
        (wav(SAMPLES, channels=0), "0 channels"),
        (wav(SAMPLES, channels=40_000, align=0), "40000 channels"),
        (wav(SAMPLES, fmt_len=4), "`fmt ` chunk of 4 bytes"),
        (wav(SAMPLES, tag=0x1234), "codec 0x1234"),
        (wav(SAMPLES, bits=0), "0 bits"),
        (wav(struct.pack("<3f", 0, math.nan, 0), tag=3, bits=32), "sample 1 is NaN"),
        (wav(struct.pack("<3f", 0, 0, math.inf), tag=3, bits=32), "sample 2 is inf"),
        (b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(50), "no audio format"),
        (b"RIFF\x10\0\0\0WAVE" + b"junk\0\0\0\0" * 20_000, "more than 10000 chunks"),
    ],
)
def test_errors_name_the_recording_and_the_reason(bytes_: bytes, reason: str) -> None:
    with pytest.raises(OSError, match=rf"^some name: .*({reason})"):
        load_bytes(bytes_, "some name")


@pytest.mark.parametrize("rate", [1, 7, 11024, 768_000, 2**32 - 1])
def test_absurd_rates(rate: int) -> None:
    recording = wav(SAMPLES * 100, rate=rate)
    samples, got = load_bytes(recording)
    assert (samples.size, got) == (400, rate)
    if 16000 / 256 <= rate <= 16000 * 256:
        resampled, _ = load_bytes(recording, "x", 16000)
        assert resampled.size == math.ceil(400 * 16000 / rate)
    else:
        with pytest.raises(OSError, match=rf"x: sample_rate {rate} .*factor of 256"):
            load_bytes(recording, "x", 16000)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match=r"pipe.wav: is a pipe"):
        audiocls.load(tmp_path / "pipe.wav")
    with pytest.raises(OSError, match=r"folder.wav: is a folder"):
        audiocls.load(tmp_path / "folder.wav")
    with pytest.raises(FileNotFoundError):
        audiocls.load(tmp_path / "dangling.wav")
    with pytest.raises(SettingError, match="sample_rate 0 is invalid"):
        audiocls.load(tmp_path / "nowhere", 0)


@pytest.mark.parametrize("name", [b"a b", b"a\nb", "한글 🎻".encode(), b"\xff\xfe.wav"])
def test_file_names(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    try:
        Path(os.fsdecode(path)).write_bytes(wav(SAMPLES))
    except OSError:
        pytest.skip("the file system takes no such name")
    assert audiocls.load(path)[0].shape == (4,)
    assert audiocls.load(os.fsdecode(path), sample_rate=16000)[0].shape == (8,)


def test_what_the_engine_cannot_read_goes_to_soundfile(tmp_path: Path) -> None:
    path = tmp_path / "x.ogg"
    sf.write(path, sound(48_000, 1), 48_000, format="OGG", subtype="OPUS")
    with pytest.raises(OSError, match="unsupported"):
        _native.load(path)
    expected, rate = reference(path)
    got, got_rate = audiocls.load(path)
    assert got_rate == rate
    np.testing.assert_array_equal(got, expected)
    assert audiocls.load(path, 16000)[0].shape == (math.ceil(expected.size / 3),)
    # Neither can: both say why.
    path.write_bytes(b"OggS" + bytes(200))
    with pytest.raises(OSError, match=r"x.ogg: .*; soundfile: "):
        audiocls.load(path)


def test_chained_ogg_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    """libsndfile reads the first part only, FFmpeg keeps the padding of each."""
    parts = []
    for i, n in enumerate((44_100, 44_877, 5)):
        path = tmp_path / f"{i}.ogg"
        write(path, n, 1, "OGG", "VORBIS")
        parts.append(path)
    (tmp_path / "chain.ogg").write_bytes(b"".join(path.read_bytes() for path in parts))
    samples, _ = _native.load(tmp_path / "chain.ogg")
    expected = np.concatenate([reference(path)[0] for path in parts])
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_info", [True, False])
def test_mp3_files_joined_with_a_tag_between_them(tmp_path: Path, with_info: bool) -> None:
    """The frame before the tag is followed by no other, and counts all the same."""
    first, second = (
        write(tmp_path / f"{i}.mp3", n, 1, "MP3", "MPEG_LAYER_III")
        for i, n in enumerate((44_100, 44_877))
    )
    if not with_info:
        first = first[mpeg_frame_len(first[:4]) :]
    path = tmp_path / "joined.mp3"
    for tag_len in (0, 500, 200_000):  # the last is longer than what is held of the stream
        sizes = bytes(tag_len >> shift & 0x7F for shift in (21, 14, 7, 0))
        path.write_bytes(first + b"ID3\x04\x00\x00" + sizes + bytes(tag_len) + second)
        if with_info and tag_len < 1000:  # without, libsndfile guesses the length, and stops early
            assert_as_libsndfile(path)
        samples, _ = _native.load(path)
        (tmp_path / "first.mp3").write_bytes(first)
        alone, _ = _native.load(tmp_path / "first.mp3")
        np.testing.assert_allclose(samples[: len(alone)], alone, rtol=0, atol=1e-6)
        assert len(samples) == len(alone) if with_info else len(samples) > 2 * len(alone)
    # A tag that claims more than there is is none.
    path.write_bytes(first + b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + second)
    assert len(_native.load(path)[0]) == len(samples)


def test_a_recording_longer_than_a_day_is_refused(tmp_path: Path) -> None:
    """A megabyte of FLAC can claim, and give, days of silence: here 100 samples a second."""
    day = np.zeros(24 * 3600 * 100 + 1, np.int16)
    for n in (len(day) - 1, len(day)):
        path = tmp_path / f"{n}.wav"
        sf.write(path, day[:n], 100, format="WAV", subtype="PCM_U8")
        if n < len(day):
            assert len(_native.load(path)[0]) == n
        else:
            with pytest.raises(OSError, match="is longer than 24 hours"):
                audiocls.load(path)


def no_child(cls: type) -> None:
    raise AssertionError("another decoder is asked what it cannot know better")


def test_seven_days_are_refused_by_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse file: nothing is read of what takes minutes to decode."""
    monkeypatch.setattr(_fallback._Child, "take", classmethod(no_child))
    n = 7 * 24 * 3600 * 4000
    path = tmp_path / "week.wav"
    path.write_bytes(wav(b"", rate=4000, bits=8, data_len=n))
    os.truncate(path, path.stat().st_size + n)
    started = time.process_time()
    for read in (audiocls.load, lambda p: next(read_blocks(p, 4000, 1)), lambda p: probe(str(p))):
        with pytest.raises(UnusableError, match="is longer than 24 hours"):
            read(path)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("value", "rule"),
    [(np.nan, "finite"), (-np.inf, "finite"), (1.7e38, "within"), (-1.1e12, "within")],
)
def test_a_sample_that_nobody_can_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, rule: str
) -> None:
    """Resampled, one of 1.7e38 was NaN beside it; whatever else may decode, finds the same."""
    monkeypatch.setattr(_fallback._Child, "take", classmethod(no_child))
    path, y = tmp_path / "a.wav", np.zeros(5000, np.float32)
    for largest in (1e12, value):
        y[3000] = largest
        sf.write(path, y, 44100, format="WAV", subtype="FLOAT")
        if largest == 1e12:
            assert np.isfinite(audiocls.load(path, 16000)[0]).all()
            mel = audiocls.Extractor("mel-16k")(audiocls.load(path, 16000)[0])
            assert np.isfinite(mel).all()
        else:
            with pytest.raises(UnusableError, match=f"sample 3000 is .*: must be {rule}"):
                audiocls.load(path, 16000)


def recordings(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.glob("*/*.mp3")) if path.stat().st_size)


def test_every_real_mp3_equals_libsndfile(philharmonia: Path) -> None:
    n = 0
    for path in recordings(philharmonia):
        assert_as_libsndfile(path)
        n += 1
    assert n > 0


def test_real_mp3s_without_their_tag(philharmonia: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    for recording in itertools.islice(recordings(philharmonia), 0, None, 70):
        bytes_ = recording.read_bytes()
        if b"Info" not in bytes_[:200] and b"Xing" not in bytes_[:200]:
            continue
        path.write_bytes(without_tag(bytes_))
        assert_as_libsndfile(path)


def test_the_empty_recording_is_named(philharmonia: Path) -> None:
    empty = philharmonia / "saxophone" / "saxophone_Fs3_15_fortissimo_normal.mp3"
    with pytest.raises(OSError, match=r"Fs3_15_fortissimo_normal.mp3: is empty \(0 bytes\)"):
        audiocls.load(empty)


def test_errors_of_the_system_are_pythons_own(tmp_path: Path) -> None:
    missing = tmp_path / "missing \udcff.wav"
    with pytest.raises(FileNotFoundError) as caught:
        _native.load(missing)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(missing))
    assert caught.value.strerror == "No such file or directory"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        _native.FileLock(tmp_path / "file" / "lock")
    with pytest.raises(IsADirectoryError):
        _native.FileLock(tmp_path)
