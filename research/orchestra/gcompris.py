"""Instruments as other people play and record them: the sounds of an activity of GCompris.

Debian's gcompris-qt-data holds 26 recordings of 4 to 12 s, by Sylvain Dechy, Jérome
Blanchard, Julie Jules and Chloé Tuvuku: melodies, chords and rolls, of eight of the orchestra's
classes and of 18 that are none of the 14. They are a test, and never train:
research/notes/sources.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from audiocls.classifier.answers import UNKNOWN

PACKAGE = "gcompris-qt-data"
RESOURCE = Path("/usr/share/gcompris-qt/rcc/instruments.rcc")
# What is one of the classes, by its name there.
CLASSES = {
    "banjo": "banjo",
    "cello": "cello",
    "clarinet": "clarinet",
    "flute_traversiere": "flute",
    "guitar": "guitar",
    "horn": "french-horn",
    "saxophone": "saxophone",
    "trombone": "trombone",
}
_COMPRESSED, _FOLDER, _ZSTD = 1, 2, 4


def write_recordings(out: Path, resource: Path = RESOURCE) -> int:
    """Writes them to OUT/CLASS/NAME.ogg, the others to OUT/unknown/; how many there are.

    Raises FileNotFoundError that names the package, ValueError for another kind of file or of
    compression.
    """
    if not resource.is_file():
        raise FileNotFoundError(f"no {resource}: apt-get install {PACKAGE}")
    n = 0
    for name, data in files(resource.read_bytes(), ".ogg"):
        path = out / CLASSES.get(Path(name).stem, UNKNOWN) / Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        n += 1
    return n


def files(resource: bytes, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yields paths and contents of the named files in a binary resource of Qt.

    `rcc --binary` writes such a file: a header, a tree with numbered nodes, names in UTF-16, data.
    All
    is big-endian, at offsets that the header has.
    """
    magic, version, tree, data_at, names_at = struct.unpack_from(">4s4I", resource)
    if magic != b"qres":
        raise ValueError("it is no binary resource of Qt")
    node_size = 14 if version < 2 else 22  # later with the time of the last change

    def walk(node: int, above: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_size
        name_at, flags = struct.unpack_from(">IH", resource, at)
        path = above
        if node:  # the root has no name
            (length,) = struct.unpack_from(">H", resource, names_at + name_at)
            start = names_at + name_at + 6
            path += "/" + resource[start : start + 2 * length].decode("utf-16-be")
        if flags & _FOLDER:
            n, first = struct.unpack_from(">II", resource, at + 6)
            for child in range(first, first + n):
                yield from walk(child, path)
            return
        if not path.endswith(suffix):
            return
        (place,) = struct.unpack_from(">I", resource, at + 10)
        (size,) = struct.unpack_from(">I", resource, data_at + place)
        start = data_at + place + 4
        data = resource[start : start + size]
        if flags & _COMPRESSED:
            data = zlib.decompress(data[4:])  # after the length that it had
        elif flags & _ZSTD:
            raise ValueError(f"{path} is compressed by zstd, which is not read here")
        yield path, data

    return walk(0, "")
