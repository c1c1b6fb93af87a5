"""Spoken digits: a voice has one room and microphone, and the table says whose a recording is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

import spoken_digits
from spoken_digits import DIGITS, RATE, SPOKEN_RATE, VOICES, take


@pytest.fixture(autouse=True)
def click(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of espeak-ng: a click, so that a recording is an impulse response."""

    def speak(voice: str, sentence: str, speed: int, pitch: int) -> np.ndarray:
        assert voice in VOICES
        assert sentence in DIGITS
        assert 120 <= speed < 200
        assert 25 <= pitch < 75
        y = np.zeros(2 * SPOKEN_RATE)
        y[: SPOKEN_RATE // RATE] = 1
        return y

    monkeypatch.setattr(spoken_digits, "speak", speak)
    monkeypatch.setattr(spoken_digits, "which", lambda program: program)


def spectrum(y: np.ndarray) -> np.ndarray:
    """Magnitudes, without what the takes' own levels and delays are."""
    found = np.abs(np.fft.rfft(y, 4 * RATE))
    return np.log10(found[800:8000] / found[800:8000].mean())


def test_a_voice_has_one_room_and_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken_digits, "VOICES", dict.fromkeys(VOICES, 200.0))
    first, again, other = (spectrum(take(*which)) for which in ((0, 1, 2), (0, 7, 3), (1, 1, 2)))
    # Apart from the tail of the room that the end of the recording cuts off.
    assert np.abs(first - again).mean() < 0.05
    assert np.abs(first - other).mean() > 0.2
    np.testing.assert_array_equal(take(0, 1, 2), take(0, 1, 2))


def test_the_table_and_its_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoken_digits.main([str(tmp_path), "--takes", "1"])
    assert capsys.readouterr().out == f"{tmp_path}: 60 recordings\n"
    with (tmp_path / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["label"], row["voice"]) for row in rows} == {
        (d, v) for d in DIGITS for v in VOICES
    }
    files = [tmp_path / row["file_name"] for row in rows]
    assert all(f.parent.name == row["label"] for f, row in zip(files, rows, strict=True))
    assert {soundfile.info(f).samplerate for f in files} == {RATE}
    # What is there is not made again, and what is missing comes out the same.
    whole = files[0].read_bytes()
    files[0].unlink()
    files[1].write_bytes(b"kept")
    spoken_digits.main([str(tmp_path), "--takes", "1"])
    assert (files[0].read_bytes(), files[1].read_bytes()) == (whole, b"kept")


def test_without_the_program_that_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken_digits, "which", lambda program: None)
    with pytest.raises(SystemExit, match="espeak-ng is missing: apt-get install espeak-ng"):
        spoken_digits.main([str(tmp_path)])
