"""The Python interface of the engine: what it takes, what it refuses, and that results never depend
on threads, batches, chunks or processes.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocls import Extractor, FeatureSpec, presets
from audiocls.cli.presets import command
from audiocls.engine.features import list_instruction_sets
from audiocls.errors import SettingError

PRESETS = list(presets())
STUDY = {"mel": (44, 128), "mel-16k": (41, 80), "mfcc": (49, 13)}


def signal_of(name: str, clips: int = 1, seconds: float = 0.5, seed: int = 0) -> Any:
    """Noise of changing loudness, [clips, samples]."""
    n = int(FeatureSpec.preset(name).sample_rate * seconds)
    rng = np.random.default_rng(seed)
    loudness = np.geomspace(1e-3, 0.5, n)
    return (rng.standard_normal((clips, n)) * loudness).astype(np.float32)


# Specs


def test_python_fields_are_the_rust_fields() -> None:
    assert presets()["spectrogram"] == FeatureSpec()
    for spec in presets().values():
        assert FeatureSpec.from_json(spec.to_json()) == spec
        assert list(json.loads(spec.to_json())) == [f.name for f in dataclasses.fields(spec)]


def test_choices_in_python_are_the_choices_in_rust() -> None:
    hints = typing.get_type_hints(FeatureSpec)
    for name, hint in hints.items():
        if typing.get_origin(hint) is typing.Literal:
            with pytest.raises(SettingError) as caught:
                FeatureSpec(**{name: "nonsense"})
            for choice in typing.get_args(hint):
                assert choice in caught.value.rule, (name, caught.value.rule)
            listed = caught.value.rule.removeprefix("must be one of ").split(", ")
            if len(listed) > 1:
                assert set(listed) == set(typing.get_args(hint))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_length": 0}, "hop_length 0 is invalid: must be >= 1"),
        ({"n_fft": 1024}, "n_fft 1024 is invalid: must be >= frame_length 2048"),
        ({"window": "hanning"}, "window 'hanning' is invalid: must be one of hann"),
        ({"n_mels": 2.5}, "n_mels 2.5 is invalid: must be a whole number"),
        ({"top_db": -1}, "top_db -1 is invalid: must be >= 0"),
        ({"fmin_hz": 30_000}, "fmin_hz 30000 is invalid: must be < fmax_hz 22050"),
        ({"n_mfcc": 13}, "n_mfcc 13 is invalid: only kind mfcc has cepstra"),
        ({"delta_width": 5}, "delta_width 5 is invalid: it belongs to deltas"),
        ({"nfft": 1024}, "field 'nfft' is invalid: did you mean 'n_fft'?"),
    ],
)
def test_errors_name_field_value_and_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match="is invalid") as caught:
        FeatureSpec.preset("mel", **changes)
    assert str(caught.value).startswith(message)


def test_an_unknown_preset_is_met_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'mel-16k'"):
        Extractor("mel-16")


def test_numpy_scalars_are_settings_too() -> None:
    spec = FeatureSpec.preset("mel", n_mels=np.int64(64), fmin_hz=np.float32(20))
    assert spec == FeatureSpec.preset("mel", n_mels=64, fmin_hz=20.0)
    assert type(spec.n_mels) is int


def test_empty_filters_are_named() -> None:
    spec = FeatureSpec.preset("mel", n_fft=2048, n_mels=512)
    with pytest.warns(UserWarning, match="n_mels 512: filters 0, .* are empty"):
        Extractor(spec)


def test_presets_command() -> None:
    table = CliRunner().invoke(command, [])
    assert table.exit_code == 0
    assert "44 × 128" in table.stdout
    as_json = CliRunner().invoke(command, ["--json"])
    assert list(json.loads(as_json.stdout)) == PRESETS


# Shapes and types


@pytest.mark.parametrize("name", PRESETS)
def test_shapes(name: str) -> None:
    extractor = Extractor(name, threads=1)
    clips = signal_of(name, clips=3)
    result = extractor.batch(clips)
    frames = extractor.n_frames(clips.shape[1])
    assert result.shape == (3, frames, extractor.n_features)
    assert result.dtype == extractor.dtype == (np.complex64 if name == "stft" else np.float32)
    assert result.flags.c_contiguous
    if name in STUDY:
        assert result.shape[1:] == STUDY[name]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", ["float64", "int16", "strided", "fortran", "list", "readonly"])
def test_other_layouts_give_the_same(name: str, kind: str) -> None:
    clips = np.round(signal_of(name, clips=2) * 32767).astype(np.int16)
    floats = clips / np.float32(32768)
    wide = np.zeros((4, 2 * clips.shape[1]), np.float32)
    wide[::2, ::2] = floats
    given_: Any = {
        "float64": floats.astype(np.float64),
        "int16": clips,
        "strided": wide[::2, ::2],
        "fortran": np.asfortranarray(floats),
        "list": list(floats),
        "readonly": floats.copy(),
    }[kind]
    if kind == "readonly":
        given_.flags.writeable = False
    extractor = Extractor(name, threads=1)
    assert np.array_equal(extractor.batch(given_), extractor.batch(floats))
    assert np.array_equal(extractor(given_[1]), extractor(floats[1]))


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros(100, np.float32), r"input shape \(100,\)"),
        (np.zeros((1, 2, 3), np.float32), "input shape"),
        (np.zeros((1, 4000), np.int32), "input dtype 'int32'"),
        (np.zeros((1, 4000), bool), "input dtype 'bool'"),
        (np.zeros((1, 4000), np.complex64), "input dtype 'complex64'"),
        (np.array([["a"]]), "input dtype"),
        (np.zeros((1, 0), np.float32), "n_samples 0 is invalid: must be >= 1"),
        (np.zeros((1, 200), np.float32), "n_samples 200 is invalid: padding reflect"),
        (np.full((1, 4000), 1e300), "sample 0 inf is invalid: must be finite"),
        (torch.zeros(1, 4000, requires_grad=True), r"input 'torch\.Tensor' is invalid: must be an"),
        ([[0.0], [0.0, 1.0]], r"input 'builtins\.list' is invalid: must be an array"),
    ],
)
def test_refused_input(clips: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Extractor("mel-16k", threads=1).batch(clips)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_named(bad: float, threads: int) -> None:
    clips = signal_of("mel-16k", clips=300)
    clips[217, 123] = bad
    extractor = Extractor("mel-16k", threads=threads)
    with pytest.raises(SettingError, match="sample 123 of clip 217"):
        extractor.batch(clips)
    with pytest.raises(SettingError, match=r"sample 123 (nan|-?inf) is invalid"):
        extractor(clips[217])
    stream = extractor.stream()
    stream.push(clips[217, :100])
    with pytest.raises(SettingError, match="sample 123 "):
        stream.push(clips[217, 100:])


def test_no_clips_and_no_frames() -> None:
    assert Extractor("mel").batch(np.zeros((0, 22_050), np.float32)).shape == (0, 44, 128)
    assert Extractor("fbank")(np.zeros(399, np.float32)).shape == (0, 80)


def test_out_is_filled_in_place(tmp_path: Path) -> None:
    extractor = Extractor("mel", threads=2)
    clips = signal_of("mel", clips=5)
    expected = extractor.batch(clips)
    out = np.empty((5, 44, 128), np.float32)
    assert extractor.batch(clips, out=out) is out
    assert np.array_equal(out, expected)
    for dtype in (np.float32, np.float16):
        mapped = np.lib.format.open_memmap(
            tmp_path / "x.npy", mode="w+", dtype=dtype, shape=expected.shape
        )
        extractor.batch(clips, out=mapped)
        mapped.flush()
        assert np.array_equal(np.load(tmp_path / "x.npy"), expected.astype(dtype))
    assert np.array_equal(extractor.batch(clips, dtype="float16"), expected.astype(np.float16))
    spectra = np.empty((5, 44, 1025), np.complex64)
    stft = Extractor(FeatureSpec.preset("stft", sample_rate=44_100))
    assert np.array_equal(stft.batch(clips, out=spectra), stft.batch(clips))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (
            np.empty((2, 44, 127), np.float32),
            r"out.shape \(2, 44, 127\) is invalid: must be \(2, 44",
        ),
        (np.empty((2, 44, 128), np.float64), "dtype 'float64' is invalid: must be float32 or"),
        (np.empty((2, 44, 256), np.float32)[:, :, ::2], "must be C-contiguous"),
        (np.broadcast_to(np.float32(0), (2, 44, 128)), "must be C-contiguous"),
    ],
)
def test_refused_out(out: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Extractor("mel").batch(signal_of("mel", clips=2), out=out)


@pytest.mark.parametrize("threads", [0, -1, True])
def test_refused_threads(threads: int) -> None:
    with pytest.raises(SettingError, match="threads"):
        Extractor("mel", threads=threads)


# Equal bit for bit


@pytest.mark.parametrize("name", PRESETS)
def test_batches_and_threads_do_not_matter(name: str) -> None:
    clips = signal_of(name, clips=37)
    alone = [Extractor(name, threads=1)(clip) for clip in clips]
    for threads in (1, 2, 5):
        assert np.array_equal(Extractor(name, threads=threads).batch(clips), np.array(alone))


@pytest.mark.parametrize("changes", [{}, {"deltas": 2, "normalize": "mean_var"}])
@pytest.mark.parametrize("name", ["mel", "mfcc", "mfcc-librosa", "fbank", "whisper"])
def test_a_long_clip_is_shared_out_and_equal(name: str, changes: dict[str, Any]) -> None:
    spec = FeatureSpec.preset(name, **changes)
    clip = signal_of(name, seconds=30)[0]
    whole = Extractor(spec, threads=3)(clip)
    stream = Extractor(spec, threads=1).stream()
    pieces = [stream.push(clip), stream.finish()]
    assert np.array_equal(whole, np.concatenate(pieces))


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(PRESETS),
    changes=st.sampled_from([{}, {"hop_length": 97}, {"hop_length": 3000}]),
    length=st.integers(1, 9000),
    cuts=st.lists(st.integers(0, 9000), max_size=12),
)
def test_streams_equal_the_whole(
    name: str, changes: dict[str, Any], length: int, cuts: list[int]
) -> None:
    if name == "samples":
        changes = {}  # it has a sample rate only
    extractor = Extractor(FeatureSpec.preset(name, **changes), threads=1)
    y = signal_of(name, seconds=1)[0, :length]
    stream = extractor.stream()
    pieces = [stream.push(piece) for piece in np.split(y, sorted(cuts))]
    try:
        expected = extractor(y)
    except SettingError:
        with pytest.raises(SettingError, match="n_samples"):
            stream.finish()
        assert sum(map(len, pieces)) == 0
        return
    assert np.array_equal(np.concatenate([*pieces, stream.finish()]), expected)
    # The stream is at its beginning again.
    assert np.array_equal(np.concatenate([stream.push(y), stream.finish()]), expected)


def test_frames_come_as_they_complete() -> None:
    stream = Extractor("mel-16k").stream()
    y = signal_of("mel-16k")[0]
    # Frame t needs the samples up to 200 · t + 200, and the mirrored start 201 of them.
    assert len(stream.push(y[:200])) == 0
    assert len(stream.push(y[200:201])) == 1
    assert len(stream.push(y[201:1000])) == 4


@pytest.mark.parametrize("name", PRESETS)
def test_instruction_sets_agree(name: str) -> None:
    """Within the rounding of float32, relative to each frame's loudest bin."""
    clips = signal_of(name, clips=3)
    results = {isa: Extractor(name, isa=isa).batch(clips) for isa in list_instruction_sets()}
    first, *others = results.values()
    scale = np.abs(first).max()
    for other in others:
        assert np.abs(other - first).max() <= 2e-5 * scale


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(SettingError, match="isa 'avx9'"):
        Extractor("mel", isa="avx9")


# Recordings


def test_files(tmp_path: Path) -> None:
    import soundfile

    paths = [tmp_path / f"{i}.wav" for i in range(12)]
    clips = signal_of("mel-16k", clips=12)
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, clip, 16_000, subtype="FLOAT")
    extractor = Extractor("mel-16k", threads=3)
    for result, clip in zip(extractor.files(paths), clips, strict=True):
        assert np.array_equal(result, extractor(clip))
    assert len(next(extractor.files(str(p) for p in paths))) == 41

    soundfile.write(tmp_path / "x.w64", clips[0], 16_000, subtype="FLOAT")  # by soundfile only
    assert np.array_equal(next(extractor.files([tmp_path / "x.w64"])), extractor(clips[0]))

    soundfile.write(tmp_path / "short.wav", clips[0, :100], 16_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"")
    for name, error in (("short.wav", SettingError), ("broken.wav", OSError), ("no.wav", OSError)):
        results = extractor.files([paths[0], tmp_path / name, paths[1]])
        assert len(next(results)) == 41
        with pytest.raises(error, match=name):
            next(results)


# Threads, processes, signals


def test_many_python_threads_share_one_extractor() -> None:
    extractor = Extractor("mel", threads=2)
    clips = [signal_of("mel", clips=4, seed=seed) for seed in range(16)]
    expected = [extractor.batch(c) for c in clips]
    calls = [i % 16 for i in range(1000)]
    with ThreadPoolExecutor(16) as pool:
        for i, got in zip(calls, pool.map(lambda i: extractor.batch(clips[i]), calls), strict=True):
            assert np.array_equal(got, expected[i])


def test_pickling() -> None:
    extractor = pickle.loads(pickle.dumps(Extractor(FeatureSpec.preset("mel", n_mels=40))))
    assert extractor.n_features == 40


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_works_after_fork() -> None:
    extractor = Extractor("mel", threads=2)
    clips = signal_of("mel", clips=200)
    expected = extractor.batch(clips)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for result in pool.map(extractor.batch, [clips, clips]):
            assert np.array_equal(result, expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(2000, 22_050), (1, 44_100_000)])
def test_ctrl_c_stops_a_long_call(threads: int, shape: tuple[int, int]) -> None:
    """The call ends early and the interpreter goes on: no assertion on time, only that not all work
    is done, which takes many times longer than the signal takes to arrive.
    """
    program = f"""
        import sys, time
        import numpy as np
        from audiocls import Extractor
        extractor = Extractor("mel", threads={threads})
        clips = np.zeros({shape}, np.float32)
        out = np.empty(({shape[0]}, extractor.n_frames({shape[1]}), 128), np.float32)
        print("ready", flush=True)
        try:
            while True:
                extractor.batch(clips, out=out)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(extractor(clips[0, :22050]).shape)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "interrupted\n(44, 128)\n"
        assert process.returncode == 0


# Deltas and normalisation


def test_deltas_equal_the_references() -> None:
    import librosa
    from python_speech_features import delta

    spec = FeatureSpec.preset("mfcc", deltas=2, delta_width=5)
    y = signal_of("mfcc")[0]
    plain = Extractor("mfcc")(y)
    result = Extractor(spec)(y)
    assert result.shape == (49, 39)
    assert np.array_equal(result[:, :13], plain)
    first = delta(plain.astype(np.float64), 2)
    np.testing.assert_allclose(result[:, 13:26], first, atol=1e-5)
    np.testing.assert_allclose(result[:, 26:], delta(first, 2), atol=1e-5)
    by_librosa = librosa.feature.delta(plain.astype(np.float64).T, width=5, mode="nearest").T
    np.testing.assert_allclose(result[:, 13:26], by_librosa, atol=1e-5)


@pytest.mark.parametrize("how", ["mean", "mean_var"])
def test_normalisation(how: str) -> None:
    y = signal_of("fbank", seconds=2)[0]
    plain = Extractor("fbank")(y).astype(np.float64)
    result = Extractor(FeatureSpec.preset("fbank", normalize=how))(y)
    expected = plain - plain.mean(0)
    if how == "mean_var":
        expected /= plain.std(0)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_silence_normalises_to_zero() -> None:
    spec = FeatureSpec.preset("mel", normalize="mean_var", deltas=1)
    assert not Extractor(spec)(np.zeros(22_050, np.float32)).any()
