"""What few recordings are worth: from nothing, with a linear head, fine-tuned, and the floor.

    python research/few/few.py STORES OUT.csv [--draws 5] [--sizes 5,10,20,50] [--tasks A,B]

STORES holds the feature stores `digits` (research/orchestra/spoken_digits.py --takes 12), `drums`
(drums.py) and `laboratory` (laboratory.py), each made by `audiocls extract … --feature mel-16k`.
Writes a row a task, number of recordings a class, draw and way of learning, as it goes; called
again, it goes on.

Each draw leaves out another voice, soundfont or third of the notes, and tests on it. Of the
recordings a class that are drawn from the rest, 15 % validate, at least one. `table.py` makes the
table of the documents.
"""

from __future__ import annotations

import argparse
import copy
import csv
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiocls.data.recordings import Recording
from audiocls.scores.metrics import score_single_label, softmax
from audiocls.store.store import Store, open_store
from audiocls.training import Device, Recipe, Start
from audiocls.training.data.examples import Examples, split_examples
from audiocls.training.data.splits import TEST, TRAIN, VAL, Split
from audiocls.training.fitting.epoch import train_epoch, validate_epoch
from audiocls.training.fitting.evaluation import compute_logits, judge_clips, judge_recordings
from audiocls.training.fitting.linear import fit_head, fit_regression, start_from_head
from audiocls.training.held_out import compute_recording_statistics
from audiocls.training.loop import make_trial, new_state
from audiocls.training.runtime.interrupt import CtrlC
from audiocls.training.runtime.subnormals import flush_subnormals
from audiocls.training.trial import LINEAR

COLUMNS = ("task", "k", "draw", "way", "balanced_accuracy", "n_test", "epochs", "seconds")
# Task → the column of what is left out; "group" a third of the groups.
TASKS = {"digits": "voice", "laboratory": "group", "drums": "source"}
WAYS = ("floor", "linear", "nothing", "finetune")
VALIDATES = 0.15


def of_task(task: str, store: Store) -> dict[str, list[Recording]]:
    """The recordings of a task by what is left out together: voice, soundfont, or note."""
    parts: dict[str, list[Recording]] = {}
    for r in store.recordings:
        if r.n_clips == 0:
            continue
        key = r.group if task == "laboratory" else str(r.extra[TASKS[task]])
        parts.setdefault(key, []).append(r)
    return parts


def tested(task: str, names: list[str], draw: int) -> set[str]:
    """What a draw leaves out."""
    if task == "laboratory":
        third = np.random.default_rng(draw).permutation(len(names))[: len(names) // 3]
        return {names[i] for i in third}
    return {names[draw % len(names)]}


def few_of(task: str, store: Store, k: int, draw: int) -> Split | None:
    """Draws k recordings a class of those that are not tested; None if a class has fewer.

    A smaller draw is part of a larger one.
    """
    parts = of_task(task, store)
    test = tested(task, sorted(parts), draw)
    part = {r.path: TEST for name in test for r in parts[name]}
    rest = sorted((r for n in parts if n not in test for r in parts[n]), key=lambda r: r.path)
    label = {r.path: r.label for rows in parts.values() for r in rows}
    for name in sorted({r.label for r in rest}):
        own = [r.path for r in rest if r.label == name]
        if len(own) < k:
            return None
        rng = np.random.default_rng([draw, zlib.crc32(name.encode())])
        drawn = [own[i] for i in rng.permutation(len(own))[:k]]
        n = max(1, round(VALIDATES * k))
        # Every part of the order validates a share, so that smaller draws are in larger ones.
        step = k / n
        chosen = {int(i * step) for i in range(n)}
        part |= {path: VAL if i in chosen else TRAIN for i, path in enumerate(drawn)}
    return Split(part, {path: path for path in part}, {p: label[p] for p in part})


@flush_subnormals()
def trained(
    store: Store, split: Split, model: str | None, start: Start | None, recipe: Recipe, seed: int
) -> tuple[float, int]:
    """Balanced accuracy by recording on the test part, and epochs.

    The model is the one that validation chose: as `audiocls train`, without its files.
    """
    device = Device.pick("cpu", recipe.precision)
    trial = make_trial(model, recipe, start, seed, None, None)
    parts: dict[int, Examples] = split_examples(store, split, trial, device)
    state = new_state(trial, store, parts[TRAIN], device, start)
    if trial.recipe.fit_head:
        start_from_head(trial, state, parts[TRAIN], parts[VAL], device)
    best = copy.deepcopy(state.eval_model)
    with CtrlC() as ctrl_c:
        while not state.is_over(trial.recipe):
            if trial.model == LINEAR:
                row = fit_head(trial, state, parts[TRAIN], parts[VAL], device)
            else:
                row = train_epoch(trial, state, parts[TRAIN], device, None, ctrl_c)
            if state.finish_epoch(row | validate_epoch(state, parts[VAL], device)):
                best = copy.deepcopy(state.eval_model)
    clips = judge_clips(compute_logits(best, parts[TEST], device), parts[TEST], split, best)
    recordings = judge_recordings(clips, parts[TEST], best)
    scores = score_single_label(recordings.probabilities, recordings.labels, store.classes)
    return scores["balanced_accuracy"], state.epoch


def floor(rows: NDArray[np.float64], store: Store, split: Split) -> float:
    """Logistic regression on mean and deviation of every feature."""
    x, y = {}, {}
    for p in (TRAIN, VAL, TEST):
        own = [r for r in store.recordings if split.part.get(r.path) == p]
        x[p] = rows[[r.id for r in own]]
        y[p] = np.array([store.classes.index(r.label) for r in own])
    found = fit_regression(x[TRAIN], y[TRAIN], np.ones(len(y[TRAIN])), x[VAL], y[VAL])
    said = softmax(x[TEST] @ found.weight.T + found.bias)
    score: float = score_single_label(said, y[TEST], store.classes)["balanced_accuracy"]
    return score


def cells(given: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """What is to be done, the quick things first."""
    start = Start.load(given.init)
    stores: dict[str, Store] = {}
    rows: dict[str, NDArray[np.float64]] = {}
    for draw in range(given.draws):
        for k in map(int, given.sizes.split(",")):
            for task in given.tasks.split(","):
                if task not in stores:
                    stores[task] = open_store(given.stores / task)
                    rows[task] = compute_recording_statistics(stores[task])
                split = few_of(task, stores[task], k, draw)
                for way in given.ways.split(","):
                    if split is None or (task, str(k), str(draw), way) in done:
                        continue
                    store, begun = stores[task], time.perf_counter()
                    epochs = 0
                    if way == "floor":
                        score = floor(rows[task], store, split)
                    elif way == "nothing":
                        recipe = Recipe()
                        score, epochs = trained(store, split, "compact", None, recipe, draw)
                    else:
                        model = LINEAR if way == "linear" else None
                        recipe = Recipe.preset("finetune", **given.recipe)
                        score, epochs = trained(store, split, model, start, recipe, draw)
                    yield {
                        "task": task, "k": k, "draw": draw, "way": way,
                        "balanced_accuracy": round(score, 6),
                        "n_test": sum(p == TEST for p in split.part.values()),
                        "epochs": epochs, "seconds": round(time.perf_counter() - begun, 2),
                    }  # fmt: skip


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--sizes", default="5,10,20,50")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--init", default="orchestra")
    parser.add_argument("--set", nargs="*", default=[], help="fields of the recipe `finetune`")
    given = parser.parse_args()
    given.recipe = {}
    for pair in given.set:
        key, _, value = pair.partition("=")
        given.recipe[key] = type(getattr(Recipe(), key))(float(value))
    torch.set_num_threads(1)
    done: set[tuple[str, ...]] = set()
    if given.out.exists():
        with given.out.open() as file:
            done = {tuple(row[c] for c in COLUMNS[:4]) for row in csv.DictReader(file)}
    else:
        given.out.write_text(",".join(COLUMNS) + "\n")
    for row in cells(given, done):
        with given.out.open("a") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
