"""Fair timing on an unfair machine: contenders take turns, ratios come from pairs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping


def seconds(
    runs: Mapping[str, Callable[[], object]], rounds: int = 9, at_least: float = 0.02
) -> dict[str, list[float]]:
    """Seconds a call of every run took in every round.

    Each round measures every run once, forwards and backwards in turn, so that a slow moment of
    the machine hits neighbours alike and nobody always comes first.

    Args:
        runs: by name; the first call of each is not counted.
        rounds: how often each is measured.
        at_least: seconds a measurement lasts; quick runs are repeated within one.

    Returns:
        {name: [rounds]}; the i-th figures of two names belong to the same round.
    """
    repeats = {}
    for name, run in runs.items():
        run()
        repeats[name] = max(1, math.ceil(at_least / _time(run, 1)))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs) if turn % 2 == 0 else reversed(list(runs)):
            taken[name].append(_time(runs[name], repeats[name]))
    return taken


def _time(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def ratio(slower: list[float], faster: list[float]) -> float:
    """Median over the rounds of one's seconds divided by the other's."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))
