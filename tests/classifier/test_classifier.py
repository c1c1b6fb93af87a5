"""The classifier: one definition of what a model computes, on disk and in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import audiocls
from audiocls import Cut, Extractor, FeatureSpec
from audiocls.classifier.description import Description, read_description
from audiocls.classifier.model import Model
from audiocls.classifier.weights import count_stored_parameters
from audiocls.data.synth import write_dataset
from audiocls.errors import DataError
from audiocls.models import MODELS, count_parameters
from audiocls.models.layers.convolution import use_channels_last
from audiocls.training.data.normalisation import compute_statistics

torch.set_num_threads(1)


def classifier(model: str = "lstm", frames: int | None = 6, n_features: int = 5) -> Model:
    torch.manual_seed(0)
    description = Description(
        model, (frames, n_features), ["a", "b", "c"], FeatureSpec(), Cut(), {"audiocls": "0"}
    )
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(size=n_features), rng.uniform(1, 2, n_features)
    return Model(description, mean, deviation).eval()


def test_it_normalises_then_asks_the_network_then_takes_the_temperature() -> None:
    model = classifier()
    model.temperature.fill_(2.5)
    x = torch.randn(4, 6, 5)
    with torch.no_grad():
        logits = model(x)
        expected = model.network((x - model.mean) / model.deviation)
        p = model.probabilities(x)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected)
    z = np.exp(expected.double().numpy() / 2.5)
    np.testing.assert_allclose(p.numpy(), z / z.sum(axis=1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, model: str) -> None:
    made = classifier(model)
    made.temperature.fill_(1.7)
    made.save(tmp_path)
    again = Model.load(tmp_path)
    assert again.description == made.description
    x = torch.randn(3, 6, 5)
    use_channels_last(made)  # as a loaded one is, or sums are rounded in another order
    with torch.no_grad():
        assert torch.equal(again.probabilities(x), made.probabilities(x))
    assert count_stored_parameters(tmp_path) == count_parameters(made.network)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "weights.safetensors"]


def test_half_precision_features_are_taken() -> None:
    model, x = classifier(), torch.randn(3, 6, 5).half()
    with torch.no_grad():
        assert torch.equal(model(x), model(x.float()))


def test_format_1_still_loads(tmp_path: Path) -> None:
    """As version 0.1.0 wrote it: mean and deviation as JSON, the network's weights alone."""
    made = classifier()
    document = made.description.to_dict() | {
        "format": 1,
        "mean": made.mean.tolist(),
        "std": made.deviation.tolist(),
    }
    (tmp_path / "model.json").write_text(json.dumps(document))
    (tmp_path / "weights.safetensors").write_bytes(save(made.network.state_dict()))
    x = torch.randn(3, 6, 5)
    with torch.no_grad():
        assert torch.equal(Model.load(tmp_path)(x), made(x))
    assert count_stored_parameters(tmp_path) == count_parameters(made.network)


def test_probabilities_of_a_file_equal_those_of_the_store(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", clips_per_class=4, n_classes=3)
    store = audiocls.extract(tmp_path / "data", "mel", tmp_path / "mel")
    description = Description.of(store, "resnet", {})
    model = Model(description, *compute_statistics(store, np.arange(len(store)))).eval()
    with torch.no_grad():
        of_store = model.probabilities(store.tensor()).numpy()
    extractor = Extractor(description.spec)
    clip = description.cut.clip_len(description.spec.sample_rate)
    for recording in store.recordings:
        if not recording.n_clips:
            continue
        samples, _ = audiocls.load(tmp_path / "data" / recording.path, description.spec.sample_rate)
        samples = np.pad(samples, (0, max(0, clip - len(samples))))
        clips = np.stack([samples[i * clip :][:clip] for i in range(recording.n_clips)])
        with torch.no_grad():
            of_file = model.probabilities(torch.from_numpy(extractor.batch(clips))).numpy()
        own = of_store[store.clip_recording == recording.id]
        np.testing.assert_allclose(of_file, own, rtol=0, atol=1e-6)


def test_what_a_file_only_claims_takes_no_memory(tmp_path: Path) -> None:
    made = classifier("cnn")
    made.save(tmp_path)
    file = tmp_path / "model.json"
    document = json.loads(file.read_text())
    for shape, message in (
        ([10**6, 10**6], "damaged"),
        ([8000, 8000], "weights.safetensors' is damaged or of another model"),
        ([-1, 5], "damaged"),
        ([6], "damaged"),
        ([6, 1e400], "damaged"),
        (["6", 5], "damaged"),
        ([2.5, 5], "damaged"),
    ):
        file.write_text(json.dumps(document | {"input_shape": shape}))
        with pytest.raises(DataError, match=message):
            Model.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": "abc"}, "classes"),
        ({"classes": ["a", 1, "c"]}, "classes"),
        ({"classes": ["a", "a", "c"]}, "classes"),
        ({"clip_s": "long"}, "clip_s"),
        ({"hop_s": None}, "hop_s"),
        ({"spec": []}, "spec"),
        ({"spec": {"kind": "mel"}}, "spec"),
        ({"architecture": ["cnn"]}, "unknown architecture"),
        ({"versions": 3}, "versions"),
        ({"format": "2"}, "format '2'"),
    ],
)
def test_damaged_descriptions(tmp_path: Path, change: dict[str, object], message: str) -> None:
    classifier().save(tmp_path)
    file = tmp_path / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=message):
        read_description(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 10_000, '{"format": {}}', "{" * 3])
def test_no_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        read_description(tmp_path)


def test_tampered_weights_are_refused(tmp_path: Path) -> None:
    made = classifier()
    made.save(tmp_path)
    file = tmp_path / "weights.safetensors"
    tensors = load(file.read_bytes())
    for name, value in (
        ("network.lstm.weight_ih_l0", torch.zeros(1)),  # another shape
        ("mean", torch.zeros(5, dtype=torch.int64)),
        ("temperature", torch.tensor(float("nan"))),
        ("deviation", torch.zeros(5)),
    ):
        file.write_bytes(save(tensors | {name: value}))
        with pytest.raises(DataError, match="damaged or of another model"):
            Model.load(tmp_path)
