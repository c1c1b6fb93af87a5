"""Which examples an epoch sees: index tensors, drawn at once, for data that lies on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audiocls.errors import ChoiceError, SettingError
from audiocls.training.runtime.randomness import Purpose, make_generator

if TYPE_CHECKING:
    from audiocls.training.data.examples import Examples
    from audiocls.training.trial import Trial

# The power of a class's size to which it is drawn.
SAMPLERS = {"balanced": 0.0, "natural": 1.0, "sqrt": 0.5}


class Sampler:
    """Draws example indices by class.

    `balanced` and `sqrt` draw a class first, then one of the examples that have it uniformly, with
    replacement: equal-probability sampling. `natural` goes through random permutations.

    Args:
        labels: int64 [n_examples], or of several labels bool [n_examples, n_classes]; classes
            without an example are never drawn.
        kind: one of `SAMPLERS`.
        seed: of the draws.
        sources: int64 [n_examples], where each comes from. The share of a class is then dealt to
            its sources.
        source_temperature: each source gets its number of examples to this power: 0 equal shares, 1
            in proportion.

    Raises:
        SettingError: the kind is unknown, there is no label, or kind natural has sources.
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
            raise ChoiceError("sampler", kind, SAMPLERS)
        if len(labels) == 0 or not (labels.ndim == 1 or labels.any()):
            raise SettingError("labels", "[]", "there must be at least one example")
        if sources is not None and kind == "natural":
            rule = "every example is drawn once; sources need balanced or sqrt"
            raise SettingError("sampler", kind, rule)
        self.kind, self.seed = kind, seed
        labels = labels.cpu()
        self.n_examples = len(labels)
        sources = torch.zeros(len(labels), dtype=torch.int64) if sources is None else sources.cpu()
        # An example stands once for each label that it has.
        examples, classes = torch.arange(len(labels)), labels
        if labels.ndim == 2:
            examples, classes = labels.nonzero(as_tuple=True)
        # What is drawn first: a class, or a source of a class.
        self.cells = _Cells(classes * (int(sources.max()) + 1) + sources[examples], examples)
        own_class = classes[self.cells.order[self.cells.starts]]
        weights = torch.bincount(classes).double().pow(SAMPLERS[kind])
        shares = self.cells.counts.double().pow(source_temperature)
        of_class = torch.zeros_like(weights).index_add_(0, own_class, shares)
        weights = weights[own_class] * shares / of_class[own_class]
        self.cell_probability = weights / weights.sum()
        self.kinds = self.cells
        if labels.ndim == 2:  # those with the same labels and source
            alike = torch.unique(labels, dim=0, return_inverse=True)[1]
            self.kinds = _Cells(alike * (int(sources.max()) + 1) + sources, examples=None)

    def draw(self, n: int, epoch: int = 0) -> Tensor:
        """Draws n example indices of an epoch, int64 [n] on the CPU, in random order."""
        numbers = make_generator(self.seed, epoch, Purpose.ORDER)
        if self.kind == "natural":
            size = self.n_examples
            rounds = [torch.randperm(size, generator=numbers) for _ in range(-(-n // size))]
            return torch.cat(rounds)[:n] if rounds else torch.empty(0, dtype=torch.int64)
        cells = torch.multinomial(self.cell_probability, n, replacement=True, generator=numbers)
        return self.cells.draw(cells, numbers)

    def draw_alike(self, ids: Tensor, n: int, epoch: int = 0) -> Tensor:
        """Draws n examples for each of `ids`, uniformly out of those with its labels and source.

        Returns:
            int64 [len(ids), n] on the CPU.
        """
        numbers = make_generator(self.seed, epoch, Purpose.PHRASE)
        return self.kinds.draw(self.kinds.cell_of[ids, None].expand(-1, n), numbers)

    def shares(self) -> Tensor:
        """Returns the share of the draws that each example has on average, float64 [n_examples]."""
        of_row = (self.cell_probability / self.cells.counts)[self.cells.cell_of]
        order = torch.empty_like(self.cells.order)
        order[self.cells.order] = self.cells.by_cell
        return torch.zeros(self.n_examples, dtype=of_row.dtype).index_add_(0, order, of_row)


def make_sampler(trial: Trial, examples: Examples) -> Sampler:
    """Returns the sampler of the training part `examples`, as the recipe of a trial asks for it."""
    recipe = trial.recipe
    sources = torch.from_numpy(examples.sources) if recipe.source else None
    labels = torch.from_numpy(examples.labels)
    return Sampler(labels, recipe.sampler, trial.seed, sources, recipe.source_temperature)


class _Cells:
    """Rows that a key tells apart; each stands for an example.

    Args:
        keys: int64 [n_rows].
        examples: of each row, int64 [n_rows]; None: the row itself.
    """

    def __init__(self, keys: Tensor, examples: Tensor | None) -> None:
        _, self.cell_of, self.counts = torch.unique(keys, return_inverse=True, return_counts=True)
        self.order = torch.argsort(self.cell_of, stable=True)
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        self.by_cell = self.order if examples is None else examples[self.order]

    def draw(self, cells: Tensor, numbers: torch.Generator) -> Tensor:
        """Draws an example of each cell."""
        counts = self.counts[cells]
        uniform = torch.rand(cells.shape, dtype=torch.float64, generator=numbers)
        within = (uniform * counts).long().clamp(max=counts - 1)
        return self.by_cell[self.starts[cells] + within]
