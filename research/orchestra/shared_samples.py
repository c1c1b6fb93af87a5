"""Which soundfonts share recordings? Writes `families.csv`, and prints a table source × source.

    python research/orchestra/shared_samples.py

Two soundfonts of one origin are one source: what a model learns from one of them it knows in the
other. For every instrument, each sample that one soundfont plays in the instrument's range is
compared with each that another plays: the cross-correlation of their beginnings, by phase transform
(Knapp & Carter 1976, "The Generalized Correlation Method for Estimation of Time Delay"). It is near
1 for a copy, also at another level, and about 0.3 at most for two recordings of one note, however
alike they sound. The samples are compared as they are stored and, against copies at
another rate, at one rate.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

import soundfont
from sources import (
    CLASSES,
    DRUMS,
    SOURCES,
    UNKNOWN_TEST,
    UNKNOWN_TRAIN,
    UNUSED,
    Part,
    path_of,
)  # fmt: skip

FAMILIES = Path(__file__).with_name("families.csv")
LONGEST, SHORTEST = 16384, 1024  # samples that are compared: 0.74 s and 0.05 s at 22,050 Hz
TRUSTED = 4096  # shorter ones count for less
RATE = 22050
COPY = 0.35  # in the gap between the two: see the figures in research/notes/sources.md

Samples = NDArray[np.float32]


def likeness(a: Samples, b: Samples) -> float:
    """The highest value of the phase-transformed cross-correlation, in 0.005–0.2 of the rate.

    From 1 for a copy (0.5 at 1,024 samples) down to chance, at most 0.3.
    """
    n = min(len(a), len(b), LONGEST)
    size = 2 * n
    window = np.hanning(n)  # a sharp end would leak the same phases into all bins
    cross = np.fft.rfft(window * a[:n], size) * np.fft.rfft(window * b[:n], size).conj()
    cross[: round(0.005 * size)] = 0
    cross[round(0.2 * size) :] = 0
    cross /= np.maximum(np.abs(cross), 1e-9 * np.abs(cross).max() + 1e-30)
    bins = round(0.2 * size) - round(0.005 * size)
    peak = np.abs(np.fft.irfft(cross, size)).max() * size / (2 * bins)
    # Few bins agree by chance, and that falls with the root of their number.
    return float(peak * min(1.0, (n / TRUSTED) ** 0.5))


def heads(parts: Iterable[Part], presets: soundfont.Presets) -> list[tuple[Samples, Samples]]:
    """Of each sample that `parts` play: its beginning as stored, and at `RATE`."""
    samples = {
        id(sample.data): sample
        for part in parts
        for low, high, sample in presets.get(part.program, [])
        if low <= part.high and high >= part.low and len(sample.data) >= SHORTEST
    }
    found = []
    for sample in samples.values():
        stored = sample.data[: 2 * LONGEST].astype(np.float32)
        common = np.gcd(RATE, round(sample.rate, -1))
        found.append(
            (stored, resample_poly(stored, RATE // common, round(sample.rate, -1) // common))
        )
    return found


def copies(a: list[tuple[Samples, Samples]], b: list[tuple[Samples, Samples]]) -> float:
    """The largest likeness between samples of `a` and of `b`; 0 where there is none."""
    pairs = ((x, y) for one in a for other in b for x, y in zip(one, other, strict=True))
    return max((likeness(x, y) for x, y in pairs if min(len(x), len(y)) >= SHORTEST), default=0.0)


def borrowed(presets: soundfont.Presets) -> dict[str, set[str]]:
    """Label → the other labels whose samples it plays in this soundfont, note for note."""
    plays: dict[int, set[str]] = {}
    for part in (*CLASSES, *UNKNOWN_TRAIN, *UNKNOWN_TEST, *UNUSED):
        if part.program[0] != DRUMS:
            for low, high, sample in presets.get(part.program, []):
                if low <= part.high and high >= part.low:
                    plays.setdefault(sample.data.ctypes.data, set()).add(part.label)
    found: dict[str, set[str]] = {}
    for labels in plays.values():
        for label in labels if len(labels) > 1 else ():
            found[label] = found.get(label, set()) | labels - {label}
    return found


def by_label(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """The parts of each label, in order."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.label, []).append(part)
    return found


def families(names: Iterable[str], shared: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name → all that are linked with it, directly or not, in order and joined by "+"."""
    family = {name: {name} for name in names}
    for a, b in shared:
        joined = family[a] | family[b]
        for name in joined:
            family[name] = joined
    return {name: "+".join(sorted(members)) for name, members in family.items()}


def read_families() -> dict[tuple[str, str], str]:
    """Label and source → its family, from the table that `main` wrote."""
    with FAMILIES.open(newline="") as file:
        return {(row["label"], row["source"]): row["family"] for row in csv.DictReader(file)}


def main() -> None:
    """Compare all soundfonts, instrument by instrument."""
    presets = {source.name: soundfont.read(path_of(source)) for source in SOURCES}
    rows = []
    likenesses: dict[tuple[str, str, str], float] = {}
    for label, parts in by_label((*CLASSES, *UNKNOWN_TRAIN, *UNKNOWN_TEST)).items():
        plays = {
            name: heads(parts, presets[name])
            for name in presets
            if any(presets[name].get(part.program) for part in parts)
        }
        found = {(a, b): copies(plays[a], plays[b]) for a, b in combinations(plays, 2)}
        likenesses |= {(label, *pair): value for pair, value in found.items()}
        family = families(plays, (pair for pair, value in found.items() if value > COPY))
        rows += [(label, name, family[name]) for name in plays]
        print(label, *sorted(set(family.values())), flush=True)
    with FAMILIES.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("label", "source", "family"), *rows])

    for name in presets:
        for label, others in borrowed(presets[name]).items():
            print(f"{name}: {label} shares samples with {', '.join(sorted(others))}")
    print("\n| |" + "".join(f" {name} |" for name in presets))
    print("|---|" + "---:|" * len(presets))
    classes = {part.label for part in CLASSES}
    for a in presets:
        cells = []
        for b in presets:
            both = [
                v
                for (label, *pair), v in likenesses.items()
                if {a, b} == {*pair} and label in classes
            ]
            cells.append(f"{sum(v > COPY for v in both)}/{len(both)}" if a != b else "")
        print(f"| {a} | " + " | ".join(cells) + " |")
    print("\nlikeness, by tenths:", *np.histogram([*likenesses.values()], np.arange(12) / 10)[0])
    for pair, value in sorted(likenesses.items(), key=lambda item: item[1]):
        if COPY / 1.25 < value < COPY * 1.25:
            print("near the threshold:", f"{value:.2f}", *pair)


if __name__ == "__main__":
    main()
