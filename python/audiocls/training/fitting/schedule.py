"""The course of the learning rate."""

from __future__ import annotations

import math

from audiocls.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Returns the learning rate of step `step` of `steps`.

    A linear warm-up, then constant, or half a cosine to 0: Loshchilov & Hutter 2017, "SGDR",
    arXiv:1608.03983, eq. 5, one cycle; warm-up as Goyal et al. 2017, arXiv:1706.02677.
    """
    warm_up = round(recipe.warm_up * steps)
    if step < warm_up:
        return recipe.lr * (step + 1) / warm_up
    if recipe.schedule == "constant":
        return recipe.lr
    done = (step - warm_up) / max(1, steps - warm_up)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
