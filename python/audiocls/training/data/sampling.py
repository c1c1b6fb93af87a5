"""Which examples an epoch sees: index tensors, drawn at once, for data that lies on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocls.errors import SettingError, unknown
from audiocls.training.runtime.randomness import Purpose, generator

# The power of a class's size to which it is drawn.
SAMPLERS = {"balanced": 0.0, "natural": 1.0, "sqrt": 0.5}


class Sampler:
    """Draws example indices by class.

    `balanced` and `sqrt` draw a class first, then one of its examples uniformly, with replacement:
    equal-probability sampling. `natural` goes through random permutations.

    labels: int64 [n_examples]; classes without an example are never drawn. sources: int64
    [n_examples], where each comes from: the share of a class is then dealt to its sources, to each
    as its number of examples to the power `source_temperature`: 0 equally, 1 in proportion.
    Raises SettingError for an unknown kind or no labels, and for kind natural with sources.
    """

    def __init__(
        self,
        labels: Tensor,
        kind: str = "balanced",
        seed: int = 0,
        sources: Tensor | None = None,
        source_temperature: float = 0.0,
    ) -> None:
        if kind not in SAMPLERS:
            raise unknown("sampler", kind, SAMPLERS)
        if len(labels) == 0:
            raise SettingError("labels", "[]", "there must be at least one example")
        if sources is not None and kind == "natural":
            rule = "every example is drawn once; sources need balanced or sqrt"
            raise SettingError("sampler", kind, rule)
        self.kind, self.seed = kind, seed
        labels = labels.cpu()
        # What is drawn first: a class, or a source of a class.
        if sources is None:
            sources = torch.zeros_like(labels)
        cells = labels * (int(sources.max()) + 1) + sources.cpu()
        _, self.cell_of, self.counts = torch.unique(cells, return_inverse=True, return_counts=True)
        self.by_cell = torch.argsort(self.cell_of, stable=True)
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        own_class = labels[self.by_cell[self.starts]]
        weights = torch.bincount(labels).double().pow(SAMPLERS[kind])
        shares = self.counts.double().pow(source_temperature)
        of_class = torch.zeros_like(weights).index_add_(0, own_class, shares)
        weights = weights[own_class] * shares / of_class[own_class]
        self.cell_probability = weights / weights.sum()

    def draw(self, n: int, epoch: int = 0) -> Tensor:
        """n example indices of an epoch, int64 [n] on the CPU, in random order."""
        numbers = generator(self.seed, epoch, Purpose.ORDER)
        if self.kind == "natural":
            size = len(self.by_cell)
            rounds = [torch.randperm(size, generator=numbers) for _ in range(-(-n // size))]
            return torch.cat(rounds)[:n] if rounds else torch.empty(0, dtype=torch.int64)
        cells = torch.multinomial(self.cell_probability, n, replacement=True, generator=numbers)
        return self._within(cells, numbers)

    def alike(self, ids: Tensor, n: int, epoch: int = 0) -> Tensor:
        """n examples for each of `ids`, int64 [len(ids), n] on the CPU, uniformly out of those of
        its class and source."""
        numbers = generator(self.seed, epoch, Purpose.PHRASE)
        return self._within(self.cell_of[ids, None].expand(-1, n), numbers)

    def shares(self) -> Tensor:
        """The share of the draws that each example has on average, float64 [n_examples]."""
        shares: Tensor = (self.cell_probability / self.counts)[self.cell_of]
        return shares

    def _within(self, cells: Tensor, numbers: torch.Generator) -> Tensor:
        """An example of each cell."""
        counts = self.counts[cells]
        uniform = torch.rand(cells.shape, dtype=torch.float64, generator=numbers)
        within = (uniform * counts).long().clamp(max=counts - 1)
        return self.by_cell[self.starts[cells] + within]
