"""Augmented clips as the early layers of a model see them: made once, so that many trainings of the
later layers cost a quarter of trainings of the whole network.

    python research/orchestra/pool.py STORE MODEL OUT [--copies 2] [--copies-of-players 8]

STORE: the samples of a manifest of `orchestra.py` with the players. MODEL: a `compact` that has
heard none of them. OUT gets maps.npy and clips.npz. Every copy of a clip is augmented anew, as
`audiocls train --recipe orchestra` does it. One pool serves every fold: its early layers have heard
no player, and a fold takes the clips of its sources alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocls.classifier.model import Classifier
from audiocls.engine.augmentation import MOST_FOLLOWING
from audiocls.models.compact import Compact
from audiocls.models.layers.padding import picture
from audiocls.store.computed import ComputedStore
from audiocls.training.data.feature_augmentation import augment, draw
from audiocls.training.data.features import open_features
from audiocls.training.data.sampling import Sampler
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.randomness import Purpose, generator
from players import sources

KEPT = 2  # stages of `compact` that stay as they are
BATCH = 256
MAPS, CLIPS = "maps.npy", "clips.npz"


@dataclass(frozen=True)
class Pool:
    """Clips as the early layers see them."""

    maps: NDArray[np.float16]  # [n, channels, height, width], on disk
    label: NDArray[np.int64]  # [n], in the order of the model's classes
    source: NDArray[np.str_]  # [n], the family that it is of

    @classmethod
    def read(cls, folder: Path) -> Pool:
        """What `make` wrote."""
        with np.load(folder / CLIPS, allow_pickle=False) as arrays:
            return cls(np.load(folder / MAPS, mmap_mode="r"), arrays["label"], arrays["source"])


def compact_of(classifier: Classifier) -> Compact:
    """Its network."""
    network = classifier.network
    if not isinstance(network, Compact):
        raise SystemExit(f"{classifier.description.architecture}: the pool is for `compact`")
    return network


@torch.no_grad()
def early(classifier: Classifier, x: Tensor) -> Tensor:
    """Features [batch, frames, features] → maps before the last stage."""
    network = compact_of(classifier)
    maps = picture(classifier.normalise(x), None)
    maps = network.stem(maps.transpose(2, 3) if network.turned else maps)
    for stage in list(network.stages.children())[:KEPT]:
        for block in stage.children():
            maps = block(maps)
    return maps


def make(store: ComputedStore, classifier: Classifier, out: Path, copies: dict[bool, int]) -> None:
    """Writes the pool of a store's training part. copies: of players, and of others."""
    recipe = Recipe.preset("orchestra")
    part = np.array([r.split == "train" for r in store.recordings])
    family = np.array([str(r.extra["family"]) for r in store.recordings])
    recording = np.asarray(store.clip_recording)
    clips = np.flatnonzero(part[recording])
    label = np.asarray(store.labels)[clips].astype(np.int64)
    assert list(store.classes) == classifier.classes_
    source = family[recording[clips]]
    played = np.isin(source, list(sources()))
    _, number = np.unique(source, return_inverse=True)
    sampler = Sampler(torch.from_numpy(label), "balanced", 0, torch.from_numpy(number))
    augmenter = store.augmenter(recipe, 0)
    n = sum(int((played == which).sum()) * times for which, times in copies.items())
    maps: NDArray[np.float16] | None = None
    done: list[NDArray[np.int64]] = []
    at = 0
    out.mkdir(parents=True, exist_ok=True)
    for copy in range(1, max(copies.values()) + 1):
        left = np.flatnonzero([copies[bool(p)] >= copy for p in played])
        draws = generator(0, copy, Purpose.AUGMENTATION)
        order = torch.from_numpy(left)[torch.randperm(len(left), generator=draws)]
        following = sampler.alike(order, MOST_FOLLOWING, copy)

        def rows(ids: NDArray[np.int64]) -> NDArray[np.int64]:
            return store.recording_index(clips[ids])

        for first in range(0, len(order), BATCH):
            ids = order[first : first + BATCH].numpy()
            x = augmenter.batch(
                store.whole, rows(ids), copy, draws=np.arange(first, first + len(ids)),
                following=rows(following[first : first + len(ids)].numpy()),
            )  # fmt: skip
            levelled = classifier.levelled(torch.from_numpy(x))
            drawn = draw(recipe, len(ids), draws, mel=False)
            seen = early(classifier, augment(levelled, drawn, classifier.mean)).half().numpy()
            if maps is None:
                shape = (n, *seen.shape[1:])
                maps = np.lib.format.open_memmap(out / MAPS, "w+", np.float16, shape)
            maps[at : at + len(ids)] = seen
            at += len(ids)
            done.append(ids)
        print(f"copy {copy}: {at} of {n} clips", flush=True)
    ids = np.concatenate(done)
    np.savez(out / CLIPS, label=label[ids], source=source[ids])


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--copies-of-players", type=int, default=8)
    given = parser.parse_args()
    store = open_features(given.store, Recipe.preset("orchestra"), "mel-16k")
    assert isinstance(store, ComputedStore)
    copies = {True: given.copies_of_players, False: given.copies}
    make(store, Classifier.load(given.model), given.out, copies)


if __name__ == "__main__":
    main()
