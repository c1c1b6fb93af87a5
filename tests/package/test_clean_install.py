"""The built wheel in a virtual environment of its own, outside the checkout: the base alone.

What a user has after `pip install audiocls`: no torch, no scikit-learn, no matplotlib.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from saved_model import saved

import audiocls
from audiocls.data.synth import write_dataset

# What the base package needs, as pyproject.toml says; everything else is unknown in there.
HEAVY = ("torch", "sklearn", "matplotlib", "safetensors", "onnx", "soundfile", "psutil", "jinja2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    write_dataset(folder / "data", clips_per_class=3, n_classes=3)
    saved(folder / "model", audiocls.extract(folder / "data", "mfcc", folder / "store"))
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of the environment."""
    folder = tmp_path_factory.mktemp("clean")
    wheels = os.environ.get("AUDIOCLS_TEST_WHEEL")
    if wheels is None:
        built = [
            str(Path(sys.executable).with_name("maturin")), "build", "--profile", "quick",
            "--locked", "--quiet", "--out", str(folder),
        ]  # fmt: skip
        subprocess.run(built, cwd=ROOT, check=True, timeout=1500)
    (wheel,) = Path(wheels or folder).glob("audiocls-*.whl")
    venv.create(folder / "env", symlinks=True)
    target = folder / "env" / "bin"
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--quiet", "--python", str(target / "python")]
    pinned = ["--constraint", str(constraints(folder))]
    subprocess.run([*install, *pinned, str(wheel)], check=True, timeout=600)
    return target


def constraints(folder: Path) -> Path:
    """The versions of requirements.lock without its hashes: the wheel has none there."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.rstrip(" \\") for line in lines if line[:1].isalnum()]
    file = folder / "constraints.txt"
    file.write_text("\n".join(pins))
    return file


def run(clean: Path, place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [str(clean / args[0]), *args[1:]],
        cwd=place, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_base_package_predicts_without_torch(clean: Path, place: Path) -> None:
    found = f"import importlib.util as u; print([m for m in {HEAVY} if u.find_spec(m)])"
    assert run(clean, place, "python", "-c", found).stdout == "[]\n"
    where = run(clean, place, "python", "-c", "import audiocls; print(audiocls.__file__)").stdout
    assert str(clean.parent) in where

    done = run(clean, place, "audiocls", "predict", "model", "data", "--json")
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout) if not row["error"]]
    here = audiocls.Classifier.load(place / "model")
    expected = here.predict_proba([place / row["path"] for row in rows]).max(axis=1)
    np.testing.assert_allclose([row["probability"] for row in rows], expected, atol=1e-6)


@pytest.mark.parametrize(
    "command",
    [
        "--help", "presets", "synth more --clips-per-class 2", "info data", "info store",
        "info model", "extract data --feature fbank", "train --help", "completion zsh",
    ],
)  # fmt: skip
def test_what_needs_no_extra(clean: Path, place: Path, command: str) -> None:
    done = run(clean, place, "audiocls", *command.split())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("train --model lstm --features store", "torch", "train"),
        ("compare --features store", "jinja2", "train"),
        ("export model --out model.onnx", "torch", "train"),
        ("info store --plot picture.png", "matplotlib", "train"),
        ("demo model", "gradio", "demo"),
        ("stream model mic", "sounddevice", "mic"),
    ],
)
def test_what_needs_one_says_which(
    clean: Path, place: Path, command: str, package: str, extra: str
) -> None:
    done = run(clean, place, "audiocls", *command.split())
    name = command.split()[0]
    expected = f"audiocls {name} needs {package}: pip install 'audiocls[{extra}]'\n"
    assert (done.returncode, done.stderr) == (2, expected)
