"""Which examples an epoch sees: index tensors, drawn at once, for data that lies on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocls.errors import SettingError, unknown
from audiocls.training.randomness import Purpose, generator

# The power of a class's size to which it is drawn.
SAMPLERS = {"balanced": 0.0, "natural": 1.0, "sqrt": 0.5}


class Sampler:
    """Draws example indices by class.

    `balanced` and `sqrt` draw a class first, then one of its examples uniformly, with replacement:
    equal-probability sampling. `natural` goes through random permutations.

    labels: int64 [n_examples]; classes without an example are never drawn.
    Raises SettingError for an unknown kind or no labels.
    """

    def __init__(self, labels: Tensor, kind: str = "balanced", seed: int = 0) -> None:
        if kind not in SAMPLERS:
            raise unknown("sampler", kind, SAMPLERS)
        if len(labels) == 0:
            raise SettingError("labels", "[]", "there must be at least one example")
        labels = labels.cpu()
        self.kind, self.seed = kind, seed
        self.by_class = torch.argsort(labels, stable=True)
        counts = torch.bincount(labels)
        self.counts = counts[counts > 0]
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        weights = self.counts.double().pow(SAMPLERS[kind])
        self.class_probability = weights / weights.sum()  # of the classes that occur

    def draw(self, n: int, epoch: int = 0) -> Tensor:
        """n example indices of an epoch, int64 [n] on the CPU, in random order."""
        numbers = generator(self.seed, epoch, Purpose.ORDER)
        if self.kind == "natural":
            size = len(self.by_class)
            rounds = [torch.randperm(size, generator=numbers) for _ in range(-(-n // size))]
            return torch.cat(rounds)[:n] if rounds else torch.empty(0, dtype=torch.int64)
        classes = torch.multinomial(self.class_probability, n, replacement=True, generator=numbers)
        counts = self.counts[classes]
        uniform = torch.rand(n, dtype=torch.float64, generator=numbers)
        within = (uniform * counts).long().clamp(max=counts - 1)
        return self.by_class[self.starts[classes] + within]
