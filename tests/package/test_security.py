"""What SECURITY.md promises and no other test holds: nothing that is read runs."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from saved_model import saved

import audiocls
from audiocls.data.synth import write_dataset
from audiocls.errors import DataError
from audiocls.store.store import Store, open_store

PACKAGE = Path(audiocls.__file__).parent
# What runs code that it reads, or may.
FORBIDDEN = (
    r"\b(import|from) +(pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal|yaml)\b",
    r"\ballow_pickle *= *True",
    r"\bnp\.load\((?![^()]*(\([^()]*\)[^()]*)*allow_pickle=False)",
    r"\btorch\.load\((?![^()]*(\([^()]*\)[^()]*)*weights_only=True)",
    r"(?<![.\w])(eval|exec|compile|__import__)\(",
    r"\bshell *= *True|\bos\.(system|popen)\(",
    r"trust_remote_code",
)


def found(text: str) -> list[str]:
    return [pattern for pattern in FORBIDDEN if re.search(pattern, text)]


def test_nothing_in_the_package_runs_what_it_reads() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert not found(file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "np.load(file)",
        "np.load(Path(a), mmap_mode='r')",
        "np.load(a, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "exec(text)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert found(line)


def test_the_search_leaves_what_is_sound() -> None:
    assert not found("np.load(Path(a), mmap_mode='r', allow_pickle=False)")
    assert not found("torch.load(path, weights_only=True)")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("name", ["npy", "clips.npy", "offsets.npy"])
def test_a_crafted_npy_is_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "data/a").mkdir(parents=True)
    header = b"RIFF\x2c\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    header += b"\x80>\x00\x00\x00}\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00"
    (tmp_path / "data/a/x.wav").write_bytes(header + bytes(32000))
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "store", clip_s=0)
    ran = tmp_path / "ran"
    bomb = np.empty(1, object)
    bomb[0] = Bomb(ran)
    file = store.path / f"shards/00000.{name}"
    sound = file.read_bytes()
    np.save(file, bomb, allow_pickle=True)
    with pytest.raises(DataError, match=rf"00000\.{re.escape(name)}: "):
        open_store(store.path)
    for contents in (file.read_bytes(), pickle.dumps(Bomb(ran))):
        file.write_bytes(contents)
        fresh = Store(store.path, store.about)
        with pytest.raises(DataError, match=rf"00000\.{re.escape(name)}: "):
            _ = fresh.numpy(), fresh.labels, fresh.features
    assert not ran.exists()
    file.write_bytes(sound)
    assert len(open_store(store.path).numpy()) > 0


def test_a_prediction_reports_to_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    """onnxruntime would make a number for the machine and a queue of reports to its makers."""
    write_dataset(tmp_path / "data", clips_per_class=2, n_classes=2)
    saved(tmp_path / "model", audiocls.extract(tmp_path / "data", "mfcc", tmp_path / "store"))
    home = tmp_path / "home"
    home.mkdir()
    # Neither a test run nor a build machine is reported in any case.
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    command = [sys.executable, "-m", "audiocls", "predict", "model", "data"]
    env = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home), "TMPDIR": str(home)}
    subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True)
    assert list(home.iterdir()) == []
