"""Which store should `audiocls train DATA` make by default, features or samples?

Of samples, every epoch draws new, augmented windows. Five tasks, each on what no training heard.

    python research/study/default_store.py MADE PHILHARMONIA PLAYERS SOURCES [--epochs 60]

MADE holds `digits` (research/orchestra/spoken_digits.py MADE/digits --takes 12) and `drums`
(research/few/drums.py MADE/drums --per-class 10); SOURCES is what
research/orchestra/render_sources.py rendered. The other tasks are drawn from these into MADE.
Appends a row a training to research/results/default_store.csv; called again, it goes on. Seconds
are of the processor.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from audiocls import training
from audiocls.files import write_csv
from audiocls.training.prepare import KINDS, prepare_store

RESULTS = Path(__file__).parents[1] / "results" / "default_store.csv"
COLUMNS = (
    "task", "store", "seed", "epochs", "balanced_recordings", "balanced_clips", "n_test",
    "chosen_epoch", "seconds",
)  # fmt: skip
# What is left out: the column that groups, and how many parts the groups fall into; seed K leaves
# out part K. None: one group.
TASKS: dict[str, tuple[str, int | None]] = {
    "digits": ("voice", None),
    "drums": ("source", None),
    "programs": ("source", 4),
    "players": ("source", 3),
    "notes": ("group", 6),
}
# Instruments that at least two players play, and programs of General MIDI that are none of the
# instruments of `notes`.
PLAYED = ("banjo", "bassoon", "cello", "double-bass", "guitar", "saxophone")
PROGRAMS = (
    "accordion", "celesta", "church-organ", "electric-bass", "harp", "harpsichord", "koto",
    "kalimba", "piano", "steel-drums", "trumpet", "violin",
)  # fmt: skip
# At most so many recordings of every class and source.
MOST = {"notes": 20, "players": 20, "programs": 7}

Row = tuple[Path, str, str, str]  # file, label, source, group


def notes(philharmonia: Path) -> Iterator[Row]:
    """Single notes of one orchestra; the group is a pitch of an instrument."""
    for file in sorted(philharmonia.glob("*/*.mp3")):
        pitch = file.stem.split("_")[1]
        if file.stat().st_size and "phrase" not in file.stem:
            yield file, file.parent.name, "", f"{file.parent.name} {pitch}"


def listed(folder: Path, labels: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a metadata.csv that have one of the labels."""
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["label"] in labels:
                yield folder / row["file_name"], row["label"], row["source"], ""


def draw(rows: list[Row], out: Path, most: int) -> None:
    """Copies at most so many recordings of every class and source, with their table."""
    parts = defaultdict(list)
    for row in rows:
        parts[row[1:3]].append(row)
    table = []
    for own in parts.values():
        for i in np.random.default_rng(0).permutation(len(own))[:most]:
            file, label, source, group = own[i]
            name = f"{label}/{source}{'-' if source else ''}{file.name}"
            (out / label).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / name)
            table.append((name, label, source, group))
    write_csv(out / "metadata.csv", ("file_name", "label", "source", "group"), table)


def trained(made: Path, task: str, kind: str, seed: int, epochs: int) -> dict[str, object]:
    """A row of the results: what `audiocls train DATA` does, without an early end."""
    column, folds = TASKS[task]
    started = time.process_time()
    store = prepare_store(made / task, kind, root=made / "features")
    result = training.train(
        store,
        "best",
        made / "runs" / f"{task}-{kind}-{seed}-{epochs}",
        feature="mel" if kind == "samples" else None,
        epochs=epochs,
        patience=0,
        group_by=column,
        fold=f"{seed + 1}/{folds or 'logo'}",
        seed=seed,
        device="cpu",
        restart=True,
    )
    whole = result["test_recording"]
    return {
        "task": task,
        "store": kind,
        "seed": seed,
        "epochs": epochs,
        "balanced_recordings": round(whole["balanced_accuracy"], 4),
        "balanced_clips": round(result["test"]["balanced_accuracy"], 4),
        "n_test": whole["n"],
        "chosen_epoch": result["chosen"]["epoch"],
        "seconds": round(time.process_time() - started),
    }


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("made", "philharmonia", "players", "sources"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", default=",".join(TASKS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    drawn: dict[str, Callable[[], Iterator[Row]]] = {
        "notes": lambda: notes(given.philharmonia),
        "players": lambda: listed(given.players, PLAYED),
        "programs": lambda: listed(given.sources / "unknown", PROGRAMS),
    }
    for task, rows in drawn.items():
        if not (given.made / task / "metadata.csv").exists():
            draw(list(rows()), given.made / task, MOST[task])
    done = set()
    if RESULTS.exists():
        with RESULTS.open(encoding="utf-8") as file:
            done = {tuple(row[c] for c in COLUMNS[:4]) for row in csv.DictReader(file)}
    else:
        RESULTS.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for seed in range(given.seeds):
        for task in given.tasks.split(","):
            for kind in KINDS:
                if (task, kind, str(seed), str(given.epochs)) in done:
                    continue
                row = trained(given.made, task, kind, seed, given.epochs)
                with RESULTS.open("a", encoding="utf-8") as file:
                    csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
                print(row, flush=True)


if __name__ == "__main__":
    main()
