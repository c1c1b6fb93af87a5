"""The scripts that make sources: notes, MIDI, cutting, soundfonts, families, unknown sounds.

No soundfont is needed: what reads one is tested on a small one that is made here.
"""

from __future__ import annotations

import csv
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

import gcompris
import render_sources
import shared_samples
import soundfont
import sources
import unknown_sounds
from audiocls.data.listing import list_recordings
from render_sources import COLUMNS, RATE, Note, choose_notes, cut, midi_file
from sources import CLASSES, SOURCES, UNKNOWN_TEST, UNKNOWN_TRAIN, Part

FLUTE = Part("flute", "normal", (0, 73), 60, 96)
EVERYWHERE = [(0, 127, soundfont.Sample("", RATE, np.zeros(9, "<i2")))]


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def sf2(samples: dict[str, np.ndarray], presets: dict[tuple[int, int], list[tuple]]) -> bytes:
    """A SoundFont: (bank, program) → zones (low, high, name of a sample)."""
    smpl, shdr = b"", b""
    for name, data in samples.items():
        start = len(smpl) // 2
        smpl += data.astype("<i2").tobytes() + bytes(92)  # 46 zeros, as the specification wants
        shdr += struct.pack(
            "<20s5IBbHH", name.encode(), start, start + len(data), 0, 0, 22050, 60, 0, 0, 1
        )
    shdr += struct.pack("<20s5IBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    phdr = inst = pbag = pgen = ibag = igen = b""
    for i, ((bank, program), zones) in enumerate(presets.items()):
        phdr += struct.pack("<20s3H12x", b"preset", program, bank, i)
        pbag += struct.pack("<HH", len(pgen) // 4, 0)
        pgen += struct.pack("<HH", 41, i)
        inst += struct.pack("<20sH", b"instrument", len(ibag) // 4)
        for low, high, name in zones:
            ibag += struct.pack("<HH", len(igen) // 4, 0)
            igen += struct.pack("<HBB", 43, low, high)
            igen += struct.pack("<HH", 53, list(samples).index(name))
    phdr += struct.pack("<20s3H12x", b"EOP", 0, 0, len(presets))
    inst += struct.pack("<20sH", b"EOI", len(ibag) // 4)
    pbag += struct.pack("<HH", len(pgen) // 4, 0)
    ibag += struct.pack("<HH", len(igen) // 4, 0)
    hydra = [b"phdr", phdr, b"pbag", pbag, b"pmod", b"", b"pgen", pgen + bytes(4), b"inst", inst]
    hydra += [b"ibag", ibag, b"imod", b"", b"igen", igen + bytes(4), b"shdr", shdr]
    pdta = b"".join(chunk(n, b) for n, b in zip(hydra[::2], hydra[1::2], strict=True))
    lists = (b"INFO" + chunk(b"INAM", b"odd"), b"sdta" + chunk(b"smpl", smpl), b"pdta" + pdta)
    return chunk(b"RIFF", b"sfbk" + b"".join(chunk(b"LIST", body) for body in lists))


def test_a_soundfont_is_read(tmp_path: Path) -> None:
    low, high = np.arange(100), -np.arange(51)
    written = {(0, 5): [(0, 59, "low"), (60, 127, "high")], (8, 1): [(3, 4, "high")]}
    (tmp_path / "a.sf2").write_bytes(sf2({"low": low, "high": high}, written))
    presets = soundfont.read(tmp_path / "a.sf2")
    found = {key: [(a, b, s.name) for a, b, s in zones] for key, zones in presets.items()}
    assert found == written
    for (_, _, sample), data in zip(presets[0, 5], (low, high), strict=True):
        assert sample.rate == 22050
        np.testing.assert_array_equal(sample.data, data)
    with pytest.raises(ValueError, match="is no SoundFont 2 file"):
        soundfont.read(Path(__file__))


@pytest.mark.parametrize(("mode", "dtype"), [(1, "<i2"), (3, "<u2"), (0, "i1"), (2, "u1")])
def test_patches_are_read_from_the_config_that_lists_them(
    tmp_path: Path, mode: int, dtype: str
) -> None:
    wave = np.array([0, 100, -128, 127])
    offset = 128 if dtype == "u1" else 32768 if dtype == "<u2" else 0
    scale = 1 if dtype[-1] == "1" else 256
    pcm = (wave * scale + offset).astype(dtype).tobytes()
    head = bytearray(239)
    head[:12] = b"GF1PATCH110\0"
    head[198] = 1
    sample = bytearray(96)
    sample[:4] = b"tone"
    sample[8:12] = len(pcm).to_bytes(4, "little")
    sample[20:22] = (44100).to_bytes(2, "little")
    sample[22:26], sample[26:30] = (n.to_bytes(4, "little") for n in (261_626, 880_000))
    sample[55] = mode
    (tmp_path / "x.pat").write_bytes(head + sample + pcm)
    config = tmp_path / "some.cfg"
    config.write_text(
        f"dir {tmp_path}\ndrumset 0\n 25 none.pat\nbank 0\n\n 24\tx.pat amp=100 # a guitar\n"
    )
    presets = soundfont.read(config)
    assert list(presets) == [(0, 24)]
    ((low, high, found),) = presets[0, 24]
    assert (low, high, found.name, found.rate) == (60, 81, "tone", 44100)
    np.testing.assert_array_equal(found.data, 256 * wave)


def test_notes_differ_spread_and_stay_in_the_range() -> None:
    notes = choose_notes([FLUTE], {FLUTE.program: EVERYWHERE}, 100)
    assert len({note.stem for note in notes}) == 100
    assert {note.midi for note in notes} == set(range(60, 97))
    assert {note.velocity for note in notes} == set(render_sources.VELOCITIES)
    assert {note.hold_s for note in notes} == set(render_sources.HOLDS_S)
    assert notes[:10] == choose_notes([FLUTE], {FLUTE.program: EVERYWHERE}, 10), "not a prefix"
    some = [(60, 62, EVERYWHERE[0][2]), (80, 80, EVERYWHERE[0][2])]
    few = choose_notes([FLUTE], {FLUTE.program: some}, 1000)
    assert {note.midi for note in few} == {60, 61, 62, 80}
    assert len(few) == len({note.stem for note in few}) == 4 * 4 * 3
    assert choose_notes([FLUTE], {}, 10) == []


def test_parts_share_the_notes_of_a_label() -> None:
    bass = [part for part in CLASSES if part.label == "double-bass"]
    notes = choose_notes(bass, {part.program: EVERYWHERE for part in bass}, 60)
    assert [sum(n.part.name == name for n in notes) for name in ("arco", "pizzicato")] == [40, 20]


def test_pitches_are_named_as_in_the_philharmonia() -> None:
    names = {21: "A0", 59: "B3", 60: "C4", 61: "Cs4", 69: "A4", 70: "As4"}
    assert {m: Note(FLUTE, m, 40, 0.6).pitch for m in names} == names
    assert Note(FLUTE, 70, 40, 0.6).stem == "flute_As4_v040_0.6s_normal"


def parse(data: bytes) -> list[tuple[int, bytes]]:
    """The events of a format 0 file and when they come, in ticks, by the rules of the standard."""
    assert data[:4] == b"MThd"
    assert struct.unpack(">IHHH", data[4:14]) == (6, 0, 1, 1000)
    assert data[14:18] == b"MTrk"
    assert struct.unpack(">I", data[18:22]) == (len(data) - 22,)
    at, now, events = 22, 0, []
    while at < len(data):
        delta = 0
        while True:
            delta = delta << 7 | data[at] & 127
            at += 1
            if not data[at - 1] & 128:
                break
        now += delta
        size = 2 if data[at] & 0xF0 == 0xC0 else 3
        if data[at] == 0xFF:
            size += data[at + 2]
        events.append((now, data[at : at + size]))
        at += size
    assert at == len(data)
    return events


def test_the_midi_file_says_what_is_played_when() -> None:
    drums = Part("drums", "standard", (sources.DRUMS, 25), 35, 59)
    mandolin = Part("mandolin", "normal", (16, 25), 55, 88)
    notes = [Note(mandolin, 55, 40, 0.6), Note(drums, 36, 124, 2.4)]
    midi, starts = midi_file(notes)
    events = parse(midi)
    assert events[0] == (0, b"\xff\x51\x03\x0f\x42\x40")  # a quarter is 1 s, a tick 1 ms
    assert events[-1][1] == b"\xff\x2f\x00"
    played = [(t, e) for t, e in events if e[0] & 0xF0 in (0x80, 0x90)]
    gap_s = render_sources.RELEASE_S + render_sources.GAP_S
    assert starts == pytest.approx([0.1, 0.1 + 0.6 + gap_s])
    first, second = (round(1000 * start) for start in starts)
    assert played == [
        (first, b"\x90\x37\x28"), (first + 600, b"\x80\x37\x00"),
        (second, b"\x99\x24\x7c"), (second + 2400, b"\x89\x24\x00"),
    ]  # fmt: skip
    before = [e for t, e in events if t < first]
    assert b"\xb0\x00\x10" in before, "no bank"
    assert b"\xc0\x19" in before, "no program"
    assert [t for t, _ in events] == sorted(t for t, _ in events)
    cuts = [t for t, e in events if e[:2] == b"\xb0\x78" or e[:2] == b"\xb9\x78"]
    assert first + 1200 <= cuts[0] < second <= cuts[1], "a note rings into the next"


def test_a_melody_goes_on_without_a_pause() -> None:
    steel = Part("guitar", "steel", (0, 25), 40, 83)
    nylon = Part("guitar", "nylon", (0, 24), 40, 83)
    presets = {(0, 24): EVERYWHERE, (0, 25): [(50, 60, EVERYWHERE[0][2])]}
    melody = render_sources.choose_melody([nylon, steel], presets, 1)
    assert melody == render_sources.choose_melody([nylon, steel], presets, 1)
    assert melody != render_sources.choose_melody([nylon, steel], presets, 3)
    assert {note.part for note in melody} == {steel}
    assert all(50 <= note.midi <= 60 for note in melody), "keys that it has samples for"
    steps = np.diff([note.midi for note in melody])
    assert np.abs(steps).max() <= 5
    assert 5 <= sum(note.hold_s for note in melody) < 5.7

    midi, starts = midi_file(melody, legato=True)
    events = parse(midi)
    played = [(t, e[0] >> 4, e[1]) for t, e in events if e[0] & 0xF0 in (0x80, 0x90)]
    at, expected = 100, []
    for note in melody:
        expected += [(at, 9, note.midi), (at + round(1000 * note.hold_s), 8, note.midi)]
        at += round(1000 * note.hold_s)
    assert played == expected
    assert starts[0] == 0.1
    assert [e for _, e in events if e[0] == 0xC0] == [b"\xc0\x19"]


def test_cutting_takes_the_note_and_fades_it_out() -> None:
    t = np.arange(3 * RATE) / RATE
    sound = np.where((t >= 1) & (t < 2), 0.5, 0.0)
    note = cut(sound, 1.0, 1.0)
    assert len(note) == RATE
    assert np.all(note[: round(0.98 * RATE)] == 0.5)
    assert note[-1] == 0
    assert np.abs(cut(8 * sound, 1.0, 1.0)).max() == pytest.approx(0.99)
    assert np.all(sound[RATE : 2 * RATE] == 0.5), "the sound was changed"


def test_recordings_and_their_table_are_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sine(source: sources.Source, midi: bytes, folder: Path) -> np.ndarray:
        calls.append(midi)
        heard = np.zeros(40 * RATE)
        for tick, event in parse(midi):
            if event[0] & 0xF0 == 0x90:
                k = np.arange(RATE) + tick * RATE // 1000
                hz = 440 * 2 ** ((event[1] - 69) / 12)
                heard[k] = event[2] / 127 * np.sin(2 * np.pi * hz * k / RATE)
        return heard

    calls: list[bytes] = []
    font = tmp_path / "font.sf2"
    font.write_bytes(
        sf2({"a": np.ones(2000)}, {(0, 73): [(0, 127, "a")], (0, 74): [(0, 127, "a")]})
    )
    source = sources.Source("fluid", "none", str(font), "MIT", "train")
    monkeypatch.setattr(render_sources, "synthesize", sine)
    out = tmp_path / "out"
    known, unknown = render_sources.render_source(source, out, per_class=8)
    render_sources.write_table(out / "metadata.csv", known)
    render_sources.write_table(out / "unknown" / "metadata.csv", unknown)

    flutes = list_recordings(out)
    assert len(flutes.recordings) == 8
    with (out / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == list(COLUMNS)
    for row in rows:
        assert row["group"] == f"flute/{row['pitch']}"
        assert row["family"] == "fluid+musescore"
        assert row["use"] == "train"
        y, rate = soundfile.read(out / row["file_name"])
        info = soundfile.info(out / row["file_name"])
        assert (rate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        hz = np.abs(np.fft.rfft(y[:RATE])).argmax()
        midi = round(69 + 12 * np.log2(hz / 440))
        assert row["pitch"] == f"{render_sources.PITCHES[midi % 12]}{midi // 12 - 1}"
        assert np.abs(y).max() == pytest.approx(int(row["velocity"]) / 127, abs=0.01)
    assert {(row["label"], row["use"]) for row in unknown} == {("recorder", "test")}
    assert all((out / "unknown" / row["file_name"]).is_file() for row in unknown)

    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")}
    done = len(calls)
    assert render_sources.render_source(source, out, per_class=8) == (known, unknown)
    assert len(calls) == done, "rendered again what was there"
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")} == before


def test_what_is_missing_is_named_and_nothing_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = sources.Source("fluid", "some-soundfont", "/nowhere/a.sf2", "MIT", "train")
    nothing = sources.Source("merlin", "pip:no-such-package", "a/b.sf2", "?", "test")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(render_sources, "SOURCES", (nowhere, nothing))
    monkeypatch.setattr(gcompris, "RESOURCE", tmp_path / "no.rcc")
    with pytest.raises(SystemExit) as error:
        render_sources.main([str(tmp_path / "out")])
    message = str(error.value)
    for package in ("fluidsynth", "timidity", "espeak-ng", "some-soundfont", "gcompris-qt-data"):
        assert f"apt-get install {package}" in message
    assert "pip install --no-deps no-such-package" in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def rcc(contents: dict[str, bytes], version: int, packed: int = 1) -> bytes:
    """A binary resource of Qt: the files in one folder, "sounds", every second one compressed.
    packed: the flag that says so: 1 zlib, 4 zstd (for which zlib stands here).
    """
    names, data, nodes = b"", b"", []

    def named(name: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        return at

    date = struct.pack(">Q", 0) if version > 1 else b""
    nodes.append(struct.pack(">IHII", 0, 2, 1, 1) + date)
    nodes.append(struct.pack(">IHII", named("sounds"), 2, len(contents), 2) + date)
    for i, (name, body) in enumerate(contents.items()):
        stored = struct.pack(">I", len(body)) + zlib.compress(body) if i % 2 else body
        nodes.append(struct.pack(">IHHHI", named(name), i % 2 * packed, 0, 0, len(data)) + date)
        data += struct.pack(">I", len(stored)) + stored
    tree = b"".join(nodes)
    offsets = 20, 20 + len(tree), 20 + len(tree) + len(data)
    return b"qres" + struct.pack(">IIII", version, *offsets) + tree + data + names


@pytest.mark.parametrize("version", [1, 2])
def test_melodies_are_taken_out_of_a_resource(tmp_path: Path, version: int) -> None:
    contents = {"horn.ogg": b"a horn", "violin.ogg": b"a violin", "horn.svg": b"a picture"}
    file = tmp_path / "instruments.rcc"
    file.write_bytes(rcc(contents, version))
    assert gcompris.write_recordings(tmp_path / "out", file) == 2
    written = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes()
               for p in (tmp_path / "out").rglob("*.*")}  # fmt: skip
    assert written == {"french-horn/horn.ogg": b"a horn", "unknown/violin.ogg": b"a violin"}
    assert set(gcompris.CLASSES.values()) <= {part.label for part in CLASSES}
    file.write_bytes(rcc(contents, version, packed=4))
    with pytest.raises(ValueError, match=r"/sounds/violin\.ogg is compressed by zstd"):
        gcompris.write_recordings(tmp_path / "out", file)
    file.write_bytes(rcc({"horn.ogg": b"a horn", "horn.svg": b"a picture"}, version, packed=4))
    assert gcompris.write_recordings(tmp_path / "out", file) == 1, "the picture is not read"
    file.write_bytes(b"RIFF" + bytes(40))
    with pytest.raises(ValueError, match="no binary resource of Qt"):
        gcompris.write_recordings(tmp_path / "out", file)
    with pytest.raises(FileNotFoundError, match="apt-get install gcompris-qt-data"):
        gcompris.write_recordings(tmp_path / "out", tmp_path / "absent.rcc")


def test_the_tables_agree() -> None:
    kinds = {**unknown_sounds.NOISES, **unknown_sounds.SPEECH}
    train = {part.label for part in UNKNOWN_TRAIN} | {k for k in kinds if kinds[k][0] == "train"}
    test = {part.label for part in UNKNOWN_TEST} | {k for k in kinds if kinds[k][0] == "test"}
    assert not train & test
    assert not (train | test) & {part.label for part in CLASSES}
    with shared_samples.FAMILIES.open() as file:
        families = [(row["label"], row["source"], row["family"]) for row in csv.DictReader(file)]
    members: dict[tuple[str, str], set[str]] = {}
    for label, source, family in families:
        assert source in family.split("+")
        members.setdefault((label, family), set()).add(source)
    for (_, family), found in members.items():
        assert found == set(family.split("+"))
    assert {label for label, _, _ in families} == {
        part.label for part in (*CLASSES, *UNKNOWN_TRAIN, *UNKNOWN_TEST)
    }
    assert {source.use for source in SOURCES} == {"train", "test"}
    for source, label in sources.BORROWED:
        assert (label, source) in {(a, b) for a, b, _ in families}


def test_a_copy_is_told_from_another_recording_of_the_same_note() -> None:
    def note(seed: int, n: int) -> np.ndarray:
        """Six harmonics with drawn phases and levels, a vibrato, and breath 20 dB below."""
        rng = np.random.default_rng(seed)
        t = np.arange(n) / 22050
        bend = 0.3 * np.sin(2 * np.pi * (5 * t + rng.random()))
        y = sum(
            rng.random() * np.sin(2 * np.pi * k * (440 * t + bend + rng.random()))
            for k in range(1, 7)
        )
        return y + 0.1 * rng.standard_normal(n)

    for n in (1200, 2500, 9000, 20000):
        a = note(1, n + 300)
        quieter = np.round(a[40:n] * 900 + np.random.default_rng(9).uniform(-1, 1, n - 40))
        assert shared_samples.likeness(a, quieter) > shared_samples.COPY
        others = [shared_samples.likeness(a[:n], note(seed, n)) for seed in range(2, 12)]
        assert max(others) < shared_samples.COPY


def test_families_join_what_is_linked() -> None:
    found = shared_samples.families("abcde", [("a", "c"), ("d", "c")])
    assert found == {"a": "a+c+d", "b": "b", "c": "a+c+d", "d": "a+c+d", "e": "e"}


def slope_db(y: np.ndarray) -> float:
    """Change of the power density from octave to octave, 125 Hz to 8 kHz, by a straight line."""
    power = np.abs(np.fft.rfft(y)) ** 2
    hz = np.fft.rfftfreq(len(y), 1 / RATE)
    edges = 125 * 2.0 ** np.arange(7)
    octaves = [power[(hz >= lo) & (hz < 2 * lo)].mean() for lo in edges[:-1]]
    return float(np.polyfit(np.arange(6), 10 * np.log10(octaves), 1)[0])


def test_noises_have_their_colour_and_level() -> None:
    for colour in (0, -3, -6):
        y = unknown_sounds.noise(colour, -30, np.random.default_rng(0))
        assert slope_db(y) == pytest.approx(colour, abs=0.3)
        assert 10 * np.log10(np.mean(y**2)) == pytest.approx(-30)
    y = unknown_sounds.hum(50, -20, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(y)) ** 2  # half a hertz a bin
    harmonics = sum(power[100 * k - 8 : 100 * k + 9].sum() for k in range(1, 32))
    assert harmonics / power.sum() > 0.99
    quiet = np.round(32768 * unknown_sounds.dither(np.random.default_rng(0)))
    assert set(quiet) == {-1, 0, 1}


def test_unknown_sounds_are_the_same_every_time_and_never_clip() -> None:
    def computed() -> dict[str, np.ndarray]:
        sounds = unknown_sounds.all_sounds(2)
        return {name: make() for _, name, make, row in sounds if row["source"] == "computed"}

    first, second = computed(), computed()
    assert len(first) == 2 * len(unknown_sounds.NOISES)
    for name, y in first.items():
        np.testing.assert_array_equal(y, second[name])
        assert 0 < np.abs(y).max() <= 0.99
    sounds = unknown_sounds.all_sounds(60)
    spoken = [(kind, name) for kind, name, _, row in sounds if row["source"] == "espeak-ng"]
    assert len(spoken) == len(set(spoken)) == 60 * len(unknown_sounds.SPEECH)
