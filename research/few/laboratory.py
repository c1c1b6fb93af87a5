"""A task that the model in the box half knows: nine instruments of a laboratory it has never heard.

    python research/few/laboratory.py PLAYERS OUT

copies the recordings of the University of Iowa among those of other players (PLAYERS has their
metadata.csv) to OUT, without the unknown ones. `group` is the note of an instrument.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
from pathlib import Path

from audiocls.files import write_csv


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("players", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    rows = []
    with (given.players / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["source"] != "iowa" or row["label"] == "unknown":
                continue
            source, name = given.players / row["file_name"], Path(row["file_name"]).name
            note = re.search(r"-(\d+)", name)
            if note is None:
                raise ValueError(f"{name}: names no note")
            target = given.out / row["label"] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            rows.append((f"{row['label']}/{name}", row["label"], f"{row['label']} {note[1]}"))
    write_csv(given.out / "metadata.csv", ("file_name", "label", "group"), rows)
    print(f"{given.out}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
