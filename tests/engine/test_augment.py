"""Every operation of augmentation, alone, against its definition in float64 by numpy and scipy.

The engine says what was drawn; that it is drawn as documented is restated from numpy's Philox.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from audiocls import Extractor, FeatureSpec, _native
from audiocls.errors import SettingError

Wave = NDArray[np.float64]

RATE = 44_100
CLIP = 22_050
SPEC = FeatureSpec.preset("mel")
SEED = 9
WITHIN = 1e-5

OPERATIONS = ["pitch", "phrase", "filter", "reverb", "band_limit", "noise"]
OPERATIONS += ["gain", "clip", "polarity", "shift"]
OFF: dict[str, Any] = {f"{name}_p": 0 for name in OPERATIONS}
ALL: dict[str, Any] = {f"{name}_p": 1 for name in OPERATIONS}
# The order of `Stream` in draw.rs.
WINDOW, PITCH, FILTER, REVERB, BAND_LIMIT, NOISE, GAIN, _CLIP, _POLARITY, SHIFT = range(10)
IMPULSES, NOISES, PHRASE = 10, 11, 12


def plan(settings: dict[str, Any], clip: int = CLIP, **others: Any) -> _native.Augmenter:
    given = {"short": "pad", "threads": 1, "impulses": [], "noises": [], **others}
    settings = json.dumps({"seed": SEED, **settings})
    return _native.Augmenter(given.pop("spec", SPEC).to_json(), settings, clip, **given)


def wave(
    augmenter: _native.Augmenter,
    samples: NDArray[Any],
    index: int,
    epoch: int = 1,
    clip: int = CLIP,
    following: NDArray[np.int64] | None = None,
) -> Wave:
    out = np.empty((1, clip), np.float32)
    span = np.array([[0, 0, len(samples)]])
    augmenter.batch([samples], span, np.array([index]), epoch, out, following=following)
    return out[0].astype(np.float64)


def numbers(stream: int, index: int, epoch: int = 1) -> np.random.Generator:
    counter, key = [0, stream, index, epoch], [SEED, 0]
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def log_uniform(draws: np.random.Generator, low: float, high: float) -> float:
    return low * (high / low) ** draws.random()


@pytest.fixture(scope="module")
def recording() -> NDArray[np.float32]:
    """Three seconds of tones that come and go, and noise."""
    t = np.arange(3 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * f * t + f) for f in (55.0, 440.0, 3100.0, 9000.0)) / 6
    noise = np.random.default_rng(0).standard_normal(len(t)) / 20
    return ((tones + noise) * (0.6 + 0.4 * np.sin(5 * t))).astype(np.float32)


def alone(
    name: str, recording: NDArray[np.float32], index: int, **others: Any
) -> tuple[Any, Wave, Wave]:
    """What was drawn for an operation, the window, and what became of it."""
    settings = {**OFF, f"{name}_p": 1, **others.pop("settings", {})}
    following = others.pop("following", None)
    augmenter = plan(settings, **others)
    drawn = json.loads(augmenter.drawn(1, index, len(recording)))
    window = recording[drawn["start"] : drawn["start"] + CLIP].astype(np.float64)
    return drawn, window, wave(augmenter, recording, index, following=following)


@pytest.mark.parametrize("index", range(6))
def test_pitch(recording: NDArray[np.float32], index: int) -> None:
    drawn, _, got = alone("pitch", recording, index)
    draws = numbers(PITCH, index)
    draws.random()
    semitones = -3 + 6 * draws.random()
    ratio = round(2 ** (semitones / 12) * 512) / 512
    assert drawn["pitch"]["ratio"] == ratio
    start = int(numbers(WINDOW, index).random() * (len(recording) + 1 - math.ceil(CLIP * ratio)))
    assert drawn["start"] == start

    cutoff = 0.47 / 2 ** (max(0, math.ceil(12 * math.log2(ratio))) / 12)
    padded = np.pad(recording.astype(np.float64), 40)
    places = start + np.arange(CLIP) * ratio
    whole = np.floor(places).astype(int)
    t = np.arange(-15, 17) - (places - whole)[:, None]
    taps = np.sinc(2 * cutoff * t) * np.i0(6.2 * np.sqrt(np.maximum(1 - (t / 16) ** 2, 0)))
    taps /= taps.sum(axis=1, keepdims=True)
    want = (taps * padded[40 + whole[:, None] + np.arange(-15, 17)]).sum(axis=1)
    assert np.abs(got - want).max() < WITHIN


def test_pitch_moves_a_tone_and_hides_no_alias() -> None:
    t, window = np.arange(2 * RATE) / RATE, signal.windows.blackmanharris(CLIP)
    for index in range(8):
        augmenter = plan({**OFF, "pitch_p": 1})
        ratio = json.loads(augmenter.drawn(1, index, len(t)))["pitch"]["ratio"]
        for hz in (1000.0, 14_000.0, 22_000.0):
            tone = np.sin(2 * np.pi * hz * t).astype(np.float32)
            windowed = wave(augmenter, tone, index) * window * 2 / window.sum()
            moved = hz * ratio
            if hz <= 14_000:
                there = np.exp(-2j * np.pi * moved * t[:CLIP])
                assert abs(there @ windowed) == pytest.approx(1, abs=2e-3)
            spectrum = np.abs(np.fft.rfft(windowed))
            at = round(moved * CLIP / RATE)
            spectrum[max(0, at - 6) : at + 7] = 0
            # Nothing falls back to below 18 kHz.
            assert spectrum[: int(18_000 * CLIP / RATE)].max() < 1e-3


# Where in the recording notes begin that may follow: as many as a clip takes, and one more.
NOTES = (0, 40_000, 90_000, 20_000)


@pytest.mark.parametrize("index", range(6))
def test_phrase(recording: NDArray[np.float32], index: int) -> None:
    following = np.array([[[0, first, len(recording)] for first in NOTES]])
    settings = {"phrase_note_s": [0.05, 0.6]}
    drawn, window, got = alone("phrase", recording, index, settings=settings, following=following)
    draws = numbers(PHRASE, index)
    draws.random()
    want, at_s = window.copy(), log_uniform(draws, 0.05, 0.6) * draws.random()
    expected, fade = [], int(0.02 * RATE)
    for first in NOTES[:3]:
        if at_s >= 0.5:
            break
        at, gain_db, rest_db = int(at_s * RATE), -6 + 12 * draws.random(), -60 + 60 * draws.random()
        expected.append({"at": at, "gain_db": gain_db, "rest_db": rest_db})
        at_s += log_uniform(draws, 0.05, 0.6)
        note = recording[first:].astype(np.float64)
        loudness = [np.mean(x[:RATE].astype(np.float64) ** 2) for x in (recording, note)]
        gain = np.sqrt(loudness[0] / loudness[1]) * 10 ** (gain_db / 20)
        falls = np.clip(np.arange(1, CLIP - at + 1) / fade, 0, 1)
        want[at:] = want[at:] * (1 - (1 - 10 ** (rest_db / 20)) * falls) + gain * note[: CLIP - at]
    assert drawn["phrase"]["notes"] == [pytest.approx(note) for note in expected]
    assert np.abs(got - want).max() < WITHIN * max(1, np.abs(want).max())


def test_notes_that_follow_are_at_the_pitch_of_the_clip(recording: NDArray[np.float32]) -> None:
    """A note alone, at that pitch, is what a clip holds after it began and all else has fallen."""
    following = np.array([[[0, 40_000, len(recording)]]])
    settings = {**OFF, "pitch_p": 1, "phrase_p": 1, "phrase_note_s": [0.2, 0.2]}
    settings |= {"phrase_rest_db": [-120, -120], "phrase_gain_db": [0, 0]}
    augmenter = plan(settings)
    drawn = json.loads(augmenter.drawn(1, 3, len(recording)))
    at = drawn["phrase"]["notes"][0]["at"]
    unjoined = plan({**OFF, "pitch_p": 1})
    note = wave(unjoined, recording[40_000 : 40_000 + math.ceil(CLIP * drawn["pitch"]["ratio"])], 3)
    got = wave(augmenter, recording, 3, following=following)[at:]
    fell = int(0.02 * RATE)
    ratio = got[fell:] @ note[fell : CLIP - at] / (note[fell : CLIP - at] @ note[fell : CLIP - at])
    assert 0.1 < ratio < 10
    assert np.abs(got[fell:] - ratio * note[fell : CLIP - at])[:-200].max() < 1e-4


def test_nothing_follows_in_silence_and_silence_is_not_raised() -> None:
    recording = np.concatenate([np.zeros(2 * RATE), np.sin(np.arange(RATE))]).astype(np.float32)
    augmenter = plan({**OFF, "phrase_p": 1, "phrase_note_s": [0.1, 0.1]})
    silence, tone = [0, 0, 2 * RATE], [0, 2 * RATE, 3 * RATE]
    for own, follows in ((silence, tone), (tone, silence)):
        out = np.empty((2, 1, CLIP), np.float32)
        for clips, following in zip(out, (np.array([[follows]]), None), strict=True):
            augmenter.batch(
                [recording], np.array([own]), np.array([2]), 1, clips, following=following
            )
        assert (out[0] == out[1]).all()


@pytest.mark.parametrize("index", range(4))
def test_filters(recording: NDArray[np.float32], index: int) -> None:
    drawn, window, got = alone("filter", recording, index)
    sections = drawn["filters"]["sections"]
    sos = np.array([[*s["b"], 1, *s["a"]] for s in sections])
    assert np.abs(got - signal.sosfilt(sos, window)).max() < WITHIN * max(1, np.abs(got).max())

    # The sections are those of the cookbook: a shelf has its gain at one end and half of it (in dB)
    # at its frequency, a peak all of it.
    draws = numbers(FILTER, index)
    draws.random()

    def drawn_db() -> float:
        return float(-12 + 24 * draws.random())

    def response(section: Any, hz: float) -> float:
        _, h = signal.sosfreqz(section[None], [hz], fs=RATE)
        return float(20 * np.log10(np.abs(h[0])))

    for section, hz, edge in ((sos[0], (60, 600), 0), (sos[1], (1500, 12_000), RATE / 2)):
        f, db = log_uniform(draws, *hz), drawn_db()
        assert response(section, edge) == pytest.approx(db, abs=1e-6)
        assert response(section, f) == pytest.approx(db / 2, abs=1e-6)
        assert response(section, RATE / 2 - edge) == pytest.approx(0, abs=1e-6)
    for section in sos[2:]:
        f, q = log_uniform(draws, 150, 10_000), log_uniform(draws, 0.7, 3)
        db = drawn_db()
        assert response(section, f) == pytest.approx(db, abs=1e-6)
        alpha, gain = math.sin(2 * np.pi * f / RATE) / 2 / q, 10 ** (db / 40)
        assert section[5] == pytest.approx((1 - alpha / gain) / (1 + alpha / gain), abs=1e-9)


def synthetic_impulse(number: int, rt60_s: tuple[float, float]) -> Wave:
    draws = numbers(IMPULSES, number, epoch=0)
    decay_s = log_uniform(draws, *rt60_s)
    pause = int((0.001 + 0.019 * draws.random()) * RATE)
    pole = math.exp(-2 * np.pi * log_uniform(draws, 2000, 16_000) / RATE)
    n = min(int(min(decay_s, 0.5) * RATE) + pause + 1, CLIP)
    tail = signal.lfilter([1 - pole], [1, -pole], draws.uniform(-1, 1, n - pause))
    tail *= 10 ** (-3 * np.arange(n - pause) / (decay_s * RATE))
    left = np.arange(n - pause, 0, -1) / max(n // 10, 1)
    tail *= (1 - np.cos(np.pi * np.minimum(left, 1))) / 2
    impulse = np.concatenate([np.zeros(pause), tail])
    return np.asarray(impulse / np.linalg.norm(impulse))


@pytest.mark.parametrize("index", range(4))
def test_reverberation(recording: NDArray[np.float32], index: int) -> None:
    drawn, window, got = alone("reverb", recording, index)
    reverb = drawn["reverb"]
    draws = numbers(REVERB, index)
    draws.random()
    assert reverb["response"] == int(draws.random() * 64)
    ratio_db = -3 + 23 * draws.random()
    assert 20 * math.log10(reverb["direct"] / reverb["reverberant"]) == pytest.approx(
        ratio_db, abs=1e-4
    )
    assert reverb["direct"] ** 2 + reverb["reverberant"] ** 2 == pytest.approx(1, abs=1e-6)
    impulse = synthetic_impulse(reverb["response"], (0.1, 1.0))
    wet = signal.fftconvolve(window, impulse)[:CLIP]
    assert np.abs(got - reverb["direct"] * window - reverb["reverberant"] * wet).max() < WITHIN


def test_reverberation_by_the_users_impulse_responses(recording: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(1)
    impulses = [(rng.standard_normal(n) * 3).astype(np.float32) for n in (1, 700, 30_000)]
    seen = set()
    for index in range(8):
        drawn, window, got = alone("reverb", recording, index, impulses=impulses)
        response = drawn["reverb"]["response"]
        impulse = impulses[response].astype(np.float64)
        want = signal.fftconvolve(window, impulse / np.linalg.norm(impulse))[:CLIP]
        assert np.abs(got - want).max() < WITHIN
        seen.add(response)
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("index", range(4))
def test_band_limit(recording: NDArray[np.float32], index: int) -> None:
    drawn, window, got = alone("band_limit", recording, index)
    low, high = drawn["band_limit"]["low_hz"], drawn["band_limit"]["high_hz"]
    draws = numbers(BAND_LIMIT, index)
    draws.random()
    assert low == pytest.approx(log_uniform(draws, 20, 400))
    assert high == pytest.approx(log_uniform(draws, 3000, 16_000))
    want = signal.sosfilt(signal.butter(4, low, "highpass", fs=RATE, output="sos"), window)
    want = signal.sosfilt(signal.butter(8, high, "lowpass", fs=RATE, output="sos"), want)
    assert np.abs(got - want).max() < WITHIN


def synthetic_noise(number: int) -> Wave:
    n = 1 << 16
    phases = 2 * np.pi * numbers(NOISES, number, epoch=0).random(n // 2 - 1)
    hz = np.maximum(np.arange(1, n // 2) * RATE / n, 20)
    spectrum = np.zeros(n // 2 + 1, complex)
    spectrum[1:-1] = hz ** (-number / 8) * np.exp(1j * phases)
    noise = np.fft.irfft(spectrum)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


def with_noise(window: Wave, noise: Wave, snr_db: float) -> Wave:
    gain = np.sqrt(np.mean(window**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return np.asarray(window + gain * noise)


@pytest.mark.parametrize("index", range(4))
def test_noise(recording: NDArray[np.float32], index: int) -> None:
    drawn, window, got = alone("noise", recording, index)
    draws = numbers(NOISE, index)
    draws.random()
    snr_db, colour = 5 + 35 * draws.random(), 8 * draws.random()
    assert drawn["noise"]["snr_db"] == pytest.approx(snr_db)
    noise = np.zeros(CLIP)
    for number, weight in ((int(colour), 1 - colour % 1), (int(colour) + 1, colour % 1)):
        first = int(draws.random() * (1 << 16))
        noise += np.sqrt(weight) * np.take(
            synthetic_noise(number), first + np.arange(CLIP), mode="wrap"
        )
    assert np.abs(got - with_noise(window, noise, snr_db)).max() < WITHIN


def test_noise_by_the_users_recordings(recording: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(2)
    noises = [rng.standard_normal(n).astype(np.float32) for n in (1, 5000, 100_000)]
    for index in range(6):
        drawn, window, got = alone("noise", recording, index, noises=noises)
        ((number, first, gain),) = drawn["noise"]["parts"]
        assert gain == 1
        noise = np.take(noises[number].astype(np.float64), first + np.arange(CLIP), mode="wrap")
        assert np.abs(got - with_noise(window, noise, drawn["noise"]["snr_db"])).max() < WITHIN


def test_level(recording: NDArray[np.float32]) -> None:
    for index in range(4):
        drawn, window, got = alone("gain", recording, index)
        draws = numbers(GAIN, index)
        draws.random()
        assert drawn["gain"]["db"] == pytest.approx(-24 + 30 * draws.random())
        assert np.abs(got - window * 10 ** (drawn["gain"]["db"] / 20)).max() < WITHIN

        drawn, window, got = alone("clip", recording, index)
        drive, peak = 10 ** (drawn["clipping"]["db"] / 20), np.abs(window).max()
        want = peak * np.tanh(drive * window / peak) / np.tanh(drive)
        assert 0 <= drawn["clipping"]["db"] <= 12
        assert np.abs(got - want).max() < WITHIN

        drawn, window, got = alone("polarity", recording, index)
        assert drawn["polarity"]
        assert (got == -window).all()


def test_shift(recording: NDArray[np.float32]) -> None:
    shifts = []
    for index in range(8):
        drawn, window, got = alone("shift", recording, index)
        n = drawn["shift"]["samples"]
        draws = numbers(SHIFT, index)
        draws.random()
        assert n == round((-0.1 + 0.2 * draws.random()) * RATE)
        want = np.zeros(CLIP)
        want[max(n, 0) : CLIP + min(n, 0)] = window[max(-n, 0) : CLIP - max(n, 0)]
        assert (got == want).all()
        shifts.append(n)
    assert min(shifts) < 0 < max(shifts)


def test_mix(recording: NDArray[np.float32]) -> None:
    augmenter = plan({**OFF, "polarity_p": 0.5})
    spans = np.array([[0, 0, len(recording)]] * 3)
    ours, theirs = np.array([1, 2, 3]), np.array([7, 8, 9])
    out = np.empty((3, 3, CLIP), np.float32)
    weights = np.array([0.3, 1.0, 0.5], np.float32)
    augmenter.batch([recording], spans, ours, 1, out[0])
    augmenter.batch([recording], spans, theirs, 1, out[1])
    augmenter.batch([recording], spans, ours, 1, out[2], mix=(spans, theirs, weights))
    x, y, got = out.astype(np.float64)
    r = weights[:, None].astype(np.float64)
    y *= np.sqrt((x**2).mean(1, keepdims=True) / (y**2).mean(1, keepdims=True))
    assert np.abs(got - (r * x + (1 - r) * y) / np.sqrt(r**2 + (1 - r) ** 2)).max() < WITHIN


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_whole_chain_is_one_function_of_seed_epoch_and_index(
    recording: NDArray[np.float32], threads: int
) -> None:
    samples = (recording * 32768).round().astype(np.int16)
    arrays = [samples[: 2 * RATE], samples[2 * RATE :]]
    spans = np.array([[i % 2, 100 * i, RATE - 7 * i] for i in range(11)])
    augmenter = plan(ALL, threads=threads)
    out = np.empty((11, augmenter.n_frames, augmenter.n_features), np.float32)
    waves = np.empty((11, CLIP), np.float32)
    augmenter.batch(arrays, spans, np.arange(11), 4, out)
    augmenter.batch(arrays, spans, np.arange(11), 4, waves)
    assert (out == Extractor(SPEC, threads=1).batch(waves)).all()
    order = np.random.default_rng(3).permutation(11)
    again = np.empty_like(out)
    plan(ALL).batch(arrays, spans[order], order, 4, again)
    assert (again == out[order]).all()
    plan(ALL).batch(arrays, spans, np.arange(11), 5, again)
    assert not (again == out).all(axis=(1, 2)).any()


def test_short_recordings_are_padded_or_repeated(recording: NDArray[np.float32]) -> None:
    short = recording[:9000]
    padded, repeated = (
        wave(plan(OFF, short=rule), short, 0).astype(np.float32) for rule in ("pad", "repeat")
    )
    assert (padded == np.pad(short, (0, CLIP - 9000))).all()
    assert (repeated == np.tile(short, 3)[:CLIP]).all()


def test_plain_clips_are_those_of_the_grid(recording: NDArray[np.float32]) -> None:
    starts = np.arange(0, len(recording) - CLIP + 1, 5000)
    spans = np.array([[0, 0, len(recording)]] * len(starts))
    clips = np.stack([recording[start : start + CLIP] for start in starts])
    augmenter = plan(ALL)
    out = np.empty((len(starts), augmenter.n_frames, augmenter.n_features), np.float32)
    augmenter.plain([recording], spans, starts, out)
    assert (out == Extractor(SPEC).batch(clips)).all()


def test_windows_are_drawn_from_the_whole_recording(recording: NDArray[np.float32]) -> None:
    augmenter = plan(OFF)
    starts = [json.loads(augmenter.drawn(0, i, CLIP + 9))["start"] for i in range(300)]
    assert set(starts) == set(range(10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_p": 2}, "noise_p 2 is invalid: must be between 0 and 1"),
        ({"pitch_semitones": -1}, "pitch_semitones -1 is invalid: must be between 0 and 12"),
        ({"gain_db": [6, -6]}, r"gain_db '\[6, -6\]' is invalid: must be \[least, greatest\]"),
        ({"reverb_rt60_s": [0, 1]}, "reverb_rt60_s 0 is invalid"),
        ({"noise_db": 1}, "noise_db 1 is invalid: must be one of "),
    ],
)
def test_bad_settings_name_the_field(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        _native.check_augmentation(json.dumps(settings))
    with pytest.raises(SettingError, match=message):
        plan(settings)


def test_bad_arguments_are_refused(recording: NDArray[np.float32]) -> None:
    for broken, value in ((np.zeros(5), "0"), (np.array([1, np.nan]), "nan"), (np.zeros(0), "0")):
        with pytest.raises(SettingError, match=rf"noises\[1\] {value} is invalid"):
            plan(ALL, noises=[np.ones(3, np.float32), broken.astype(np.float32)])
    augmenter, index = plan(ALL), np.array([0])
    out = np.empty((1, CLIP), np.float32)
    two, notes = np.array([[0, 0, 9]] * 2), np.array([[[0, 0, 5]] * 3])
    pair = np.empty((2, CLIP), np.float32)
    with pytest.raises(SettingError, match=r"following 3 is invalid: must be \[n, k, 3\]"):
        augmenter.batch([recording], two, np.arange(2), 0, pair, following=notes)
    with pytest.raises(SettingError, match=r"following 4 is invalid: must be \[n, k, 3\]"):
        augmenter.batch(
            [recording], two, np.arange(2), 0, pair, following=np.tile(notes[:, :1], (4, 1, 1))
        )
    for span in ([1, 0, 5], [0, -1, 5], [0, 0, len(recording) + 1], [0, 5, 4]):
        with pytest.raises(SettingError, match="lies in no array"):
            augmenter.batch([recording], np.array([span]), index, 0, out)
    with pytest.raises(SettingError, match="out"):
        augmenter.batch(
            [recording], np.array([[0, 0, 9]]), index, 0, np.empty((2, CLIP), np.float32)
        )
    with pytest.raises(SettingError, match="start -1 is invalid"):
        augmenter.plain([recording], np.array([[0, 0, 9]]), np.array([-1]), out)
