"""What tells classes apart without the sound is said, and what is silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sounds import tone, write

import audiocls
from audiocls.data.recordings import Recording
from audiocls.data.shortcuts import notice_shortcuts, notice_silence
from audiocls.store.summary import summarise


def recordings(classes: dict[str, list[dict[str, float]]]) -> list[Recording]:
    return [
        Recording(0, f"{label}/{i}.wav", label, "", status="ok", **known)  # type: ignore[arg-type]
        for label, own in classes.items()
        for i, known in enumerate(own)
    ]


def said(classes: dict[str, list[dict[str, float]]]) -> list[str]:
    listed = recordings(classes)
    return [
        text.partition(": a model")[0]
        for text in notice_shortcuts(listed, [r.labels() for r in listed])
    ]


def test_one_rate_a_class_is_said() -> None:
    def rates(*values: int) -> list[dict[str, float]]:
        return [{"sample_rate": value} for value in values]

    assert said({"a": rates(*[8000] * 8), "b": rates(*[44100] * 8), "c": rates(*[44100] * 8)}) == [
        "sampling rate alone tells classes apart (8000 Hz: a; 44100 Hz: b, c)"
    ]
    # One that differs is an accident; a third is a mixture, that says nothing.
    assert len(said({"a": rates(*[8000] * 39, 44100), "b": rates(*[44100] * 40)})) == 1
    assert said({"a": rates(*[8000] * 20, *[44100] * 10), "b": rates(*[44100] * 30)}) == []
    assert said({"a": rates(*[8000] * 3), "b": rates(*[44100] * 30)}) == []
    channels = {"a": [{"channels": 1}] * 9, "b": [{"channels": 2}] * 9}
    assert said(channels) == ["number of channels alone tells classes apart (1: a; 2: b)"]


def test_a_length_or_level_of_its_own_is_said() -> None:
    rng = np.random.default_rng(0)

    def values(name: str, low: float, high: float, n: int = 30) -> list[dict[str, float]]:
        return [{name: float(x)} for x in rng.uniform(low, high, n)]

    found = said({"a": values("duration_s", 1, 2), "b": values("duration_s", 1, 2),
                  "c": [{"duration_s": 0.3}] * 8})  # fmt: skip
    assert found == ["length alone tells classes apart (c: 0.3 s)"]
    found = said({"a": values("level_db", -20, -10), "b": values("level_db", -60, -50)})
    assert found[0].startswith("level alone tells classes apart (a: -")
    assert said({"a": values("level_db", -30, -10), "b": values("level_db", -35, -15)}) == []


@pytest.mark.parametrize("seed", range(20))
def test_chance_is_not_said(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = {
        label: [
            {"duration_s": float(rng.exponential(3)), "level_db": float(rng.normal(-30, 8)),
             "sample_rate": int(rng.choice([16000, 44100])), "channels": int(rng.choice([1, 2]))}
            for _ in range(5)
        ]
        for label in "abcdefgh"
    }  # fmt: skip
    assert said(classes) == []


def test_silence_and_channels_that_cancel(tmp_path: Path) -> None:
    for i in range(6):
        y = tone(0.5, 300 + 40 * i, seed=i)
        write(tmp_path / f"data/a/{i}.wav", np.stack([y, -y], axis=1))
        write(tmp_path / f"data/b/{i}.wav", np.stack([y, y], axis=1))
    write(tmp_path / "data/b/nothing.wav", np.zeros(8000))
    notices: list[str] = []
    store = audiocls.extract(
        tmp_path / "data", "mel-16k", tmp_path / "store", notice=notices.append
    )
    assert notices == notice_silence(store.recordings) == [
        "6 recordings are silent once their channels are mixed to mono: the channels cancel, or "
        "are empty (a/0.wav, …)",
        "1 recording is silent (b/nothing.wav)",
    ]  # fmt: skip
    assert set(notices) < set(summarise(store.path).notices)
    levels = {r.path: r.level_db for r in store.recordings}
    mono = np.round(np.stack([tone(0.5, 300, seed=0)] * 2) * 32767).mean(axis=0) / 32768
    assert levels["b/0.wav"] == pytest.approx(10 * np.log10(np.mean(mono**2)), abs=0.006)
    assert levels["b/nothing.wav"] == -200
