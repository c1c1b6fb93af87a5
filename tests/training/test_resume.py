"""A run that is killed and resumed ends as one that nothing disturbed, bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_run import contents
from safetensors.torch import load_file
from tiny_store import TinyStore, tiny_store

from audiocls.errors import DataError, SettingError
from audiocls.training import Device, Recipe, Result, Run, Trial, fit, make_split

pytestmark = pytest.mark.usefixtures("no_graph")
torch.set_num_threads(1)
CPU = Device.pick("cpu")
# Everything that draws or keeps state is on.
RECIPE = Recipe(
    epochs=6,
    batch_size=16,
    mixup=0.5,
    time_mask=0.3,
    freq_mask=0.3,
    label_smoothing=0.1,
    ema=0.9,
)


def run(folder: Path, resume: bool = False, stop: int = 0, **changes: Any) -> Result:
    """A run, interrupted after `stop` epochs."""
    store = changes.pop("store", None) or tiny_store()
    trial = Trial(changes.pop("model", "newcnn"), RECIPE.replace(**changes))
    split = make_split(store.recordings, group_by="player")

    def progress(_done: int, _total: int, row: dict[str, float] | None) -> None:
        if row is not None and row["epoch"] == stop:
            raise KeyboardInterrupt

    return fit(trial, store, split, Run(folder), CPU, progress, resume=resume)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return contents(folder)


@pytest.mark.parametrize("stops", [(1,), (3,), (5,), (6,), (1, 2, 4)])
def test_interrupted_and_resumed(
    tmp_path: Path, undisturbed: tuple[bytes, dict[str, Any]], stops: tuple[int, ...]
) -> None:
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, resume=True, stop=stop)
        assert not (tmp_path / "metrics.json").exists()
    run(tmp_path, resume=True)
    assert contents(tmp_path) == undisturbed
    assert not (tmp_path / "state.safetensors").exists()
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 6


def test_a_finished_run_is_taken_as_it_is(tmp_path: Path) -> None:
    first = run(tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.name != ".lock"]
    before = {p: p.stat().st_mtime_ns for p in files}
    assert run(tmp_path, resume=True) == first
    assert {p: p.stat().st_mtime_ns for p in files} == before


@pytest.mark.parametrize("finished", [False, True])
def test_a_resume_with_other_settings_changes_nothing(tmp_path: Path, finished: bool) -> None:
    if finished:
        run(tmp_path)
    else:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, stop=2)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    other = tiny_store()
    other.recordings[0].n_clips += 1
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"lr": 0.5}, "`lr` was 0.003, is 0.5 now"),
        ({"model": "lstm"}, "`model` was newcnn, is lstm now"),
        ({"store": other}, "the feature store has changed"),
    )
    for change, message in changes:
        with pytest.raises(SettingError, match=message):
            run(tmp_path, resume=True, **change)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=2)
    file = tmp_path / "state.safetensors"
    whole = file.read_bytes()
    for damaged in (b"", whole[:50], whole[:-9], whole.replace(b"history", b"hystery", 1)):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"state.safetensors' is damaged .*`restart`"):
            run(tmp_path, resume=True)
        assert file.read_bytes() == damaged


def test_a_disk_that_is_too_full_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(DataError, match="a run of this model needs"):
        run(tmp_path)
    assert not (tmp_path / "history.csv").exists()


def test_the_best_weights_are_kept_as_they_come(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=1)
    assert (tmp_path / "model/model.json").exists()
    weights = load_file(tmp_path / "model/weights.safetensors")
    average = {
        name.removeprefix("average."): value
        for name, value in load_file(tmp_path / "state.safetensors").items()
        if name.startswith("average.")
    }
    assert weights.keys() == average.keys()
    assert all(torch.equal(weights[name], average[name]) for name in weights)


def _resume(folder: Path) -> None:
    run(folder, resume=True)


def test_killed_at_random_moments(
    tmp_path: Path, undisturbed: tuple[bytes, dict[str, Any]]
) -> None:
    """SIGKILL again and again; what is left is a whole run or can be gone on with."""
    # A server imports torch once and forks a process for every attempt.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["audiocls.training.loop"])
    moments, kills = random.Random(0), 0
    for attempt in range(100):
        process = context.Process(target=_resume, args=(tmp_path / "run",))
        process.start()
        if attempt < 8 and _changed(tmp_path / "run", process):
            time.sleep(moments.uniform(0, 0.3))
            process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        for file in (tmp_path / "run").rglob("*.json"):
            json.loads(file.read_text())
        for file in (tmp_path / "run").rglob("*.safetensors"):
            load_file(file)
        if process.exitcode == 0:
            break
    assert kills >= 3
    assert contents(tmp_path / "run") == undisturbed


def _changed(folder: Path, process: BaseProcess) -> bool:
    """Waits until the run writes its next file, or has ended."""

    def newest() -> int:
        files = folder.rglob("*")
        return max((p.stat().st_mtime_ns for p in files if p.suffix != ".tmp"), default=0)

    before = newest()
    while process.is_alive():
        try:
            if newest() != before:
                return True
        except FileNotFoundError:
            return True  # it was renamed at this moment
        time.sleep(0.005)
    return False


def test_randomness_is_of_the_epoch_not_of_a_stream() -> None:
    from audiocls.training.data.sampling import Sampler

    labels = torch.from_numpy(np.repeat([0, 1, 2], 20))
    sampler = Sampler(labels, "balanced", seed=1)
    third = sampler.draw(50, epoch=3)
    assert torch.equal(Sampler(labels, "balanced", seed=1).draw(50, epoch=3), third)
    assert not torch.equal(sampler.draw(50, epoch=2), third)


def test_training_does_not_depend_on_the_callers_generators(
    tmp_path: Path, undisturbed: tuple[bytes, dict[str, Any]]
) -> None:
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    run(tmp_path)
    assert contents(tmp_path) == undisturbed


def test_patience_ends_a_run(tmp_path: Path) -> None:
    store: TinyStore = tiny_store()
    store.features[:] = 0  # nothing to learn: no epoch is better than the first few
    result = run(tmp_path, store=store, patience=2, epochs=50, ema=0.0)
    epochs = len((tmp_path / "history.csv").read_text().splitlines()) - 1
    assert epochs == result.chosen["epoch"] + 2 < 50
