"""Degraded recordings: each condition does what its name says, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import degrade

RATE = 44100


def signal(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """White noise: it has something everywhere."""
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def apply(condition: str, y: np.ndarray, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return degrade.CONDITIONS[condition](y, rate, np.random.default_rng(seed))


def power_db(y: np.ndarray, low: float, high: float, rate: int = RATE) -> float:
    """Mean power density in a band."""
    power = np.abs(np.fft.rfft(y * np.hanning(len(y)))) ** 2
    hz = np.fft.rfftfreq(len(y), 1 / rate)
    return float(10 * np.log10(power[(hz >= low) & (hz < high)].mean()))


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_telephone_keeps_its_band_and_nothing_else(rate: int) -> None:
    y = signal(rate=rate)
    low = apply("telephone", y, rate=rate)
    assert len(low) == len(y)
    inside = power_db(low, 500, 3200, rate)
    assert inside == pytest.approx(power_db(y, 500, 3200, rate), abs=0.1)
    assert power_db(low, 0, 180, rate) < inside - 40
    assert power_db(low, 3520, rate / 2, rate) < inside - 40


@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_the_noise_has_the_ratio_that_was_asked(snr_db: float) -> None:
    y = signal()
    noise = apply(f"noise-{snr_db}db", y) - y
    assert 10 * np.log10(np.sum(y**2) / np.sum(noise**2)) == pytest.approx(snr_db, abs=0.01)
    # Pink: the density falls by 3.01 dB an octave, here over five of them.
    fall = power_db(noise, 200, 400) - power_db(noise, 6400, 12800)
    assert fall == pytest.approx(5 * 3.01, abs=1)


@pytest.mark.parametrize(("way", "semitones"), [("up", 2), ("down", -2)])
def test_transposed_by_two_semitones(way: str, semitones: int) -> None:
    t = np.arange(2 * RATE) / RATE
    y = apply(f"transposed-{way}", np.sin(2 * np.pi * 440 * t))
    hz = np.argmax(np.abs(np.fft.rfft(y * np.hanning(len(y)), 8 * RATE))) / 8
    assert 1200 * np.log2(hz / 440) == pytest.approx(100 * semitones, abs=2)


def test_reverberation_decays_as_drawn_and_keeps_level_and_length() -> None:
    room, source, microphone = np.array([8, 6, 3.5]), np.array([2, 2, 1.5]), np.array([5, 4, 1.2])
    for decay_s in (0.5, 1.2):
        response = degrade.room_response(room, source, microphone, decay_s, RATE)
        # Schroeder's backward integral, from −5 to −25 dB.
        left = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2))
        fall = np.argmax(left < -25) - np.argmax(left < -5)
        assert 3 * fall / RATE == pytest.approx(decay_s, rel=0.25)
    direct = np.linalg.norm(source - microphone) / 343 * RATE
    heard = np.argmax(np.abs(response) > 0.2 * np.abs(response).max())
    assert heard == pytest.approx(direct, abs=1)

    y = np.zeros(RATE)
    y[1000] = 1
    wet = apply("reverb", y)
    assert len(wet) == len(y)
    assert np.argmax(np.abs(wet) > 0.1 * np.abs(wet).max()) == 1000, "the direct sound was moved"
    assert np.sum(wet**2) == pytest.approx(1)
    assert np.sum(wet[3000:] ** 2) > 0.05, "no room"


def test_equalised_is_a_smooth_filter_of_at_most_about_12_db() -> None:
    y = signal()
    centres = 31.25 * 2.0 ** np.arange(1, 9)
    gains = []
    for seed in range(3):
        z = apply("equalised", y, seed)
        bands = [(f / 1.1, f * 1.1) for f in centres]
        gains.append([power_db(z, *band) - power_db(y, *band) for band in bands])
    assert np.abs(gains).max() < 15
    assert np.std(gains, axis=1).min() > 2, "hardly anything was changed"
    assert np.abs(np.diff(gains, axis=0)).max() > 3, "every seed gives the same curve"


def test_mp3_at_32_kbit_loses_the_heights_and_keeps_the_rest() -> None:
    t = np.arange(2 * RATE) / RATE
    y = 0.2 * np.sin(2 * np.pi * 1000 * t) + 0.2 * np.sin(2 * np.pi * 15000 * t)
    z = apply("mp3-32k", y)
    assert len(z) == len(y)
    assert power_db(z, 990, 1010) == pytest.approx(power_db(y, 990, 1010), abs=0.5)
    assert power_db(z, 14990, 15010) < power_db(y, 14990, 15010) - 40


def test_quiet_is_30_db_lower_in_16_bits(tmp_path: Path) -> None:
    y = signal()
    soundfile.write(tmp_path / "a.wav", y, RATE, subtype="FLOAT")
    degrade.degrade(tmp_path / "a.wav", tmp_path / "a.flac", "quiet-30db", np.random.default_rng(0))
    z, rate = soundfile.read(tmp_path / "a.flac")
    assert rate == RATE
    assert 10 * np.log10(np.mean(z**2) / np.mean(y**2)) == pytest.approx(-30, abs=0.01)
    assert 0 < np.abs(z - y * 10**-1.5).max() <= 2**-15


@pytest.mark.parametrize("condition", degrade.CONDITIONS)
def test_the_same_every_time_finite_and_not_silent(condition: str) -> None:
    y = signal(0.3)
    z = apply(condition, y, seed=5)
    np.testing.assert_array_equal(z, apply(condition, y, seed=5))
    assert np.isfinite(z).all()
    assert np.abs(z).max() > 0.003
    assert np.isfinite(apply(condition, np.zeros(20000))).all(), "silence"


def test_a_folder_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(out: str, *more: str) -> None:
        degrade.main([str(tmp_path / "in"), str(tmp_path / out), *more])

    for name in ("flute/a.wav", "oboe/soft/b.flac"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.stack([signal(0.2)] * 2, axis=1) * 30, RATE)  # loud, two channels
    (tmp_path / "in" / "oboe" / "broken.mp3").write_bytes(b"")
    run("out", "--condition", "noise-0db")
    said = capsys.readouterr()
    assert "2 recordings" in said.out
    assert "1 could not be read" in said.out
    assert "broken.mp3" in said.err
    files = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*.*")}
    assert set(files) == {"flute/a.flac", "oboe/soft/b.flac"}
    for path in files.values():
        y, rate = soundfile.read(path)
        assert (rate, y.shape) == (RATE, (round(0.2 * RATE),))
        assert np.abs(y).max() < 1, "it clips"
    first = {name: path.read_bytes() for name, path in files.items()}
    run("again", "--condition", "noise-0db")
    run("other", "--condition", "noise-0db", "--seed", "1")
    for name, content in first.items():
        assert (tmp_path / "again" / name).read_bytes() == content
        assert (tmp_path / "other" / name).read_bytes() != content

    with pytest.raises(SystemExit, match="2"):
        run("out", "--condition", "underwater")
    assert "underwater" in capsys.readouterr().err
    (tmp_path / "in").rename(tmp_path / "was")
    (tmp_path / "in").mkdir()
    with pytest.raises(SystemExit, match="has no recordings"):
        run("none", "--condition", "reverb")
