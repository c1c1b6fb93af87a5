"""How many exchanged labels `audiocls doubt` finds: 3 % of the Philharmonia's, five times.

    python research/few/exchanged.py STORE OUT.csv [--share 0.03] [--draws 5]

STORE: features of the Philharmonia's recordings. In each draw the labels of so many recordings,
drawn evenly, become those of other classes; then all are judged as `audiocls doubt --model
statistics` does, a group being instrument and pitch as the file's name has them, and the list is
compared with what was exchanged.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from audiocls.files import write_csv
from audiocls.scores.confident_learning import find_label_errors, rank_by_doubt
from audiocls.store.store import open_store
from audiocls.training.data.splits import make_split
from audiocls.training.held_out import (
    compute_recording_statistics,
    predict_by_statistics,
    predict_held_out,
)

GROUPS = r"([^/]+)/[^/]+?_([A-G]s?[0-9])_"
COLUMNS = ("draw", "exchanged", "doubted", "found", "in_twice_as_many", "accuracy")


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.03)
    parser.add_argument("--draws", type=int, default=5)
    given = parser.parse_args()
    store = open_store(given.store)
    rows, table = compute_recording_statistics(store), []
    for draw in range(given.draws):
        rng = np.random.default_rng(draw)
        usable = [r for r in store.recordings if r.n_clips]
        chosen = rng.permutation(len(usable))[: round(given.share * len(usable))]
        exchanged = {}
        for i in chosen:
            others = [name for name in store.classes if name != usable[i].label]
            exchanged[usable[i].path] = others[rng.integers(len(others))]
        recordings = [replace(r, label=exchanged.get(r.path, r.label)) for r in usable]
        splits = [
            make_split(recordings, group_by=GROUPS, fold=f"{k}/5", seed=draw) for k in range(1, 6)
        ]
        ask = partial(predict_by_statistics, rows, store, seed=draw)
        paths, p = predict_held_out(splits, lambda _, split, ask=ask: ask(split))
        labels = np.array([store.classes.index(splits[0].label[path]) for path in paths])
        doubted = {paths[i] for i in find_label_errors(labels, p)}
        n = len(exchanged)
        accuracy = float((p.argmax(axis=1) == labels).mean())
        first = {paths[i] for i in rank_by_doubt(labels, p)[: 2 * n]}
        hits = [len(exchanged.keys() & own) for own in (doubted, first)]
        table.append((draw, n, len(doubted), *hits, f"{accuracy:.4f}"))
        print(dict(zip(COLUMNS, table[-1], strict=True)), flush=True)
        write_csv(given.out, COLUMNS, table)


if __name__ == "__main__":
    main()
