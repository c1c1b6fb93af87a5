"""Very many files, extracted by a command that is killed at random again and again.

    nice python tests/endurance/kills.py 200000

makes so many recordings of 0.1 s in 10 classes (a temporary folder, removed afterwards; 200,000
need 1.6 GB with their two stores), extracts them once undisturbed, and once with SIGKILL, SIGTERM
or SIGINT at a drawn time until a run gets to its end. Both stores must be the same byte for byte;
memory and open files of each run, after its first second, are in the table.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_files import make
from soak import resident_mb


def extract(data: Path, out: Path, kill: tuple[float, signal.Signals] | None) -> tuple[int, str]:
    """One run: its exit code, and what it held."""
    options = ["--feature", "mel-16k", "--clip-s", "0.1", "--hop-s", "0.1", "--threads", "1"]
    command = [sys.executable, "-m", "audiocls", "extract", str(data), "--out", str(out), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    held: list[tuple[float, int]] = []
    started = time.monotonic()
    while process.poll() is None:
        try:
            open_files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            held.append((resident_mb(process.pid), open_files))
        except (OSError, StopIteration):
            break  # it has ended in between
        if kill and time.monotonic() - started > kill[0]:
            process.send_signal(kill[1])
            break
        time.sleep(0.1)
    code = process.wait()
    took = time.monotonic() - started
    # The first second is Python's start.
    later = held[10:] or held
    memory, files = max(m for m, _ in later), [f for _, f in later]
    row = f"{took:.0f} | {memory:.0f} | {min(files)}–{max(files)} |"
    return code, row


def contents(store: Path) -> dict[str, bytes]:
    """The bytes of each file, by name."""
    files = (f for f in store.rglob("*") if f.is_file())
    return {str(f.relative_to(store)): f.read_bytes() for f in files}


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=int)
    parser.add_argument("--most-s", type=float, default=20.0, help="of a run that is killed")
    parser.add_argument("--kills", type=int, default=20, help="after these it runs to its end")
    args = parser.parse_args()
    draw = random.Random(0)
    print("| run | ended by | shards | seconds | memory, MB | open files |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        data, whole, killed = (Path(name) / part for part in ("data", "whole", "killed"))
        make(data, args.files)

        def shards(store: Path) -> int:
            return len(list(store.glob("shards/*.recordings.jsonl")))

        code, row = extract(data, whole, None)
        print(f"| undisturbed | {code} | {shards(whole)} | {row}", flush=True)
        assert code == 0
        for i in range(args.kills + 1):
            how = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            after = draw.uniform(0.5, args.most_s)
            code, row = extract(data, killed, (after, how) if i < args.kills else None)
            print(f"| {i + 1} | {code} | {shards(killed)} | {row}", flush=True)
            if code == 0:
                break
        assert code == 0
        assert contents(whole) == contents(killed)
        print("both stores are the same, byte for byte")


if __name__ == "__main__":
    main()
