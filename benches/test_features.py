"""Every contender on the same clips, results proved equal first: `make bench` times them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest
from contenders import SETUPS, Contender, Setup, check_equal, set_threads
from pytest_benchmark.fixture import BenchmarkFixture

CORES = len(os.sched_getaffinity(0))
CASES = [
    pytest.param(setup, contender, id=f"{setup.title}: {contender.library}".replace(" ", "_"))
    for setup in SETUPS
    for contender in setup.contenders
]
cores = pytest.mark.parametrize("threads", sorted({1, CORES}))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What the peers warn of is no concern of ours.
        yield
    set_threads(1)


def _n_clips(setup: Setup) -> int:
    return 1 if setup.seconds > 60 else 128


@cores
@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.title.replace(" ", "_"))
def test_audiocls(benchmark: BenchmarkFixture, setup: Setup, threads: int) -> None:
    benchmark.group = f"{setup.title}, threads={threads}"
    clips = setup.clips(_n_clips(setup))
    benchmark(setup.ours(None, threads), clips)


@cores
@pytest.mark.parametrize(("setup", "contender"), CASES)
def test_contender(
    benchmark: BenchmarkFixture, setup: Setup, contender: Contender, threads: int
) -> None:
    set_threads(threads)
    clips = setup.clips(_n_clips(setup))
    check_equal(setup, contender, clips[:3])
    benchmark.group = f"{setup.title}, threads={threads}"
    benchmark(contender.run, clips)
