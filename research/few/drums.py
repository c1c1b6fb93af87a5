"""A task far from notes: ten drums and cymbals of the kits of five soundfonts.

    PYTHONPATH=research/orchestra python research/few/drums.py OUT

writes OUT/SOURCE/CLASS/*.flac with OUT/metadata.csv, whose `source` is the soundfont and `group`
the drum of one kit: its strokes differ in how hard they are. Leave one soundfont out to see how
a model does on drums that it has not heard. Needs fluidsynth and the soundfonts of
docs/sources.md.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from pathlib import Path

import numpy as np

import soundfont
from audiocls.files import write_csv
from recording import write_recording
from render_sources import RATE, SILENT, Note, cut, midi_file, synthesize
from sources import DRUMS, SOURCES, Part, path_of

# Keys of General MIDI's drum map.
CLASSES = {
    "kick": (35, 36),
    "snare": (38, 40),
    "hihat-closed": (42, 44),
    "hihat-open": (46,),
    "crash": (49, 57),
    "ride": (51, 59),
    "tom-low": (41, 43, 45),
    "tom-high": (47, 48, 50),
    "clap": (39,),
    "cowbell": (56,),
}
KITS = (0, 8, 16, 24, 25, 32, 40, 48)
FONTS = ("fluid", "timgm", "csound", "airfont", "generaluser")
VELOCITIES = (50, 75, 100, 125)
HOLD_S = 0.4


def strokes(presets: soundfont.Presets, per_class: int, seed: str) -> list[Note]:
    """Up to `per_class` strokes of every class, of different kits first."""
    chosen = []
    for label, keys in CLASSES.items():
        parts = [
            Part(label, f"kit{kit}-{key}", (DRUMS, kit), key, key)
            for kit in KITS
            for key in keys
            if any(lo <= key <= hi for lo, hi, _ in presets.get((DRUMS, kit), ()))
        ]
        rng = np.random.default_rng(zlib.crc32(f"{seed} {label}".encode()))
        order = [(v, p) for v in range(len(VELOCITIES)) for p in rng.permutation(len(parts))]
        chosen += [
            Note(parts[p], parts[p].low, VELOCITIES[(v + p) % len(VELOCITIES)], HOLD_S)
            for v, p in order[:per_class]
        ]
    return chosen


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-class", type=int, default=18, help="of each soundfont")
    given = parser.parse_args()
    rows = []
    for source in (source for source in SOURCES if source.name in FONTS):
        notes = strokes(soundfont.read(path_of(source)), given.per_class, source.name)
        midi, starts = midi_file(notes)
        with tempfile.TemporaryDirectory() as folder:
            sound = synthesize(source, midi, Path(folder))
        for note, start in zip(notes, starts, strict=True):
            samples = cut(sound, start, note.length_s)
            if np.abs(samples).max(initial=0) < SILENT:
                continue
            label, name = note.part.label, note.part.name
            file = Path(source.name, label, f"{label}_{name}_v{note.velocity:03}.flac")
            write_recording(given.out / file, samples, RATE)
            rows.append((file.as_posix(), label, source.name, f"{source.name}/{label}/{name}"))
    write_csv(given.out / "metadata.csv", ("file_name", "label", "source", "group"), rows)
    print(f"{given.out}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
