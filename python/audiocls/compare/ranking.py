"""The runs of each feature and model together, in the order in which validation puts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, median, stdev
from typing import Any

from audiocls.compare.yardstick import YARDSTICKS, Yardstick
from audiocls.training.run import Result, Run
from audiocls.training.trial import Trial


@dataclass(frozen=True, eq=False)
class Cell:
    """One trained model of a comparison."""

    trial: Trial
    run: Run
    result: Result

    @cached_property
    def clips(self) -> list[Any] | None:
        """A `PredictionRow` or, of several labels, `MultilabelRow` for each clip of the test part.

        None in runs of earlier versions.
        """
        return self.run.read_predictions()

    @cached_property
    def recordings(self) -> list[Any] | None:
        """Its answers for the recordings of the test part."""
        return self.run.read_recording_predictions()

    @property
    def split(self) -> tuple[int, str | None]:
        """Cells of equal seed and fold have the same test part."""
        return self.trial.seed, self.trial.fold or None


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; the deviation of a single value is None."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Mean and deviation of some values."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, spec: str) -> str:
        """Each number as `spec` says, by default with three decimals."""
        spec = spec or ".3f"
        deviation = "" if self.deviation is None else f" ± {self.deviation:{spec}}"
        return f"{self.mean:{spec}}{deviation}"


@dataclass(frozen=True, eq=False)
class Ranking:
    """All cells of one feature and model."""

    feature: str
    model: str
    cells: list[Cell]
    scores: dict[str, Spread] = field(init=False)  # of the test part, by those of the yardstick
    validation: Spread = field(init=False)  # the main score

    def __post_init__(self) -> None:
        by = self.yardstick
        scores = {name: Spread.of([by.of(c, name) for c in self.cells]) for name in by.scores}
        object.__setattr__(self, "scores", scores)
        validation = Spread.of([c.result.val[by.key] or 0.0 for c in self.cells])
        object.__setattr__(self, "validation", validation)

    @property
    def yardstick(self) -> Yardstick:
        """The yardstick of its task."""
        return YARDSTICKS[self.cells[0].result.task]

    @property
    def name(self) -> str:
        """Its name in sentences."""
        return f"{self.model} on {self.feature}"

    @property
    def main(self) -> Spread:
        """The score that models are compared by."""
        return self.scores[self.yardstick.main]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.cells[0].result.parameters

    @property
    def training_s(self) -> float:
        """Mean over the cells."""
        return fmean(c.result.training_s for c in self.cells)

    @property
    def multiply_adds(self) -> int | None:
        """Of a clip; None in runs of earlier versions."""
        return int(n) if (n := self.cells[0].result.cost.get("multiply_adds")) else None

    @property
    def cpu_ms(self) -> float | None:
        """A clip's time on one thread of a CPU, the median of the cells."""
        times = [t for c in self.cells if (t := c.result.cost.get("cpu_ms"))]
        return median(times) if times else None

    @property
    def ece(self) -> float:
        """Expected calibration error by clip, mean over the cells."""
        return fmean(c.result.test["ece"] for c in self.cells)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the main score over groups, all cells together.

        None if a run has no predictions.
        """
        return self.yardstick.interval(self.cells)


def rank_cells(cells: Sequence[Cell]) -> list[Ranking]:
    """Ranks the features and models, the best on validation first.

    An order by test scores would flatter the first.
    """
    together: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.trial.feature, cell.trial.model), []).append(cell)
    rankings = [Ranking(feature, model, own) for (feature, model), own in together.items()]
    return sorted(rankings, key=lambda r: -r.validation.mean)
