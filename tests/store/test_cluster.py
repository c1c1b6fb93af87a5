"""`extract --engine ray` on a real Ray cluster of two nodes: the store of one machine, though a
worker is killed with SIGKILL, or a node goes away with all that runs on it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster_workers
import pytest
import ray
from click.testing import CliRunner, Result
from conftest import ROOT
from ray.cluster_utils import Cluster
from small_stores import contents, write

import audiocls
from audiocls.cli import main
from audiocls.errors import DataError, SettingError
from audiocls.store import cluster as module
from audiocls.store import extraction, planning
from audiocls.store.cluster import extract_on_cluster
from audiocls.store.extraction import extract_part

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one processor each, whose workers have this package."""
    # Ray leaves a handler of its own, in Python, which a process that a later test forks has too:
    # about to wait for a lock, it would never come to call it, and live on.
    terminated = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # which would look for a network
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (*PACKAGE, ROOT / "tests"))))
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        cluster.add_node(**NODE)
        # Connected once, for then the workers of one test serve the next.
        ray.init(cluster.address, log_to_driver=False, configure_logging=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()
    signal.signal(signal.SIGTERM, terminated)


@pytest.fixture
def address(cluster: Cluster) -> str:
    address: str = cluster.address
    return address


PACKAGE = (Path(audiocls.__file__).parent.parent,)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten recordings of three classes, one of them broken: five shards of two."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(9):
        write(folder / f"class {i % 3}/{i}.wav", i)
    (folder / "class 1/broken.wav").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 2)
    monkeypatch.setattr(module, "send_part", cluster_workers.small)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


# --- what comes of it ---


def test_the_store_of_one_machine_though_a_worker_is_killed(
    data: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audiocls.extract(data, "mel-16k", tmp_path / "whole")
    out, mark = tmp_path / "store", data.parent / "stuck"
    monkeypatch.setattr(module, "send_part", cluster_workers.stuck)
    killed, told = [], []

    def kill(progress: extraction.Progress) -> None:
        told.append(progress)
        if mark.exists() and not killed:
            killed.append(int(mark.read_text()))
            assert not (out / "parts/3-of-5/part.json").exists()
            os.kill(killed[0], signal.SIGKILL)

    store = extract_on_cluster(data, "mel-16k", out, address=address, progress=kill)
    assert killed
    assert contents(out) == contents(whole.path)
    assert store.counts["failed"] == 1
    assert not (out / "parts").exists()
    assert (told[0].recordings, told[-1].recordings, told[-1].total) == (0, 10, 10)
    # A finished store is left as it is, and a damaged one mended here.
    shard = out / "shards/00001.npy"
    shard.write_bytes(b"?" + shard.read_bytes()[1:])
    extract_on_cluster(data, "mel-16k", out)
    assert contents(out) == contents(whole.path)


def test_labels_of_a_table_elsewhere(
    data: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is named from here, and workers have another folder."""
    rows = [f"class {i % 3}/{i}.wav,{i % 2},0.1,0.4" for i in range(9)]
    (tmp_path / "t.csv").write_text("\n".join(["clip,kind,onset,offset", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    labels = {"table": "t.csv", "columns": {"file_name": "clip", "label": "kind"}}
    whole = audiocls.extract(data, "mel-16k", "whole", **labels)
    assert whole.events is not None
    extract_on_cluster(data, "mel-16k", "store", address=address, **labels)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_parts_that_are_there_are_kept(data: Path, address: str, tmp_path: Path) -> None:
    """Those of other numbers too, and nothing is made again with other settings."""
    out = tmp_path / "store"
    extract_part(data, "mel-16k", out, shard=(2, 5))
    extract_part(data, "mel-16k", out, shard=(1, 2))
    with pytest.raises(SettingError, match=r"clip_s 0\.5, now 0\.25"):
        extract_on_cluster(data, "mel-16k", out, address=address, clip_s=0.25)
    before = (out / "parts/2-of-5/part.json").stat().st_mtime_ns
    seen = []

    def see(progress: extraction.Progress) -> None:
        seen.append(progress.recordings)
        assert (out / "parts/2-of-5/part.json").stat().st_mtime_ns == before

    extract_on_cluster(data, "mel-16k", out, address=address, progress=see)
    assert seen[0] == 2
    assert contents(out) == contents(audiocls.extract(data, "mel-16k", tmp_path / "whole").path)
    assert [part.name for part in (out / "parts").iterdir()] == ["1-of-2"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (cluster_workers.lost, "part 2 of 5: its worker was lost, at try 1: "),
        (cluster_workers.other_version, r"part \d of 5: .*: has audiocls 0.0.1, not "),
        (
            cluster_workers.without_audiocls,
            r"part \d of 5: a worker lacks audiocls: install it on every node",
        ),
        (
            cluster_workers.other_data,
            r"part \d of 5: .*: has other recordings, or of other times, in ",
        ),
    ],
)
def test_what_a_worker_cannot_do(
    data: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    made: Any, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "send_part", made)
    monkeypatch.setattr(module, "RETRIES", 0)
    monkeypatch.setitem(sys.modules, "audiocls_of_the_driver", cluster_workers)
    with pytest.raises(DataError, match=message) as error:
        extract_on_cluster(data, "mel-16k", tmp_path / "store", address=address)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "store/store.json").exists()


# --- the command line ---


def cli(*args: object) -> Result:
    return CliRunner().invoke(main, ["extract", *map(str, args)])


def test_the_command(data: Path, address: str, tmp_path: Path) -> None:
    out = tmp_path / "store"
    run = cli(data, "--feature", "mel-16k", "--out", out, "--engine", "ray", "--json",
              "--ray-address", address)  # fmt: skip
    assert run.exit_code == 0, run.stderr
    assert json.loads(run.stdout)["recordings"] == 10
    assert contents(out) == contents(audiocls.extract(data, "mel-16k", tmp_path / "whole").path)
    many = cli(data, "--out", tmp_path / "more", "--engine", "ray", "--threads", 9,
               "--ray-address", address)  # fmt: skip
    assert many.exit_code == 2
    assert "--threads 9 is invalid: the largest node has 1" in many.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--engine rye", "--engine 'rye' is invalid: did you mean 'ray'?"),
        ("--ray-address a:1", "--ray-address 'a:1' is invalid: is for --engine ray"),
        ("--engine ray --shard 1/2", "--shard '1/2' is invalid: --engine ray makes the parts"),
        ("--engine ray --ray-address head", "--ray-address 'head' is invalid: must be HOST:PORT"),
        ("--engine ray --ray-address ray://a:1", "is invalid: must be HOST:PORT"),
    ],
)
def test_wrong_use(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, message: str
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    run = cli(data, "--out", tmp_path / "store", *options.split())
    assert (run.exit_code, run.stderr.count("\n")) == (2, 1)
    assert message in run.stderr


def test_a_cluster_that_cannot_be_reached(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = cli(data, "--out", tmp_path / "store", "--engine", "ray", "--ray-address",
              f"127.0.0.1:{port}")  # fmt: skip
    assert (run.exit_code, run.stderr.count("\n")) == (1, 1)
    assert f"the Ray cluster 127.0.0.1:{port} cannot be reached: " in run.stderr


def test_without_ray(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    run = cli(data, "--out", tmp_path / "store", "--engine", "ray")
    expected = "audiocls extract needs ray: pip install 'audiocls[ray]'\n"
    assert (run.exit_code, run.stderr) == (2, expected)
    assert not (tmp_path / "store").exists()


# --- last, for Ray goes on talking about the lost node on stdout ---


def test_the_store_of_one_machine_though_a_node_goes_away(
    data: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audiocls.extract(data, "mel-16k", tmp_path / "whole")
    out, mark = tmp_path / "store", data.parent / "node"
    (data.parent / "head").write_text(cluster.head_node.node_id)
    monkeypatch.setattr(module, "send_part", cluster_workers.stuck_on_a_node)
    removed = []

    def remove(progress: extraction.Progress) -> None:
        if mark.exists() and not removed:
            removed.append(mark.read_text())
            (node,) = (n for n in cluster.worker_nodes if n.node_id == removed[0])
            cluster.remove_node(node, allow_graceful=False)

    try:
        extract_on_cluster(data, "mel-16k", out, address=cluster.address, progress=remove)
    finally:
        cluster.add_node(**NODE)
    assert removed
    assert contents(out) == contents(whole.path)
