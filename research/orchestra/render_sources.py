"""Recorded notes of the orchestra's classes from soundfonts, and sounds that are none of them.

    python research/orchestra/render_sources.py OUT                # everything
    python research/orchestra/render_sources.py OUT --per-class 5  # the first of the same notes

writes OUT/SOURCE/CLASS/*.flac with OUT/metadata.csv, OUT/unknown/KIND/*.flac with
OUT/unknown/metadata.csv, and melodies, OUT/melodies/SOURCE/CLASS/*.flac with
OUT/melodies/metadata.csv, all mono, 44.1 kHz, 16 bit. `audiocls extract OUT` reads each. What real
players play comes from gcompris.py, as OUT/gcompris/CLASS/*.ogg. The same command gives the same
sounds again, and goes on where it was interrupted. What is not installed is named before anything
is rendered.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

import gcompris
import soundfont
import unknown_sounds
from recording import write_recording
from shared_samples import by_label, read_families
from sources import (
    BORROWED,
    CLASSES,
    DRUMS,
    SOURCES,
    UNKNOWN_TEST,
    UNKNOWN_TRAIN,
    Part,
    Source,
    path_of,
)  # fmt: skip

RATE = 44100
VELOCITIES = (40, 68, 96, 124)  # piano, mezzopiano, forte, fortissimo
HOLDS_S = (0.6, 1.2, 2.4)
RELEASE_S = 0.6  # what is kept after the key goes up
GAP_S = 0.4  # silence before the next note
MELODIES = 3  # a class and source
MELODY_S = 5.0
STEPS_S = (0.15, 0.2, 0.3, 0.4, 0.6)  # lengths of the notes of a melody
SILENT = 10 ** (-60 / 20)  # a note whose peak is below it is left out, and counted
PITCHES = ("C", "Cs", "D", "Ds", "E", "F", "Fs", "G", "Gs", "A", "As", "B")
COLUMNS = (
    "file_name", "label", "source", "family", "use", "group", "articulation", "pitch", "velocity",
    "hold_s", "licence",
)  # fmt: skip

Samples = NDArray[np.float64]
Rows = list[dict[str, object]]  # of a metadata.csv


@dataclass(frozen=True)
class Note:
    """A key that is pressed."""

    part: Part
    midi: int
    velocity: int
    hold_s: float

    @property
    def pitch(self) -> str:
        """As the Philharmonia's file names have it: As4 is 70."""
        return f"{PITCHES[self.midi % 12]}{self.midi // 12 - 1}"

    @property
    def length_s(self) -> float:
        return self.hold_s + RELEASE_S

    @property
    def stem(self) -> str:
        played = f"v{self.velocity:03}_{self.hold_s:.1f}s_{self.part.name}"
        return f"{self.part.label}_{self.pitch}_{played}"


def choose_notes(parts: Iterable[Part], presets: soundfont.Presets, n: int) -> list[Note]:
    """`n` different notes of a label, spread over its parts, pitches, velocities and lengths.

    Fewer where there are not so many. Only pitches for which the soundfont has a sample.
    """
    parts = [part for part in parts if presets.get(part.program)]
    notes: list[Note] = []
    for part in parts:
        keys = keys_of(part, presets)
        rng = np.random.default_rng(zlib.crc32(f"{part.label} {part.name}".encode()))
        wanted = round(n * part.share / sum(p.share for p in parts))
        # Round by round each pitch once, in a new order, with another velocity and in time length.
        rounds = len(VELOCITIES) * len(HOLDS_S)
        order = [(r, int(k)) for r in range(rounds) for k in rng.permutation(len(keys))]
        notes += [
            Note(
                part,
                keys[k],
                VELOCITIES[(k + r) % len(VELOCITIES)],
                HOLDS_S[(k + r // len(VELOCITIES)) % len(HOLDS_S)],
            )
            for r, k in order[: max(1, wanted)]
        ]
    return notes


def keys_of(part: Part, presets: soundfont.Presets) -> list[int]:
    """The notes of its range for which the soundfont has a sample."""
    zones = presets[part.program]
    return [k for k in range(part.low, part.high + 1) if any(lo <= k <= hi for lo, hi, _ in zones)]


def choose_melody(parts: list[Part], presets: soundfont.Presets, number: int) -> list[Note]:
    """`MELODY_S` seconds of one of the parts, in small steps up and down within its range."""
    part = parts[number % len(parts)]
    keys = keys_of(part, presets)
    rng = np.random.default_rng(zlib.crc32(f"{part.label} {part.name} {number}".encode()))
    notes: list[Note] = []
    at = int(rng.integers(len(keys)))
    while sum(note.hold_s for note in notes) < MELODY_S:
        velocity, hold_s = int(rng.integers(60, 121)), float(rng.choice(STEPS_S))
        notes.append(Note(part, keys[at], velocity, hold_s))
        at = int(np.clip(at + rng.integers(-5, 6), 0, len(keys) - 1))
    return notes


def midi_file(notes: Iterable[Note], *, legato: bool = False) -> tuple[bytes, list[float]]:
    """The notes one after the other as a Standard MIDI File, and when each begins, in seconds.

    Format 0, a tick is a millisecond. Before each note its bank and program are chosen, after it
    all sound is cut, so that no note rings into the next; but if `legato`, the next begins at once.
    """
    events: list[tuple[int, bytes]] = []
    starts: list[float] = []
    now = 100
    for note in notes:
        bank, program = note.part.program
        channel = 9 if bank == DRUMS else 0
        if not (legato and starts):  # a melody is of one program
            if bank != DRUMS:
                events.append((now - 20, bytes([0xB0, 0, bank])))
            events.append((now - 10, bytes([0xC0 | channel, program])))
        events.append((now, bytes([0x90 | channel, note.midi, note.velocity])))
        events.append((now + round(1000 * note.hold_s), bytes([0x80 | channel, note.midi, 0])))
        starts.append(now / 1000)
        if legato:
            now += round(1000 * note.hold_s)
        else:
            end = now + round(1000 * note.length_s)
            events.append((end + 50, bytes([0xB0 | channel, 120, 0])))
            now = end + round(1000 * GAP_S)
    events.append((now, b"\xff\x2f\x00"))
    track = b"\x00\xff\x51\x03" + (1_000_000).to_bytes(3, "big")  # a quarter note is a second
    before = 0
    for tick, message in events:
        track += _variable_length(tick - before) + message
        before = tick
    header = b"MThd" + (6).to_bytes(4, "big") + b"\0\0\0\1" + (1000).to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track, starts


def _variable_length(value: int) -> bytes:
    parts = [value & 127]
    while value := value >> 7:
        parts.append(value & 127 | 128)
    return bytes(reversed(parts))


def synthesize(source: Source, midi: bytes, folder: Path) -> Samples:
    """What the soundfont makes of a MIDI file: [samples], mono, without reverberation or chorus."""
    score, wav = folder / "notes.mid", folder / "notes.wav"
    score.write_bytes(midi)
    font = path_of(source)
    if font.suffix == ".cfg":  # GF1 patches are TiMidity's
        command = ["timidity", "-c", font, "--reverb=d", "--chorus=d", "--delay=d", f"-s{RATE}"]
        command += ["-Ow", "--output-24bit", "--output-stereo", "--preserve-silence", "-A140"]
        command += ["-o", wav, score]
    else:
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-r", RATE, "-g", "1.2"]
        command += ["-O", "float", "-T", "wav", "-F", wav, font, score]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode or not wav.exists():
        raise RuntimeError(f"{command[0]} failed on {font}: {done.stderr.strip()[-500:]}")
    return soundfile.read(wav, always_2d=True)[0].mean(axis=1)


def cut(sound: Samples, start_s: float, length_s: float) -> Samples:
    """One note, its last 20 ms faded out, made quieter if it would clip."""
    first = round(start_s * RATE)
    note = sound[first : first + round(length_s * RATE)].copy()
    fade = min(len(note), round(0.02 * RATE))
    note[len(note) - fade :] *= np.linspace(1, 0, fade)
    return note / max(1.0, float(np.abs(note).max(initial=0)) / 0.99)


def render(source: Source, notes: list[Note], paths: list[Path]) -> list[bool]:
    """Render what is not there yet. Which of the notes can be heard."""
    if not all(path.exists() for path in paths):
        midi, starts = midi_file(notes)
        with tempfile.TemporaryDirectory() as folder:
            sound = synthesize(source, midi, Path(folder))
        for note, start, path in zip(notes, starts, paths, strict=True):
            samples = cut(sound, start, note.length_s)
            if np.abs(samples).max(initial=0) >= SILENT:
                write_recording(path, samples, RATE)
    return [path.exists() for path in paths]


def write_table(path: Path, rows: Rows) -> None:
    """The metadata.csv beside the recordings that it names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def render_source(source: Source, out: Path, per_class: int) -> tuple[Rows, Rows]:
    """All notes of a soundfont: the rows of the classes, and those of the unknown kinds."""
    presets = soundfont.read(path_of(source))
    family = read_families()
    known: Rows = []
    unknown: Rows = []
    # The kinds of the test come from all soundfonts, those to learn from few: as many of each.
    for parts, use, n in (
        (CLASSES, source.use, per_class),
        (UNKNOWN_TRAIN, "train", per_class // 2),
        (UNKNOWN_TEST, "test", per_class // 4),
    ):
        if parts is UNKNOWN_TRAIN and source.use == "test":
            continue  # the model must not learn from it, and the test must not hold a learnt kind
        for label, its_parts in by_label(parts).items():
            if (source.name, label) in BORROWED:
                continue
            notes = choose_notes(its_parts, presets, max(1, n))
            if not notes:
                continue
            folder = Path(source.name, label) if parts is CLASSES else Path("unknown", label)
            prefix = "" if parts is CLASSES else f"{source.name}_"
            files = [folder / f"{prefix}{note.stem}.flac" for note in notes]
            heard = render(source, notes, [out / file for file in files])
            table_at = "" if parts is CLASSES else "unknown"
            rows = [
                {
                    "file_name": file.relative_to(table_at).as_posix(),
                    "label": label, "source": source.name, "family": family[label, source.name],
                    "use": use, "group": f"{label}/{note.pitch}", "articulation": note.part.name,
                    "pitch": note.pitch, "velocity": note.velocity, "hold_s": note.hold_s,
                    "licence": source.licence,
                }
                for file, note, is_heard in zip(files, notes, heard, strict=True) if is_heard
            ]  # fmt: skip
            (known if parts is CLASSES else unknown).extend(rows)
            silent = f", {heard.count(False)} silent and left out" if False in heard else ""
            print(f"{source.name}: {label}: {len(rows)}{silent}", flush=True)
    return known, unknown


def render_melodies(source: Source, out: Path) -> Rows:
    """The rows of its melodies, of every class that it has."""
    presets = soundfont.read(path_of(source))
    family = read_families()
    rows: Rows = []
    for label, its_parts in by_label(CLASSES).items():
        parts = [part for part in its_parts if presets.get(part.program)]
        if not parts or (source.name, label) in BORROWED:
            continue
        for number in range(MELODIES):
            notes = choose_melody(parts, presets, number)
            file = Path(source.name, label, f"{label}_melody_{number}.flac")
            if not (out / file).exists():
                midi, starts = midi_file(notes, legato=True)
                with tempfile.TemporaryDirectory() as folder:
                    sound = synthesize(source, midi, Path(folder))
                write_recording(out / file, cut(sound, starts[0], MELODY_S), RATE)
            rows.append({
                "file_name": file.as_posix(), "label": label, "source": source.name,
                "family": family[label, source.name], "use": "test",
                "group": f"{label}/melody-{number}", "articulation": notes[0].part.name,
                "licence": source.licence,
            })  # fmt: skip
    return rows


def check_installed(sources: Iterable[Source]) -> None:
    """Raises FileNotFoundError that names everything that is missing."""
    missing = []
    for program in ("fluidsynth", "timidity", "espeak-ng"):
        if shutil.which(program) is None:
            missing.append(f"apt-get install {program}")
    for source in sources:
        try:
            path_of(source)
        except FileNotFoundError as error:
            missing.append(str(error))
    if not gcompris.RESOURCE.is_file():
        missing.append(f"apt-get install {gcompris.PACKAGE}")
    if missing:
        raise FileNotFoundError("not installed: " + "; ".join(missing))


def main(arguments: list[str] | None = None) -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-class", type=int, default=60, help="notes a class and source [60]")
    names = [source.name for source in SOURCES]
    parser.add_argument("--source", action="append", choices=names, help="only these [all]")
    args = parser.parse_args(arguments)
    if args.per_class < 1:
        parser.error(f"--per-class {args.per_class} is invalid: must be >= 1")
    sources = [source for source in SOURCES if not args.source or source.name in args.source]
    try:
        check_installed(sources)
    except FileNotFoundError as error:
        sys.exit(str(error))
    known, unknown, melodies = [], [], []
    for source in sources:
        more, others = render_source(source, args.out, args.per_class)
        known += more
        unknown += others
        melodies += render_melodies(source, args.out / "melodies")
    for kind, name, samples, row in unknown_sounds.all_sounds(args.per_class):
        file = Path(kind, f"{name}.flac")
        if not (args.out / "unknown" / file).exists():
            write_recording(args.out / "unknown" / file, samples(), RATE)
        unknown.append({"file_name": file.as_posix(), "label": kind, **row})
    write_table(args.out / "metadata.csv", known)
    write_table(args.out / "unknown" / "metadata.csv", unknown)
    write_table(args.out / "melodies" / "metadata.csv", melodies)
    played = gcompris.write_recordings(args.out / "gcompris")
    print(
        f"{args.out}: {len(known)} notes, {len(melodies)} melodies, {len(unknown)} unknown sounds, "
        f"{played} recordings by other players"
    )


if __name__ == "__main__":
    main()
