"""The models in the box: small, load by name, and hear what their card says they hear.

How good it is on recordings that it has not heard, docs/evidence/orchestra.md says and
research/orchestra/elsewhere.py measures; here is only what would show that the wrong or a broken
file was packed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import audiocls
import unknown_sounds
from audiocls.classifier.answers import UNKNOWN
from audiocls.classifier.description import EARS, ORCHESTRA, model_folder
from audiocls.cli import main

INSTRUMENTS = [
    "banjo", "bass-clarinet", "bassoon", "cello", "clarinet", "cor-anglais", "double-bass", "flute",
    "french-horn", "guitar", "mandolin", "oboe", "saxophone", "trombone",
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> audiocls.Classifier:
    return audiocls.Classifier.load(ORCHESTRA)


def test_it_is_small_and_knows_fourteen_instruments_and_the_rest(
    model: audiocls.Classifier,
) -> None:
    files = list(model_folder(ORCHESTRA).iterdir())
    assert {f.name for f in files} == {"model.json", "network.onnx", "weights.safetensors"}
    assert sum(f.stat().st_size for f in files) <= 2_500_000
    assert sorted(model.classes_) == sorted([*INSTRUMENTS, UNKNOWN])
    assert model.threshold is not None


def test_it_names_the_instruments_of_real_recordings(
    model: audiocls.Classifier, philharmonia: Path
) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for label in INSTRUMENTS:
        files = sorted(f for f in (philharmonia / label).glob("*.mp3") if f.stat().st_size)
        rows += [(str(files[i]), label) for i in rng.permutation(len(files))[:8]]
    probabilities = model.predict_proba([path for path, _ in rows])
    said = [model.classes_[i] for i in probabilities.argmax(axis=1)]
    right = np.mean([a == label for a, (_, label) in zip(said, rows, strict=True)])
    assert right > 0.85


@pytest.mark.parametrize("kind", ["noise-white", "noise-brown", "noise-pink", "silence-room"])
def test_noise_is_no_instrument(model: audiocls.Classifier, kind: str) -> None:
    _, make = unknown_sounds.NOISES[kind]
    sounds = [make(-20.0, np.random.default_rng([9, i])) for i in range(10)]
    said = [model.predict_array(y.astype(np.float32), unknown_sounds.RATE) for y in sounds]
    assert said.count(UNKNOWN) >= 9


def test_a_stranger_asks_it_by_its_name(tmp_path: Path) -> None:
    y = unknown_sounds.noise(0, -20, np.random.default_rng(1))
    soundfile.write(tmp_path / "hiss.wav", y, unknown_sounds.RATE)
    done = CliRunner().invoke(main, ["predict", "orchestra", str(tmp_path / "hiss.wav"), "--json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert row["label"] == UNKNOWN
    about = CliRunner().invoke(main, ["info", "orchestra", "--json"])
    assert json.loads(about.stdout)["classes"] == audiocls.Classifier.load(ORCHESTRA).classes_


def test_ears_is_a_start_of_many_kinds(tmp_path: Path) -> None:
    """Philharmonia's instruments among them, and a body of the size of the other's."""
    files = list(model_folder(EARS).iterdir())
    assert sum(f.stat().st_size for f in files) <= 2_500_000
    ears, orchestra = audiocls.Classifier.load(EARS), audiocls.Classifier.load(ORCHESTRA)
    assert {*INSTRUMENTS, "speech-en", "violin", "noise-white"} < {*ears.classes_}
    hiss = unknown_sounds.noise(0, -20, np.random.default_rng(1))
    soundfile.write(tmp_path / "hiss.wav", hiss, unknown_sounds.RATE)
    assert ears.predict_array(hiss.astype(np.float32), unknown_sounds.RATE) == "noise-white"
    ours, theirs = (model.embed([str(tmp_path / "hiss.wav")]) for model in (ears, orchestra))
    assert ours.shape == theirs.shape
