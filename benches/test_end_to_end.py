"""From MP3s to features on disk, on a subset of the real recordings: skipped where they are absent.

`python benches/report.py --only files --every 1` runs over all of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import end_to_end
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

CORES = len(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = end_to_end.recordings()
    if folder is None:
        pytest.skip("no real recordings; set AUDIOCLS_TEST_DATA to a copy of them")
    into = tmp_path_factory.mktemp("recordings")
    end_to_end.subset(folder, 40, into)
    return into


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _paths(data: Path) -> list[str]:
    return [str(path) for path in sorted(data.rglob("*.mp3"))]


WAYS = list(end_to_end.ways(Path(), [], CORES))
DECODERS = list(end_to_end.decoders([]))


@pytest.mark.parametrize("way", WAYS)
def test_files_to_features(benchmark: BenchmarkFixture, data: Path, way: str) -> None:
    if way == WAYS[0]:
        end_to_end.check_equal(data, _paths(data))
    run = end_to_end.ways(data, _paths(data), CORES)[way]
    benchmark.group = "files to features on disk"
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1) > 0


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoding_alone(benchmark: BenchmarkFixture, data: Path, decoder: str) -> None:
    benchmark.group = "decoding alone"
    run = end_to_end.decoders(_paths(data))[decoder]
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1) > 0
