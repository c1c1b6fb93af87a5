"""Which examples an epoch sees: index tensors, drawn at once, for data that lies on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocls.errors import SettingError, unknown

SAMPLERS = {
    "balanced": "each class with the same probability, whatever its size",
    "natural": "every example once an epoch: classes as frequent as they came",
    "sqrt": "each class in proportion to the square root of its size, halfway between the two",
}


class Sampler:
    """Draws example indices by class.

    `balanced` and `sqrt` draw a class first, then one of its examples uniformly, with replacement:
    equal-probability sampling. `natural` goes through random permutations. The generator is on the
    CPU, so that a seed gives the same draws whatever device trains.

    labels: int64 [n_examples]; classes without an example are never drawn.
    Raises SettingError for an unknown kind or no labels.
    """

    def __init__(self, labels: Tensor, kind: str = "balanced", seed: int = 0) -> None:
        if kind not in SAMPLERS:
            raise unknown("sampler", kind, SAMPLERS)
        if len(labels) == 0:
            raise SettingError("labels", "[]", "there must be at least one example")
        labels = labels.cpu()
        self.kind = kind
        self.generator = torch.Generator().manual_seed(seed)
        self.by_class = torch.argsort(labels, stable=True)
        counts = torch.bincount(labels)
        self.counts = counts[counts > 0]
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        weights = self.counts.double().pow({"balanced": 0.0, "natural": 1.0, "sqrt": 0.5}[kind])
        self.class_probability = weights / weights.sum()  # of the classes that occur

    def draw(self, n: int) -> Tensor:
        """The next n example indices, int64 [n], in random order."""
        if self.kind == "natural":
            size = len(self.by_class)
            rounds = [torch.randperm(size, generator=self.generator) for _ in range(-(-n // size))]
            return torch.cat(rounds)[:n] if rounds else torch.empty(0, dtype=torch.int64)
        classes = torch.multinomial(
            self.class_probability, n, replacement=True, generator=self.generator
        )
        counts = self.counts[classes]
        uniform = torch.rand(n, dtype=torch.float64, generator=self.generator)
        within = (uniform * counts).long().clamp(max=counts - 1)
        return self.by_class[self.starts[classes] + within]
