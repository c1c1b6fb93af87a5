"""A model as one ONNX file: the same features, the same answers, any length, no torch to run it."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import audiocls
from audiocls import Cut, FeatureSpec
from audiocls.classifier.description import Description
from audiocls.classifier.model import Model
from audiocls.cli import main
from audiocls.errors import DataError, SettingError
from audiocls.inference import export as exporting
from audiocls.inference.waveform import Features
from audiocls.models import MODELS

PRESETS = [name for name in audiocls.presets() if name not in ("stft", "spectrogram", "samples")]


def model(folder: Path, architecture: str, spec: FeatureSpec, **known: Any) -> Path:
    """A model of three classes with fresh weights, saved; torch runs it, as there is no graph."""
    extractor = audiocls.Extractor(spec, threads=1)
    shape = (extractor.n_frames(spec.sample_rate // 2), extractor.n_features)
    description = Description(architecture, shape, ["a", "b", "c"], spec, Cut(), {})
    torch.manual_seed(1)
    module = Model(dataclasses.replace(description, **known), mean=-10.0, deviation=20.0)
    module.eval().save(folder)
    return folder


def clip(n: int, rate: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A note in noise."""
    rng, t = np.random.default_rng(seed), np.arange(n) / rate
    y = 0.3 * np.sin(2 * np.pi * 440 * t) + rng.normal(0, 0.05, n)
    return y.astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, Path]]:
    """A saved model, and its file: an architecture and a preset are exported once."""

    @functools.cache
    def export(architecture: str, preset: str) -> tuple[Path, Path]:
        place = tmp_path_factory.mktemp(architecture)
        spec = FeatureSpec.preset(preset)
        folder, out = model(place / "model", architecture, spec, threshold=0.4), place / "m.onnx"
        run = CliRunner().invoke(main, ["export", str(folder), "--out", str(out), "--json"])
        assert run.exit_code == 0, run.stderr
        return folder, out

    return export


# Every branch of the spec, beyond the presets.
VARIED: dict[str, dict[str, Any]] = {
    "deltas": {"base": "mfcc-librosa", "deltas": 2, "delta_width": 5, "normalize": "mean_var"},
    "librosa": {"base": "mfcc-librosa", "deltas": 2, "delta_width": 5, "lifter": 22.0},
    "whole": {"base": "mfcc-kaldi", "padding": "symmetric", "deltas": 1},
    "magnitude": {"base": "mel", "power": 1, "top_db": 60.0, "hop_length": 441, "scale": 0.5},
    "short frame": {"base": "mel-16k", "frame_length": 320, "n_fft": 512, "window": "hamming"},
    "prime": {"base": "fbank", "n_fft": 521, "padding": "tail", "hop_length": 167},
    "log10": {"base": "mfcc", "log": "log10", "normalize": "mean", "energy": "none", "lifter": 0},
    "long hop": {"base": "mfcc", "hop_length": 500, "preemphasis_on": "frame"},
    "spectrum": {"base": "spectrogram", "log": "db", "window": "blackman", "scale_by_n_fft": True},
}


def test_what_may_differ_follows_the_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits differ by what float32 gives; a model that is sure of them divides that by little."""
    tolerances = []
    monkeypatch.setattr(exporting, "_check", lambda *args: tolerances.append(args[-1]))
    for temperature in (2.0, 1.0, 0.1):
        folder = model(tmp_path / str(temperature), "lstm", FeatureSpec.preset("mfcc"))
        module = Model.load(folder)
        module.temperature.fill_(temperature)
        module.save(folder)
        exporting.export(folder, tmp_path / "out.onnx")
    assert tolerances == pytest.approx([1e-4, 1e-4, 1e-3])


@pytest.mark.parametrize("name", [*PRESETS, *VARIED])
def test_the_features_of_a_graph_equal_the_engines(name: str) -> None:
    fields = dict(VARIED.get(name, {"base": name}))
    spec = FeatureSpec.preset(fields.pop("base"), **fields)
    features, extractor = Features(spec), audiocls.Extractor(spec, threads=1)
    half = spec.sample_rate // 2
    for n in (half, half + 1, 3 * half - 5, spec.n_fft + 1):
        clips = np.stack([clip(n, spec.sample_rate, seed) for seed in (0, 1)])
        expected = extractor.batch(clips)
        found = features(torch.from_numpy(clips)).numpy()
        assert found.shape == expected.shape
        # The unit of most of these is the decibel.
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-3)
        silent = np.zeros((1, n), np.float32)
        np.testing.assert_allclose(
            features(torch.from_numpy(silent)).numpy(), extractor.batch(silent), atol=5e-3
        )


@pytest.mark.parametrize(
    ("architecture", "preset"),
    [*((name, "mfcc") for name in MODELS), *(("lstm", name) for name in PRESETS if name != "mfcc")],
)
def test_the_file_says_what_the_model_says(
    exported: Callable[[str, str], tuple[Path, Path]], architecture: str, preset: str
) -> None:
    spec = FeatureSpec.preset(preset)
    folder, out = exported(architecture, preset)
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert (about["classes"], about["threshold"]) == (["a", "b", "c"], 0.4)
    assert (about["sample_rate"], about["clip_s"]) == (spec.sample_rate, 0.5)
    assert "/" not in session.get_modelmeta().description, "no paths of this machine"

    module = Model.load(folder)
    extractor = audiocls.Extractor(spec, threads=1)
    half = spec.sample_rate // 2
    for n in [half] if architecture == "cnn" else [half, half + 1, 3 * half + 7]:
        clips = np.stack([clip(n, spec.sample_rate, seed) for seed in range(3)])
        with torch.no_grad():
            expected = module.probabilities(torch.from_numpy(extractor.batch(clips))).numpy()
        (found,) = session.run(None, {"samples": clips})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=exporting.TOLERANCE["float32"])


@pytest.mark.parametrize("architecture", ["compact", "crnn", "lstm", "resnet"])
def test_weights_of_16_bits_are_those_of_the_model_rounded(
    exported: Callable[[str, str], tuple[Path, Path]], tmp_path: Path, architecture: str
) -> None:
    spec = FeatureSpec.preset("mfcc")
    folder, float32 = exported(architecture, "mfcc")
    out = tmp_path / "float16.onnx"
    run = CliRunner().invoke(
        main, ["export", str(folder), "--out", str(out), "--weights", "float16"]
    )
    assert run.exit_code == 0, run.stderr
    whole, half = (file.stat().st_size for file in (float32, out))
    n_weights = sum(p.numel() for p in Model.load(folder).network.parameters() if p.ndim >= 2)
    assert whole - half == pytest.approx(2 * n_weights, rel=0.05, abs=8000)

    module = Model.load(folder)
    with torch.no_grad():
        for parameter in module.network.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(parameter.half().float())
        clips = np.stack([clip(6000, spec.sample_rate, seed) for seed in range(3)])
        features = audiocls.Extractor(spec, threads=1).batch(clips)
        expected = module.probabilities(torch.from_numpy(features)).numpy()
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"samples": clips})
    np.testing.assert_allclose(found, expected, atol=exporting.TOLERANCE["float32"])


def test_what_differs_from_the_model_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "model", "lstm", FeatureSpec.preset("mfcc"))
    monkeypatch.setitem(exporting.TOLERANCE, "float32", -1.0)
    with pytest.raises(DataError, match="differs from the model by"):
        exporting.export(folder, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_bad_input(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", "lstm", FeatureSpec.preset("mfcc"))
    with pytest.raises(SettingError, match="is a folder"):
        exporting.export(folder, tmp_path)
    with pytest.raises(SettingError, match="choose from float32, float16"):
        exporting.export(folder, tmp_path / "out.onnx", "int8")
    with pytest.raises(SettingError, match="stft"):
        Features(FeatureSpec.preset("stft"))
    run = CliRunner().invoke(main, ["export", str(tmp_path / "none"), "--out", "x.onnx"])
    assert (run.exit_code, run.stderr.count("\n")) == (1, 1)
    assert "holds no model" in run.stderr
