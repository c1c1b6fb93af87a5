"""What the start `ears` hears: every kind of sound there is here, each a class of its own.

    PYTHONPATH=research/orchestra python research/few/ears.py PHILHARMONIA SOURCES PLAYERS OUT.csv

writes a manifest like that of `orchestra.py`, in which other instruments, voices, noises and the
speech of each language are classes instead of `unknown`. What `few.py` asks about is left out: all
drums and cymbals, and the University of Iowa's laboratory. `make ears` trains it: `compact` by the
recipe `orchestra`, 36 epochs.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from orchestra import Row, background, orchestra, rendered, split, write_manifest
from players import players

# Asked about by `few.py`, or as good as that.
LEFT_OUT = {
    "drums",
    "drums-electronic",
    "toms",
    "taiko",
    "timpani",
    "reverse-cymbal",
    "steel-drums",
}
LABORATORY = "iowa"
LEAST = 30  # recordings of a kind


def kind(row: Row) -> str:
    """The label of a sound that is none of the fourteen: the folder it lies in."""
    return Path(row["path"]).parent.name


def rows_of(philharmonia: Path, sources: Path, played: Path) -> list[Row]:
    """The manifest: a class a kind of sound that occurs often enough, no part for testing."""
    rows = [*orchestra(philharmonia), *rendered(sources, "train")]
    # Kinds that only test the model in the box may train this one.
    for use in ("train", "test"):
        rows += [row | {"label": kind(row)} for row in background(sources, use)]
    for row in players(played, "train"):
        label = kind(row) if row["label"] == "unknown" else row["label"]
        rows.append(row | {"label": label})
    rows = [r for r in rows if r["family"] != LABORATORY and r["label"] not in LEFT_OUT]
    often = Counter(row["label"] for row in rows)
    rows = [row for row in rows if often[row["label"]] >= LEAST]
    return [r | {"split": "train" if r["split"] == "test" else r["split"]} for r in split(rows, 0)]


def main() -> None:
    """Writes the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("philharmonia", "sources", "players", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    rows = rows_of(given.philharmonia, given.sources, given.players)
    write_manifest(given.out, rows)
    print(f"{given.out}: {len(rows)} recordings of {len({r['label'] for r in rows})} kinds")


if __name__ == "__main__":
    main()
