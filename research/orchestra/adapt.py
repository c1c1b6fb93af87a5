"""The model in the box, trained further with all players: the second of its two trainings.

    python research/orchestra/adapt.py STORE MODEL OUT [--without SOURCE …] [--steps 18000]

STORE: the samples of a manifest of `orchestra.py` with the players. MODEL: what the first training
gave, which has heard no player. OUT is a model folder whose weights are half of each training's
(`blend`); OUT/state.pt goes on where it was stopped.
Clips are drawn and augmented as `audiocls train --recipe orchestra --source family` does it. In the
loss logits are adjusted by how often a class occurs among the players or apart from them
(`log_priors`), which is why this is no `audiocls train`.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from audiocls.classifier.graph import write_graph
from audiocls.classifier.model import Model
from audiocls.engine.augmentation import MOST_FOLLOWING
from audiocls.store.computed import ComputedStore
from audiocls.training.data.feature_augmentation import FeatureAugmentation
from audiocls.training.data.features import open_features
from audiocls.training.data.sampling import Sampler
from audiocls.training.fitting.schedule import learning_rate
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.randomness import Purpose, make_generator
from players import sources

ROUND = 250  # steps for which clips are drawn at once, and after which the state is kept
STATE = "state.pt"
SHARE = 0.5  # of the second training in the weights


def log_priors(label: Tensor, domain: Tensor, sampler: Sampler, n_classes: int) -> Tensor:
    """Logarithms of how often each class is drawn in each domain, [2, n_classes]; -inf for never.

    Added to the logits in the loss (Menon et al. 2021, "Long-tail learning via logit adjustment",
    arXiv:2007.07314), so that a clip that sounds like other players is not taken for one of the
    classes of which there are other players: there is no mandolin and no cor anglais of them.
    """
    drawn = torch.zeros(2, n_classes, dtype=torch.float64)
    drawn.index_put_((domain, label), sampler.shares(), accumulate=True)
    return (drawn / drawn.sum(dim=1, keepdim=True)).log().float()


def adjusted_loss(logits: Tensor, label: Tensor, prior: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits + prior; smoothing is over the classes that the domain has."""
    logp = log_softmax(logits + prior, dim=1)
    there = prior.isfinite()
    spread = logp.masked_fill(~there, 0).sum(dim=1) / there.sum(dim=1)
    right = logp.gather(1, label[:, None])[:, 0]
    return -((1 - smoothing) * right + smoothing * spread).mean()


class Clips:
    """The clips of the training part of a store that are left, augmented as they are drawn."""

    def __init__(
        self, store: ComputedStore, recipe: Recipe, without: Sequence[str], seed: int
    ) -> None:
        part = np.array([r.split == "train" for r in store.recordings])
        family = np.array([str(r.extra["family"]) for r in store.recordings])
        heard = np.array([not {*without} & {*name.split("+")} for name in family])
        recording = np.asarray(store.clip_recording)
        self.clips = np.flatnonzero((part & heard)[recording])
        self.store, self.seed = store, seed
        self.label = torch.from_numpy(np.asarray(store.labels)[self.clips].astype(np.int64))
        source = family[recording[self.clips]]
        self.domain = torch.from_numpy(np.isin(source, list(sources())).astype(np.int64))
        _, number = np.unique(source, return_inverse=True)
        self.sampler = Sampler(
            self.label, recipe.sampler, seed, torch.from_numpy(number), recipe.source_temperature
        )
        self.augmenter = store.augmenter(recipe.waveform, seed)

    def draw(self, n: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Numbers of clips, [n], and of what may follow each in a phrase, [n, k]."""
        order = self.sampler.draw(n, epoch)
        return order, self.sampler.draw_alike(order, MOST_FOLLOWING, epoch)

    def batch(self, ids: Tensor, following: Tensor, epoch: int, first: int) -> Tensor:
        """Features of augmented clips; `first` is the number of the first draw in the epoch."""
        draws = np.arange(first, first + len(ids))
        x = self.augmenter.batch(
            self.store,
            self.clips[ids.numpy()],
            epoch,
            draws=draws,
            following=self.clips[following.numpy()],
        )
        return torch.from_numpy(x)


def adapt(
    store: ComputedStore,
    start: Model,
    recipe: Recipe,
    steps: int,
    without: Sequence[str] = (),
    seed: int = 0,
    state: Path | None = None,
) -> Model:
    """Trains a classifier that begins as `start`, by the recipe, on what is left.

    Its weights are the average over the steps. The same seed gives the same weights. `state` is the
    file that keeps it every `ROUND` steps, to go on with.
    """
    if list(store.classes) != start.classes_:
        raise SystemExit(f"{store.path} has other classes than the model: {start.classes_}")
    classifier, average = copy.deepcopy(start).train(), copy.deepcopy(start).eval()
    clips = Clips(store, recipe, without, seed)
    prior = log_priors(clips.label, clips.domain, clips.sampler, len(start.classes_))
    optimizer = torch.optim.AdamW(
        classifier.parameters(), recipe.lr, weight_decay=recipe.weight_decay
    )
    kept: tuple[Any, ...] = (classifier, average, optimizer)
    step = 0
    if state is not None and state.exists():
        step, *documents = torch.load(state, weights_only=True)
        for owner, document in zip(kept, documents, strict=True):
            owner.load_state_dict(document)
    size = recipe.batch_size
    while step < steps:
        epoch = step // ROUND + 1
        n = min(ROUND, steps - step)
        order, following = clips.draw(n * size, epoch)
        augmentation = FeatureAugmentation(
            recipe,
            store.spec,
            make_generator(seed, epoch, Purpose.AUGMENTATION),
            Device.pick("cpu"),
            stored=False,
        )  # fmt: skip
        sum_of_losses = 0.0
        for first in range(0, n * size, size):
            ids = order[first : first + size]
            x = clips.batch(ids, following[first : first + size], epoch, first)
            x = augmentation.batch(x, None, augmentation.draw(size), classifier)
            adjust = prior[clips.domain[ids]]
            loss = adjusted_loss(classifier(x), clips.label[ids], adjust, recipe.label_smoothing)
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
            follow(average.network, classifier.network, min(recipe.ema, (1 + step) / (10 + step)))
            sum_of_losses += loss.item()
        print(f"step {step} of {steps}: loss {sum_of_losses / n:.3f}", flush=True)
        if state is not None:
            state.parent.mkdir(parents=True, exist_ok=True)
            partial = state.with_suffix(".partial")
            torch.save([step, *(owner.state_dict() for owner in kept)], partial)
            partial.rename(state)
    return average


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the average towards the weights, as training does."""
    theirs = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)
        else:
            value.copy_(theirs[name])


@torch.no_grad()
def blend(start: Model, made: Model, share: float) -> Model:
    """Weights between two trainings, `share` of the later one.

    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903: half of each
    keeps what the first knows of sounds that the second was not trained on.
    """
    blended, theirs = copy.deepcopy(start), made.state_dict()
    for name, value in blended.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], share)
    return blended.eval()


def save(classifier: Model, out: Path) -> None:
    """Writes a model folder with its graph."""
    classifier.save(out)
    write_graph(out)


def recipe_of(lr: float, source_temperature: float) -> Recipe:
    """That of the second training."""
    return Recipe.preset("orchestra", lr=lr, source_temperature=source_temperature)


def open_samples(path: Path) -> ComputedStore:
    """The store, as features of the model in the box."""
    store = open_features(path, Recipe.preset("orchestra"), "mel-16k")
    if not isinstance(store, ComputedStore):
        raise SystemExit(f"{path} holds no samples; extract them with `--feature samples`")
    return store


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--without", metavar="SOURCE", action="append", default=[])
    parser.add_argument("--steps", type=int, default=18000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--source-temperature", type=float, default=0.5)
    parser.add_argument("--share", type=float, default=SHARE, help="of this training [0.5]")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = recipe_of(given.lr, given.source_temperature)
    start = Model.load(given.model)
    state = given.out / STATE
    made = adapt(
        open_samples(given.store), start, recipe, given.steps, given.without, given.seed, state
    )
    save(blend(start, made, given.share), given.out)


if __name__ == "__main__":
    main()
