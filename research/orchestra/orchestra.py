"""The data that the model in the box is trained on, as one manifest: an orchestra's recordings, the
soundfonts' notes that may train, and sounds that are no instrument of the fourteen.

    python research/orchestra/orchestra.py PHILHARMONIA SOURCES OUT.csv \
        [--use train|test|all] [--without SOURCE]

PHILHARMONIA: folders of recordings, one a class, named INSTRUMENT_PITCH_… SOURCES: what
`render_sources.py` made. The manifest has the columns path, label, group (instrument and pitch, the
same in all sources), source and family; background sounds have the label `unknown`. Without a
source: neither its notes nor those that share samples with them, of whatever source. With
`--use all` the soundfonts that are for tests train too: for measuring what more sources bring, not
for a model that is given away.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path

from audiocls.description import UNKNOWN

COLUMNS = ("path", "label", "group", "source", "family")
PITCH = re.compile(r"_([A-G]s?[0-9])_")


def orchestra(folder: Path) -> Iterator[dict[str, str]]:
    """The rows of the Philharmonia's recordings."""
    for file in sorted(folder.glob("*/*.mp3")):
        label, pitch = file.parent.name, PITCH.search(file.name)
        group = f"{label}/{pitch[1]}" if pitch else f"{label}/{file.stem}"
        row = (str(file.resolve()), label, group, "philharmonia", "philharmonia")
        yield dict(zip(COLUMNS, row, strict=True))


def rendered(folder: Path, use: str) -> Iterator[dict[str, str]]:
    """The rows of `metadata.csv` in a folder whose use it is, or all, with absolute paths."""
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if use in (row["use"], "all"):
                row["path"] = str((folder / row["file_name"]).resolve())
                yield {name: row[name] for name in COLUMNS}


def background(folder: Path, use: str) -> Iterator[dict[str, str]]:
    """The unknown sounds. Every kind that trains does so; those for the test are other kinds."""
    for row in rendered(folder / "unknown", use):
        yield row | {"label": UNKNOWN, "source": UNKNOWN}


def main() -> None:
    """Writes the manifest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("philharmonia", type=Path)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--use", choices=("train", "test", "all"), default="train")
    parser.add_argument("--without", metavar="SOURCE")
    given = parser.parse_args()
    # The kinds of unknown sounds that are for the test stay there.
    kinds = "test" if given.use == "test" else "train"
    rows = list(rendered(given.sources, given.use)) + list(background(given.sources, kinds))
    if given.without:
        if given.without not in {row["source"] for row in rows} - {UNKNOWN}:
            parser.error(f"--without {given.without}: no source of {given.sources} that is used")
        rows = [row for row in rows if given.without not in row["family"].split("+")]
    if given.use != "test":
        rows = list(orchestra(given.philharmonia)) + rows
    with given.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{given.out}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
