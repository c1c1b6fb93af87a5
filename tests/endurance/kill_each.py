"""`extract`, `merge`, `train` and `compare`, killed at any moment, and called again until they end.

    python tests/endurance/kill_each.py COUNTS.json --kills 50

Data are tiny, and a command runs in a fork of a process that has imported everything, so that a
kill costs less than a second. SIGKILL comes at a drawn time within what an undisturbed run took.
After one to three kills the command runs to its end, and what it wrote must be what the undisturbed
run wrote: stores byte for byte, runs with the same weights, tables and metrics but for times. Left
out is the graph of a trained model, which takes longer than its training. COUNTS.json says how far
it is: a run that is ended goes on there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from finished_run import TIMES
from finished_run import contents as contents_of_run
from many_files import make

import audiocls.classifier.graph
import audiocls.compare.grid
import audiocls.training.loop
from audiocls.cli import main as command_line
from audiocls.files import write_json
from audiocls.store import planning

planning.SHARD_RECORDINGS = 4
audiocls.classifier.graph.write_graph = lambda folder: None
HOW = "--feature mel-16k --clip-s 0.1 --hop-s 0.1 --threads 1"
TRAIN = "--epochs 3 --batch-size 16 --device cpu"


def stores(folder: Path) -> dict[str, bytes]:
    """All files but locks."""
    files = (f for f in folder.rglob("*") if f.is_file() and f.name != ".lock")
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def runs(folder: Path) -> dict[str, Any]:
    """Weights, metrics and tables of every run, but for times."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.name == "metrics.json":
            found[name] = contents_of_run(file.parent)
        elif file.suffix == ".csv":
            with file.open(newline="") as table:
                rows = list(csv.DictReader(table))
            timed = {*TIMES, "cpu_ms", "seconds"}
            found[name] = [{k: v for k, v in row.items() if k not in timed} for row in rows]
    return found


# Command → its arguments, what stands in its folder before, and what is compared.
COMMANDS: dict[str, tuple[str, str | None, Callable[[Path], Any]]] = {
    "extract": (f"extract data {HOW} --out out", None, stores),
    "merge": ("merge out", "parts", stores),
    "train": (f"train --features store --model lstm {TRAIN} --out out", None, runs),
    "compare": (f"compare --features store --models lstm,newcnn {TRAIN} --out out", None, runs),
}


def fork(command: str) -> int:
    """The process that runs a command, and says nothing."""
    if pid := os.fork():
        return pid
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    code = 1
    try:
        command_line(command.split())
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def end(pid: int, after: float | None) -> int:
    """Waits for a process, and kills it if it takes longer; how it ended."""
    deadline = time.monotonic() + (3600 if after is None else after)
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            done = os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(done[1])


def begin(before: str | None) -> None:
    shutil.rmtree("out", ignore_errors=True)
    if before is not None:
        shutil.copytree(before, "out")


def whole(command: str) -> None:
    if code := end(fork(command), None):
        raise SystemExit(f"{command!r} ended with {code}: {Path('said.txt').read_text()}")


def main() -> None:
    """Until every command was killed often enough, or something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("counts", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    args = parser.parse_args()
    file = args.counts.absolute()
    counts: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        make(Path("data"), 40)
        whole(f"extract data {HOW} --out store")
        for i in (1, 2, 3):
            whole(f"extract data {HOW} --out parts --shard {i}/3")
        for which, (command, before, contents) in COMMANDS.items():
            begin(before)
            started = time.monotonic()
            whole(command)
            took, expected = time.monotonic() - started, contents(Path("out"))
            tries = 0
            while (kills := counts.get(which, 0)) < args.kills:
                # By tries, or one in which no kill came in time would be drawn for ever.
                draw, here = random.Random(f"{which} {kills} {tries}"), 0
                tries += 1
                begin(before)
                for _ in range(draw.randint(1, 3)):
                    here += end(fork(command), draw.uniform(0, took)) == -signal.SIGKILL
                whole(command)
                if contents(Path("out")) != expected:
                    shutil.copytree("out", file.with_suffix(".differs"), dirs_exist_ok=True)
                    raise SystemExit(f"{which} after kill {kills}: differs from an undisturbed run")
                counts[which] = kills + here
                write_json(file, counts)


if __name__ == "__main__":
    main()
