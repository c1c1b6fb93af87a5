"""How many recordings are needed: the score over the size of the training part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, sqrt
from statistics import fmean

from audiocls.compare.ranking import Cell, Ranking, Spread


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """One feature and model, with ever more recordings."""

    points: list[Ranking]  # one a size, the smallest first

    @property
    def name(self) -> str:
        """For sentences and legends."""
        return self.points[0].name

    @property
    def sizes(self) -> list[float]:
        """Recordings a class that trained: the mean over classes and splits."""
        return [_size(ranking.cells) for ranking in self.points]

    @property
    def scores(self) -> list[Spread]:
        """The main score of each size, over seeds and folds."""
        return [ranking.main for ranking in self.points]

    @property
    def gain(self) -> Spread:
        """Points that twice as many recordings add to the main score, over the splits.

        Measured from the last size but one to the last.
        """
        few, many = self.points[-2:]
        by = many.yardstick
        before = {cell.split: cell for cell in few.cells}
        pairs = [(before[cell.split], cell) for cell in many.cells if cell.split in before]

        def slope(a: Cell, b: Cell) -> float:
            return (by.of(b, by.main) - by.of(a, by.main)) / log2(_size([b]) / _size([a]))

        return Spread.of([slope(a, b) for a, b in pairs])

    def sentence(self) -> str:
        """The effect of more recordings, in words."""
        (*_, a, b), (*_, first, last) = self.sizes, self.scores
        gain, n, by = self.gain, len(self.points[-1].cells), self.points[-1].yardstick
        found = (
            f"from {a:.3g} to {b:.3g} recordings a class {by.scores[by.main]} goes from "
            f"{first.mean:.3f} to {last.mean:.3f}"
        )
        error = 0.0 if gain.deviation is None else gain.deviation / sqrt(n)
        if gain.deviation is not None and abs(gain.mean) < 2 * error:
            return (
                f"{self.name}: what twice as many recordings bring cannot be told from {n} splits, "
                f"{100 * gain.mean:.1f} ± {100 * error:.1f} points; {found}"
            )
        spread = "" if gain.deviation is None else f" (± {100 * error:.1f})"
        points = "a point" if round(100 * gain.mean) == 1 else f"{100 * gain.mean:.0f} points"
        return f"{self.name}: twice as many recordings bring about {points}{spread}; {found}"


def build_learning_curves(cells: Sequence[Cell]) -> list[LearningCurve]:
    """Builds the curve of each feature and model.

    A size that holds no more recordings than the one before is left out.
    """
    together: dict[tuple[str, str], defaultdict[int | None, list[Cell]]] = {}
    for cell in cells:
        trial = cell.trial
        sizes = together.setdefault((trial.feature, trial.model), defaultdict(list))
        sizes[trial.recordings_per_class].append(cell)
    curves = []
    for (feature, model), sizes in together.items():
        points: list[Ranking] = []
        for own in sorted(sizes.values(), key=_size):
            if not points or _size(own) > _size(points[-1].cells):
                points.append(Ranking(feature, model, own))
        if len(points) > 1:
            curves.append(LearningCurve(points))
    return curves


def _size(cells: Sequence[Cell]) -> float:
    """Recordings a class in the training part, the mean."""
    sizes = [c.result.split["parts"]["train"]["recordings"] / len(c.result.classes) for c in cells]
    return fmean(sizes)
