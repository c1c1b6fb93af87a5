"""The study, done: its architectures × mel and mfcc, as it trained them, and as `modern` does.

`make study` writes the tables to research/notes/results.md after every finished run, and goes on
where it was stopped, in the middle of a run too. Whole pitches of an instrument are held out. One
clip a recording trains, in every cell alike, for all clips would keep a CPU busy for days.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path

import torch

from ablation import GROUPS, write
from audiocls.compare.differences import describe_differences
from audiocls.compare.grid import compare
from audiocls.compare.ranking import Spread
from audiocls.training import Recipe
from audiocls.training.run import Result

MODELS = ("cnn", "newcnn", "resnet", "lstm", "lstm-large", "crnn")
# From the cheapest to the dearest, every cell once before any has three seeds: a table that is
# broken off says something of many.
ROUNDS = (
    (("mel", "mfcc"), ("lstm", "crnn"), 1),
    (("mfcc",), ("lstm", "crnn", "lstm-large", "resnet"), 1),
    (("mel", "mfcc"), ("lstm", "crnn", "resnet"), 1),
    (("mel", "mfcc"), ("lstm", "lstm-large", "crnn", "resnet"), 1),
    (("mfcc",), ("lstm", "crnn", "lstm-large", "cnn", "resnet", "newcnn"), 1),
    (("mel",), ("cnn", "resnet"), 1),
    (("mel", "mfcc"), MODELS, 1),
    (("mel", "mfcc"), ("lstm", "lstm-large", "crnn"), 3),
    (("mfcc",), ("cnn", "resnet", "newcnn"), 3),
    (("mel",), ("resnet",), 3),
)
SCORES = {
    "balanced, clips": lambda r: r.test["balanced_accuracy"],
    "accuracy, clips": lambda r: r.test["accuracy"],
    "balanced, recordings": lambda r: r.test_recording["balanced_accuracy"],
    "accuracy, recordings": lambda r: r.test_recording["accuracy"],
}


def table(cells: Path) -> str:
    """Mean ± deviation over the seeds that are finished, of every cell that has one."""
    head = ["features", "model", "seeds", *SCORES, "training, s"]
    lines = [head, ["---", "---"] + ["---:"] * (len(head) - 2)]
    missing = []
    for feature in ("mel", "mfcc"):
        for model in MODELS:
            runs = [Result.read(cells / f"{feature}-{model}-{seed}") for seed in range(3)]
            done = [run for run in runs if run]
            if not done:
                missing.append(f"`{model}` on `{feature}`")
                continue
            row = [f"`{feature}`", f"`{model}`", str(len(done))]
            for score in SCORES.values():
                row.append(f"{Spread.of([100 * score(run) for run in done]):.1f}")
            lines.append([*row, f"{statistics.mean(run.training_s for run in done):.0f}"])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return text + (f"\n\nNot run yet: {', '.join(missing)}." if missing else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, default=Path("features"), metavar="FOLDER",
                        help="where the stores mel and mfcc are")  # fmt: skip
    parser.add_argument("--recipe", choices=("study", "modern"), default="study")
    parser.add_argument("--out", type=Path, help="by default runs/RECIPE")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = options.out or Path("runs") / options.recipe
    recipe = Recipe.preset(options.recipe, epochs=50, clips_per_recording=1)

    said: dict[frozenset[tuple[str, str]], str] = {}  # the cells of a round → its answers

    def tell(*_: object) -> None:
        text = "\n\n".join([table(out / "cells"), *said.values()])
        write(f"{options.recipe}-table", text)

    for features, models, seeds in ROUNDS:
        done = compare(
            [options.features / name for name in features], models, seeds=seeds, recipe=recipe,
            group_by=GROUPS, device="cpu", out=out, tell=tell,
        )  # fmt: skip
        # Of a round's cells, on the same recordings: a paired test by groups. What a later round
        # says of more, or with more seeds, takes the place of what an earlier one said.
        sentences = [text for _, text in describe_differences(done.rankings[0], done.differences)]
        cells = frozenset(itertools.product(features, models))
        said = {other: text for other, text in said.items() if not other <= cells}
        said[cells] = f"{', '.join(features)} × {', '.join(models)}: {'. '.join(sentences)}."
        tell()


if __name__ == "__main__":
    main()
