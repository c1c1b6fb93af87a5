"""Tests whether one model is better than another, over the same recordings and splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from audiocls.compare.ranking import Cell, Ranking
from audiocls.scores.significance import correct_by_holm

LEVEL = 0.05
FEW = 4  # differences that have a sentence each


@dataclass(frozen=True, eq=False)
class Difference:
    """Two rankings, the one with the higher score on the test part first."""

    better: Ranking
    other: Ranking
    p: float | None  # corrected by Holm over all pairs; None if predictions are missing

    @property
    def shown(self) -> bool:
        """Whether the test tells the two apart."""
        return self.p is not None and self.p < LEVEL

    def sentence(self) -> str:
        """The finding in words."""
        a, b = self.better, self.other
        by = a.yardstick
        scores = f"{a.main.mean:.3f} against {b.main.mean:.3f} {by.scores[by.main]}"
        if self.p is None:
            return (
                f"{a.name} and {b.name} cannot be tested: {scores}, but a run of an earlier "
                "version stored no predictions; `--restart` does it again"
            )
        test = f"p {_p(self.p)} (Holm, {by.exchanges:,} group-wise permutations)"
        if self.shown:
            return f"{a.name} is better than {b.name}: {scores}, {test}"
        return f"no difference can be shown between {a.name} and {b.name}: {scores}, {test}"


def compare_pairs(rankings: Sequence[Ranking]) -> list[Difference]:
    """Tests every pair, in the order of the rankings.

    The test is of the difference in the mean main score. Exchanging the two models on whole groups,
    in
    all splits at once, gives its distribution if they are equally good.
    """
    pairs = list(combinations(rankings, 2))
    found = [a.yardstick.p_value(pair_cells(a, b)) for a, b in pairs]
    tested = [i for i, p in enumerate(found) if p is not None]
    corrected = correct_by_holm([p for p in found if p is not None])
    p_of = dict(zip(tested, corrected, strict=True))
    return [
        Difference(*((a, b) if a.main.mean >= b.main.mean else (b, a)), p_of.get(i))
        for i, (a, b) in enumerate(pairs)
    ]


def describe_differences(best: Ranking, tested: Sequence[Difference]) -> list[tuple[bool, str]]:
    """Sentences on `best`, each with whether it is shown to be better.

    If it is better than many, one sentence names them all.
    """
    own = [d for d in tested if best in (d.better, d.other)]
    beaten = [d for d in own if d.shown and d.better is best]
    if len(beaten) < FEW:
        return [(d in beaten, d.sentence()) for d in own]
    names = ", ".join(d.other.name for d in beaten)
    highest = max(d.p for d in beaten if d.p is not None)
    exchanges = best.yardstick.exchanges
    test = f"each p ≤ {max(highest, 0.001):.3f} (Holm, {exchanges:,} group-wise permutations)"
    sentence = f"{best.name} is better than {len(beaten)} of {len(own)} others: {names}; {test}"
    return [(True, sentence), *((False, d.sentence()) for d in own if d not in beaten)]


def pair_cells(a: Ranking, b: Ranking) -> list[tuple[Cell, Cell]]:
    """Pairs the cells of the splits that both have."""
    others = {cell.split: cell for cell in b.cells}
    return [(cell, others[cell.split]) for cell in a.cells if cell.split in others]


def _p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"
