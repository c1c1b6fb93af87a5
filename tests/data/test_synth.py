"""The built-in data set: what it contains, and that it is the same every time."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from audiocls.cli import main
from audiocls.data.synth import INSTRUMENTS, SAMPLE_RATE, play_note, write_dataset
from audiocls.errors import SettingError


def test_fourteen_classes_imbalanced_with_dirty_files(tmp_path: Path) -> None:
    counts = write_dataset(tmp_path / "data", clips_per_class=20)
    assert len(counts) == 14
    assert all(name.startswith("synthetic-") for name in counts)
    assert max(counts.values()) >= 3 * min(counts.values())
    for name, count in counts.items():
        good = [p for p in (tmp_path / "data" / name).iterdir() if not p.name.startswith("broken-")]
        assert len(good) == count
        assert len({p.name.split("_")[1] for p in good}) >= 6, "too few pitches to split by"
    assert len(list((tmp_path / "data").rglob("broken-*"))) == 4


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.wav")}

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_dataset(tmp_path / name, clips_per_class=6, n_classes=3, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda i: i.name)
def test_a_note_is_audible_finite_and_at_its_level(instrument) -> None:  # type: ignore[no-untyped-def]
    for midi in instrument.midi:
        y = play_note(instrument, midi, 0.5, 0.4, np.random.default_rng(0))
        assert y.shape == (round(0.4 * SAMPLE_RATE),)
        assert np.isfinite(y).all()
        assert np.abs(y).max() == pytest.approx(0.5)


def test_pitched_instruments_sound_at_their_pitch() -> None:
    # A4 is 440 Hz; one second long, so that a bin is one hertz.
    for name in ("flute", "clarinet", "organ"):
        instrument = next(i for i in INSTRUMENTS if i.name == name)
        y = play_note(instrument, 69, 0.5, 1.0, np.random.default_rng(0))
        spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
        assert abs(int(spectrum.argmax()) - 440) <= 5, name


def test_wav_files_are_16_bit_mono(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", clips_per_class=6, n_classes=2)
    path = next((tmp_path / "data").rglob("synthetic-flute_*.wav"))
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (
            1,
            2,
            SAMPLE_RATE,
        )
        assert 0.3 * SAMPLE_RATE <= file.getnframes() <= 1.5 * SAMPLE_RATE


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        ({"n_classes": 1}, "classes 1 is invalid: must be 2 to 14"),
        ({"n_classes": 15}, "classes 15 is invalid: must be 2 to 14"),
        ({"clips_per_class": 0}, "clips_per_class 0 is invalid: must be >= 1"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, kwargs: dict[str, int], rule: str) -> None:
    with pytest.raises(SettingError, match=rule):
        write_dataset(tmp_path / "data", **kwargs)
    assert not (tmp_path / "data").exists()


def test_command_line(tmp_path: Path) -> None:
    run = CliRunner().invoke(
        main, ["synth", str(tmp_path / "d"), "--clips-per-class", "6", "--json"]
    )
    assert run.exit_code == 0
    assert json.loads(run.stdout)["synthetic"] is True
    again = CliRunner().invoke(main, ["synth", str(tmp_path / "d")])
    assert again.exit_code == 2
    assert again.stderr.count("\n") == 1
    assert "must be a new or empty folder" in again.stderr
