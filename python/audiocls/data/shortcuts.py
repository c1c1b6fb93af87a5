"""What would make a score too good, or too bad, for another reason than the sound.

A model learns what tells the classes apart soonest. If they were recorded with different devices,
that is the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from audiocls.data.recordings import Recording
from audiocls.engine.level import SILENCE_DB

# Fewer recordings, of a class or of all others, prove nothing.
FEWEST = 5
# So many of a class must agree, and so many of the others must differ.
SHARE = 0.95
_LEARNT = "a model may learn this instead of the sound"

# Of a recording, what is written the same for all that one device made; and how it is shown.
_SETTINGS: tuple[tuple[str, Callable[[Recording], int | None], str], ...] = (
    ("sampling rate", lambda r: r.sample_rate, "{} Hz"),
    ("number of channels", lambda r: r.channels, "{}"),
)
_MEASURES: tuple[tuple[str, Callable[[Recording], float | None], str], ...] = (
    ("length", lambda r: r.duration_s, "{:.4g} s"),
    ("level", lambda r: r.level_db, "{:.1f} dB"),
)


def notice_shortcuts(
    recordings: Sequence[Recording], labels: Sequence[tuple[str, ...]]
) -> list[str]:
    """A notice for each property that tells classes apart without the sound.

    The properties are sampling rate, number of channels, length and level. A rate or number of
    channels does it if 95 % of the recordings have that of their class, and classes differ in it. A
    length or level does it if 95 % of all others are outside of the range of a class.

    Args:
        recordings: what the headers or the engine told of each.
        labels: of each recording.
    """
    good = [(r, own) for r, own in zip(recordings, labels, strict=True)
            if r.status != "failed" and len(own) == 1]  # fmt: skip
    found = []
    for name, value, shown in _SETTINGS:
        known = [(own[0], v) for r, own in good if (v := value(r)) is not None]
        found += _by_setting(name, known, shown)
    for name, measure, shown in _MEASURES:
        measured = [(own[0], x) for r, own in good if (x := measure(r)) is not None]
        found += _by_range(name, measured, shown)
    return found


def _by_setting(name: str, known: list[tuple[str, int]], shown: str) -> list[str]:
    counts: dict[str, Counter[int]] = {}
    for label, value in known:
        counts.setdefault(label, Counter())[value] += 1
    usual = {label: c.most_common(1)[0] for label, c in counts.items() if c.total() >= FEWEST}
    n = sum(counts[label].total() for label in usual)
    agree = sum(times for _, times in usual.values())
    values = {value for value, _ in usual.values()}
    if len(values) < 2 or agree < SHARE * n:
        return []
    classes = [
        f"{shown.format(value)}: {_some([c for c, (v, _) in usual.items() if v == value])}"
        for value in sorted(values)
    ]
    return [f"{name} alone tells classes apart ({'; '.join(classes)}): {_LEARNT}"]


def _by_range(name: str, measured: list[tuple[str, float]], shown: str) -> list[str]:
    if not measured:
        return []
    values = np.array([x for _, x in measured])
    labels = np.array([label for label, _ in measured], dtype=object)
    told = []
    for label in sorted(set(labels.tolist())):
        own, others = values[labels == label], values[labels != label]
        if min(len(own), len(others)) < FEWEST:
            continue
        # Of many, a few may be odd.
        odd = (1 - SHARE) / 2 if len(own) >= 20 else 0.0
        low, high = np.quantile(own, [odd, 1 - odd])
        if ((others < low) | (others > high)).mean() >= SHARE:
            ends = dict.fromkeys((shown.format(low), shown.format(high)))
            told.append(f"{label}: {' to '.join(ends)}")
    return [f"{name} alone tells classes apart ({_some(told)}): {_LEARNT}"] if told else []


def notice_silence(recordings: Sequence[Recording]) -> list[str]:
    """A notice for recordings without a sound, and for those whose channels cancel."""
    found = []
    quiet = [r for r in recordings if r.level_db is not None and r.level_db < SILENCE_DB]
    for mixed, what in (
        (True, "silent once their channels are mixed to mono: the channels cancel, or are empty"),
        (False, "silent"),
    ):
        paths = [r.path for r in quiet if ((r.channels or 1) > 1) == mixed]
        if paths:
            verb = "recording is" if len(paths) == 1 else "recordings are"
            example = f"{paths[0]}{', …' if len(paths) > 1 else ''}"
            found.append(f"{len(paths)} {verb} {what} ({example})")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
