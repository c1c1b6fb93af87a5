"""The data that train the model in the box, as one manifest.

It holds an orchestra's recordings, the soundfonts' notes that may train, other players, and sounds
that are no instrument of the fourteen.

    python research/orchestra/orchestra.py PHILHARMONIA SOURCES OUT.csv [--players PLAYERS] \
        [--use train|test|all] [--without SOURCE …]

PHILHARMONIA: folders of recordings, one a class, named INSTRUMENT_PITCH_… SOURCES: what
`render_sources.py` made. PLAYERS: what research/notes/sources.md says. The manifest has the
columns path, label, group (instrument and pitch, the same in all sources but the players), source,
family and split; background sounds have the label `unknown`. The split holds out whole groups and
is the same with and without the players, all of whom train: whoever wants to know how the model
does on one of them leaves the source out.

Without a source: neither its notes nor those that share samples with them, of whatever source. With
`--use all` the soundfonts that are for tests train too: for measuring what more sources bring, not
for a model that is given away.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from audiocls.classifier.answers import UNKNOWN
from audiocls.data.recordings import Recording
from audiocls.training.data.splits import PARTS, make_split
from players import players

COLUMNS = ("path", "label", "group", "source", "family", "split")
PITCH = re.compile(r"_([A-G]s?[0-9])_")
Row = dict[str, str]


def orchestra(folder: Path) -> Iterator[Row]:
    """The rows of the Philharmonia's recordings; a file without content is none."""
    for file in sorted(folder.glob("*/*.mp3")):
        if not file.stat().st_size:
            print(f"{file}: is empty, left out")
            continue
        label, pitch = file.parent.name, PITCH.search(file.name)
        group = f"{label}/{pitch[1]}" if pitch else f"{label}/{file.stem}"
        row = (str(file.resolve()), label, group, "philharmonia", "philharmonia")
        yield dict(zip(COLUMNS, row, strict=False))


def rendered(folder: Path, use: str) -> Iterator[Row]:
    """The rows of `metadata.csv` in a folder whose use it is, or all, with absolute paths."""
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if use in (row["use"], "all"):
                row["path"] = str((folder / row["file_name"]).resolve())
                yield {name: row[name] for name in COLUMNS if name != "split"}


def background(folder: Path, use: str) -> Iterator[Row]:
    """The unknown sounds. Every kind that trains does so; those for the test are other kinds."""
    for row in rendered(folder / "unknown", use):
        yield row | {"label": UNKNOWN, "source": UNKNOWN}


def split(rows: Iterable[Row], seed: int) -> list[Row]:
    """Gives each row its part in the column split.

    The parts are those that `audiocls train --group-by group` deals with this seed.
    """
    rows = list(rows)
    found = make_split(
        [Recording(i, r["path"], r["label"], r["group"], n_clips=1) for i, r in enumerate(rows)],
        group_by="group",
        seed=seed,
    )
    return [row | {"split": PARTS[found.part[row["path"]]]} for row in rows]


def training_rows(
    philharmonia: Path,
    sources: Path,
    played: Path | None = None,
    without: Iterable[str] = (),
    seed: int = 0,
) -> list[Row]:
    """The manifest of a model to give away.

    Raises:
        ValueError: an unknown source in `without`.
    """
    home = [*orchestra(philharmonia), *rendered(sources, "train"), *background(sources, "train")]
    rows = split(home, seed)
    if played is not None:
        rows += [row | {"split": "train"} for row in players(played, "train")]
    return leave_out(rows, without)


def leave_out(rows: list[Row], without: Iterable[str]) -> list[Row]:
    """The rows without some sources and their relatives.

    Raises:
        ValueError: a source that is not there.
    """
    for source in without:
        named = {row["source"] for row in rows} | {row["family"] for row in rows}
        if source not in named - {UNKNOWN}:
            raise ValueError(f"--without {source}: no source that is used")
        rows = [row for row in rows if source not in row["family"].split("+")]
    return rows


def write_manifest(out: Path, rows: Iterable[Row]) -> None:
    """As `audiocls extract` reads it."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Writes the manifest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("philharmonia", type=Path)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--players", type=Path)
    parser.add_argument("--use", choices=("train", "test", "all"), default="train")
    parser.add_argument("--without", metavar="SOURCE", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0, help="of the split [0]")
    given = parser.parse_args()
    try:
        if given.use == "train":
            rows = training_rows(
                given.philharmonia, given.sources, given.players, given.without, given.seed
            )
        else:
            # The kinds of unknown sounds that are for the test stay there.
            kinds = "test" if given.use == "test" else "train"
            rows = [*rendered(given.sources, given.use), *background(given.sources, kinds)]
            if given.players:
                rows += players(given.players, given.use)
            if given.use == "all":
                rows = split([*orchestra(given.philharmonia), *rows], given.seed)
            rows = leave_out(rows, given.without)
    except ValueError as error:
        parser.error(str(error))
    write_manifest(given.out, rows)
    print(f"{given.out}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
