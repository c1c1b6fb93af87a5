"""What a soundfont contains: its presets, and the recorded samples that each of them plays.

Reads SoundFont 2 (the specification, version 2.04, sections 5 to 8: RIFF chunks and the "hydra" of
nine tables) and the GF1 patches of the Gravis Ultrasound, as freepats has them. Only what names
samples is read; a synthesizer does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Generators that point to an instrument and to a sample, and the one that holds a range of keys.
INSTRUMENT, SAMPLE, KEY_RANGE = 41, 53, 43

PHDR = np.dtype([("name", "S20"), ("preset", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("", "V12")])
INST = np.dtype([("name", "S20"), ("bag", "<u2")])
BAG = np.dtype([("gen", "<u2"), ("mod", "<u2")])
GEN = np.dtype([("oper", "<u2"), ("amount", "<u2")])
SHDR = np.dtype(
    [("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("", "V8"), ("rate", "<u4"), ("", "V6")]
)


@dataclass(frozen=True, eq=False)
class Sample:
    """One recording in a soundfont: int16 [samples] at `rate` Hz."""

    name: str
    rate: int
    data: NDArray[np.int16]


# (bank, program) → what it plays: lowest key, highest key, sample.
Presets = dict[tuple[int, int], list[tuple[int, int, Sample]]]


def read(path: Path) -> Presets:
    """The presets of a .sf2 file, or of the patches that a TiMidity .cfg file lists.

    Drum kits are bank 128 of a .sf2 file; of a .cfg file they are left out. Raises OSError for a
    file that cannot be read and ValueError for one that is neither.
    """
    return read_patches(path) if path.suffix == ".cfg" else read_sf2(path)


def chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The RIFF chunks of `data`, one after the other."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield bytes(data[at : at + 4]), data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def read_sf2(path: Path) -> Presets:
    """See `read`."""
    data = np.memmap(path, mode="r").data
    if bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"sfbk":
        raise ValueError(f"{path} is no SoundFont 2 file")
    tables: dict[bytes, memoryview] = {}
    for name, body in chunks(data[12:]):
        if name == b"LIST" and bytes(body[:4]) != b"INFO":
            tables.update(chunks(body[4:]))
    pcm = np.frombuffer(tables[b"smpl"], "<i2")

    def table(name: bytes, row: np.dtype) -> np.ndarray:
        return np.frombuffer(tables[name], row)

    samples = [
        Sample(_text(s["name"]), int(s["rate"]), pcm[s["start"] : s["end"]])
        for s in table(b"shdr", SHDR)[:-1]
    ]

    def zones(
        owner: np.void, following: np.void, bags: np.ndarray, gens: np.ndarray, target: int
    ) -> list[tuple[int, int, int]]:
        """The zones of a preset or an instrument that point to `target`, each with its keys."""
        found, default = [], (0, 127)  # a first zone without a target holds what the others inherit
        for bag in range(owner["bag"], following["bag"]):
            here = gens[bags[bag]["gen"] : bags[bag + 1]["gen"]]
            value = dict(zip(here["oper"].tolist(), here["amount"].tolist(), strict=True))
            keys = default
            if KEY_RANGE in value:
                keys = (value[KEY_RANGE] & 255, value[KEY_RANGE] >> 8)
            if target in value:
                found.append((*keys, value[target]))
            elif bag == owner["bag"]:
                default = keys
        return found

    instruments, ibag, igen = table(b"inst", INST), table(b"ibag", BAG), table(b"igen", GEN)
    headers, pbag, pgen = table(b"phdr", PHDR), table(b"pbag", BAG), table(b"pgen", GEN)
    presets: Presets = {}
    for header, following in pairwise(headers):
        plays = presets.setdefault((int(header["bank"]), int(header["preset"])), [])
        for low, high, i in zones(header, following, pbag, pgen, INSTRUMENT):
            for lo, hi, s in zones(instruments[i], instruments[i + 1], ibag, igen, SAMPLE):
                if max(low, lo) <= min(high, hi):
                    plays.append((max(low, lo), min(high, hi), samples[s]))
    return presets


def read_patches(path: Path) -> Presets:
    """See `read`. A line `dir FOLDER` says where the patches are, `24 NAME.pat` what plays 24."""
    presets: Presets = {}
    folder, in_bank = path.parent, False
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["dir"]:
            folder = Path(words[1])
        elif words[:1] in (["bank"], ["drumset"]):
            in_bank = words == ["bank", "0"]
        elif in_bank and len(words) > 1 and re.fullmatch(r"\d+", words[0]):
            presets[0, int(words[0])] = read_pat(folder / words[1])
    return presets


def read_pat(path: Path) -> list[tuple[int, int, Sample]]:
    """A GF1 patch: after headers of 129 + 63 + 47 bytes, each sample with a header of 96."""
    data = path.read_bytes()
    if not data.startswith(b"GF1PATCH1"):
        raise ValueError(f"{path} is no GF1 patch")

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    found, at = [], 239
    for _ in range(number(198, 1)):
        size, rate = number(at + 8, 4), number(at + 20, 2)
        low, high = (round(69 + 12 * np.log2(number(at + k, 4) / 440e3)) for k in (22, 26))
        mode = data[at + 55]  # bit 0: 16 bits a sample; bit 1: unsigned
        pcm = np.frombuffer(data[at + 96 : at + 96 + size], "<u2" if mode & 1 else "u1")
        pcm = pcm if mode & 1 else pcm.astype("<u2") << 8
        pcm = (pcm ^ 0x8000 if mode & 2 else pcm).astype("<u2").view("<i2")
        found.append((low, high, Sample(_text(data[at : at + 7]), rate, pcm)))
        at += 96 + size
    return found


def _text(name: bytes) -> str:
    return bytes(name).split(b"\0")[0].decode("latin-1").strip()
