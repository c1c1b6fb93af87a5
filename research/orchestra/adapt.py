"""The later layers of the model in the box, trained on all players: the second of its two trainings.

    python research/orchestra/adapt.py POOL MODEL OUT [--without SOURCE …] [--steps 4000]

POOL: what `pool.py` made with MODEL. OUT is a model folder: MODEL with another last stage and head,
both averaged over the steps. Without sources: neither their clips train, nor anything tells of them.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from audiocls.training.fit.schedule import learning_rate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from audiocls.classifier.graph import write_graph
from audiocls.classifier.model import Classifier
from audiocls.models.compact import Compact
from audiocls.models.layers.padding import time_mean
from audiocls.training.data.sampling import Sampler
from audiocls.training.recipe import Recipe
from pool import KEPT, Pool, compact_of

ROUND = 500  # steps for which clips are drawn at once


class Late(nn.Module):
    """The last stage of `compact` and its head: maps → logits."""

    def __init__(self, network: Compact) -> None:
        super().__init__()
        stages = list(network.stages.children())
        self.stage, self.head, self.turned = stages[KEPT], network.classifier, network.turned
        if len(stages) != KEPT + 1:
            raise SystemExit(f"{len(stages)} stages: {KEPT + 1} are expected")

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.stage(maps)
        pooled = time_mean(maps.transpose(2, 3) if self.turned else maps, None)
        logits: Tensor = self.head(torch.cat([pooled.mean(dim=2), pooled.amax(dim=2)], dim=1))
        return logits


def adapt(
    pool: Pool,
    classifier: Classifier,
    recipe: Recipe,
    steps: int,
    without: Sequence[str] = (),
    seed: int = 0,
) -> Classifier:
    """A copy of the classifier with later layers trained by the recipe's rate, batch size, decay,
    averaging and temperature of sources. The same seed gives the same weights."""
    classifier = copy.deepcopy(classifier)
    torch.manual_seed(seed)
    heard = np.array([not {*without} & {*name.split("+")} for name in pool.source])
    clips = np.flatnonzero(heard)
    _, number = np.unique(pool.source[clips], return_inverse=True)
    label = torch.from_numpy(pool.label)
    sampler = Sampler(
        label[clips], recipe.sampler, seed, torch.from_numpy(number),
        source_temperature=recipe.source_temperature,
    )  # fmt: skip
    late = Late(compact_of(classifier))
    average = copy.deepcopy(late).eval()
    optimizer = torch.optim.AdamW(late.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    late.train()
    losses = 0.0
    for step in range(steps):
        if step % ROUND == 0:
            n = min(ROUND, steps - step) * recipe.batch_size
            order = torch.from_numpy(clips)[sampler.draw(n, step)].split(recipe.batch_size)
            print(f"step {step}: loss {losses / ROUND:.3f}", flush=True)
            losses = 0.0
        ids = order[step % ROUND]
        maps = torch.from_numpy(pool.maps[ids.numpy()]).float()
        loss = cross_entropy(late(maps), label[ids], label_smoothing=recipe.label_smoothing)
        optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, steps)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        follow(average, late, min(recipe.ema, (1 + step) / (10 + step)))
        losses += loss.item()
    late.load_state_dict(average.state_dict())
    return classifier.eval()


@torch.no_grad()
def follow(average: nn.Module, late: nn.Module, decay: float) -> None:
    """Moves the average towards the weights, as training does."""
    theirs = late.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])


def save(classifier: Classifier, out: Path, threshold: float | None = None) -> None:
    """Writes a model folder with its graph; the threshold is that of the description where none is
    given."""
    if threshold is not None:
        classifier.description = replace(classifier.description, threshold=threshold)
    classifier.save(out)
    write_graph(out)


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--without", metavar="SOURCE", action="append", default=[])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--source-temperature", type=float, default=0.5)
    given = parser.parse_args()
    recipe = Recipe.preset(
        "orchestra", batch_size=128, lr=given.lr, source_temperature=given.source_temperature
    )
    start = Classifier.load(given.model)
    made = adapt(Pool.read(given.pool), start, recipe, given.steps, given.without, given.seed)
    save(made, given.out)


if __name__ == "__main__":
    main()
