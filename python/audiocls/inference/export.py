"""A model as one ONNX file, from samples to probabilities, for any program with an ONNX runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiocls import __version__
from audiocls.classifier import model as trained
from audiocls.classifier.description import NETWORK
from audiocls.classifier.graph import replace_lstms, takes_any_length, to_onnx
from audiocls.errors import ChoiceError, DataError, SettingError
from audiocls.files import replace_file
from audiocls.inference.predict import Classifier
from audiocls.inference.waveform import Features

# How weights may lie in the file, and how far any probability may then be from that of `predict`
# at temperature 1. The softmax of logits / temperature changes with its inverse.
TOLERANCE = {"float32": 1e-4, "float16": 1e-2}


class _Waveform(nn.Module):
    """float32 samples [batch, n] → float32 probabilities [batch, n_classes]."""

    def __init__(self, classifier: trained.Model) -> None:
        super().__init__()
        self.features = Features(classifier.description.spec)
        self.classifier = replace_lstms(classifier)

    def forward(self, samples: Tensor) -> Tensor:
        return self.classifier.probabilities(self.features(samples)).float()


def export(model: str | Path, out: str | Path, weights: str = "float32") -> dict[str, Any]:
    """Writes a model as an ONNX file, and returns its metadata.

    The file takes `samples`, float32 [batch, n] in [-1, 1] at `sample_rate`, each row one clip. It
    gives
    `probabilities`, float32 [batch, n_classes]. n is free if the network takes clips of any length.

    Args:
        model: a run folder, its `model/` folder, or `orchestra`.
        out: the file.
        weights: `float32`, or `float16`: half the bytes, computed in float32.

    Raises:
        SettingError: features that a graph cannot make.
        DataError: torch cannot export the network, or the file gives other answers than `predict`;
            then nothing is written.
    """
    out = Path(out)
    if weights not in TOLERANCE:
        raise ChoiceError("weights", weights, TOLERANCE)
    if out.is_dir():
        raise SettingError("out", str(out), "is a folder; the file to write is needed")
    classifier = Classifier.load(model)
    about = classifier.description
    # Any length will do for a network that takes any.
    n_samples = about.cut.clip_len(classifier.sample_rate) or classifier.sample_rate
    network = trained.Model.load(classifier.path)
    module, free = _Waveform(network), takes_any_length(network)
    axes = ("batch", "samples") if free else ("batch",)
    graph = to_onnx(module, torch.zeros(2, n_samples), ("samples", "probabilities"), axes)
    metadata = {
        "classes": classifier.classes_,
        "threshold": about.threshold,
        "task": about.task,
        "thresholds": about.thresholds,
        "sample_rate": classifier.sample_rate,
        "clip_s": about.cut.clip_s,
        "clip_samples": about.cut.clip_len(classifier.sample_rate),
        "hop_s": about.cut.hop_s,
        "hop_samples": about.cut.hop_len(classifier.sample_rate),
        "short": about.cut.short,
        "architecture": about.architecture,
        "spec": about.spec.to_dict(),
        "audiocls": __version__,
    }
    for key, value in metadata.items():
        graph.metadata_props.add(key=key, value=json.dumps(value))
    if weights == "float16":
        _halve(graph)
    document = graph.SerializeToString()
    sharpness = max(1.0, 1.0 / float(module.classifier.temperature.min()))
    _check(document, classifier, n_samples, free, TOLERANCE[weights] * sharpness)
    replace_file(out, document)
    return metadata


def _halve(graph: Any) -> None:
    """Rounds the network's matrices and kernels of an onnx.ModelProto to float16.

    Casts stand before their uses. Means and deviations stay: they have few bytes, and may be tiny.
    """
    import onnx

    casts = []
    for tensor in graph.graph.initializer:
        name = tensor.name
        if not name.startswith("classifier.") or len(tensor.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            with np.errstate(over="ignore"):  # the check finds it
                half = values.astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.float16"))
            casts.append(
                onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _check(
    document: bytes, classifier: Classifier, n_samples: int, free: bool, tolerance: float
) -> None:
    """Raises DataError if the file gives other answers than the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(document, options, providers=["CPUExecutionProvider"])
    extractor = classifier.extractor(threads=1)
    lengths = [n_samples, n_samples + 1, 3 * n_samples + 7] if free else [n_samples]
    for n in lengths:
        for name, samples in _signals(n, classifier.sample_rate).items():
            clip = samples[np.newaxis]
            expected = classifier.network(extractor.batch(clip))
            (found,) = session.run(None, {"samples": clip})
            worst = float(np.abs(found - expected).max())
            if not worst <= tolerance:
                raise DataError(
                    f"the exported file differs from the model by {worst:.2g} on {name} of {n} "
                    f"samples, more than {tolerance:g}: not written; the model itself predicts as "
                    f"before, and {NETWORK} beside it takes features"
                )


def _signals(n: int, rate: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    t = np.arange(n) / rate
    note = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 9)) * np.exp(-3 * t) * 0.2
    signals = {"noise": rng.normal(0, 0.1, n), "silence": np.zeros(n), "a note": note}
    return {name: np.asarray(y, np.float32) for name, y in signals.items()}
