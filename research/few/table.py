"""The page of the documents on few recordings, from what few.py and exchanged.py measured.

    python research/few/table.py research/few/measured.csv research/few/exchanged.csv \
        > docs/evidence/few.md

A cell is mean ± deviation over the draws that were measured, their number in brackets.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

WAYS = {
    "floor": "mean and deviation",
    "nothing": "from nothing",
    "linear": "linear head",
    "finetune": "fine-tuned",
}
DRAWS = 5
SIZES = (5, 10, 20, 50)
HEAD = """# Few recordings, measured

Balanced accuracy by recording, in per cent, on recordings that no draw trains on, by the number of
recordings of each class that train. The model to begin with is `ears`, which heard none of these.

- **digits**: ten spoken digits, six synthetic voices; each draw leaves out one voice.
- **laboratory**: nine instruments of the University of Iowa; each draw leaves out a third of the
  notes. It has too few recordings for 50, and most draws for 20.
- **drums**: ten drums and cymbals of five soundfonts; each draw leaves out one soundfont.

15 % of these recordings validate, at least one. `mean and deviation` is a logistic regression on
mean and deviation of every feature; `from nothing` is `compact` by the recipe `modern`;
`linear head` is `train --model linear --init ears`; `fine-tuned` is `train --init ears`. Mean ±
deviation over five draws, fewer if a cell says so.
"""


def main() -> None:
    """Prints the page."""
    found: defaultdict[tuple[str, int, str], list[float]] = defaultdict(list)
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            score = 100 * float(row["balanced_accuracy"])
            found[row["task"], int(row["k"]), row["way"]].append(score)
    tasks = ("digits", "laboratory", "drums")
    print(HEAD)
    print("| task | recordings a class | " + " | ".join(WAYS.values()) + " |")
    print("|---|---:|" + "---:|" * len(WAYS))
    for task in tasks:
        for k in SIZES:
            cells = [shown(found[task, k, way]) for way in WAYS]
            if any(found[task, k, way] for way in WAYS):
                print(f"| {task} | {k} | " + " | ".join(cells) + " |")
    with Path(sys.argv[2]).open(encoding="utf-8") as file:
        draws = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    print("\n## Wrong labels\n")
    for d in draws:
        print(
            f"{d['exchanged']:.0f} labels of the Philharmonia (3 %) were exchanged."
            f" {d['in_twice_as_many']:.0f} of these are in the first rows of `audiocls doubt`,"
            " twice as many."
        )


def shown(scores: list[float]) -> str:
    """A cell of the table."""
    if not scores:
        return "–"
    deviation = f" ± {stdev(scores):.1f}" if len(scores) > 1 else ""
    few = f" ({len(scores)})" if len(scores) < DRAWS else ""
    return f"{fmean(scores):.1f}{deviation}{few}"


if __name__ == "__main__":
    main()
