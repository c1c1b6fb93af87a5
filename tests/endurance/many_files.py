"""Very many small files: does a file cost the same when there are ten times as many? And memory?

    python tests/endurance/many_files.py 10000 100000

makes so many recordings of 0.1 s in 10 classes (a temporary folder, removed afterwards; 100,000
need 0.4 GB, and their store 0.3 GB), and for each number lists them, extracts a quarter of them or
more until Ctrl-C, extracts the rest, and runs the same command a third time, which finds nothing to
do. Each run is a process of its own, whose peak memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RATE, LENGTH, CLASSES = 16_000, 1_600, 10

# One run: its seconds, its peak memory in MB, and how many recordings it has got to.
RUN = """
import json, os, resource, signal, sys, time
import audiocls
from audiocls.data.listing import list_recordings

what, data, out = sys.argv[1:]
total, started = 0, time.perf_counter()
def stop_half_way(progress):
    global total
    total = progress.recordings
    if what == "interrupted" and 4 * progress.recordings >= progress.total:
        os.kill(os.getpid(), signal.SIGINT)
try:
    if what == "list":
        total = len(list_recordings(data).recordings)
    else:
        audiocls.extract(
            data, "mel-16k", out, clip_s=0.1, hop_s=0.1, threads=1, progress=stop_half_way
        )
except KeyboardInterrupt:
    pass
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB, as Linux counts
print(json.dumps({"seconds": seconds, "peak_mb": peak, "recordings": total}))
"""


def make(folder: Path, n: int) -> None:
    """`n` recordings of noise, all different, as 16-bit WAV."""
    for name in range(CLASSES):
        (folder / f"class-{name}").mkdir(parents=True)
    size = 2 * LENGTH
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (1).to_bytes(2, "little") * 2 + RATE.to_bytes(4, "little")
    header += (2 * RATE).to_bytes(4, "little") + (2).to_bytes(2, "little")
    header += (16).to_bytes(2, "little") + b"data" + size.to_bytes(4, "little")
    for i in range(n):
        (folder / f"class-{i % CLASSES}" / f"{i:07}.wav").write_bytes(header + os.urandom(size))


def run(what: str, data: Path, out: Path) -> dict[str, float]:
    """One run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, what, str(data), str(out)],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="+", type=int)
    print(
        "| files | run | seconds | µs a file | peak memory, MB |\n| --- | --- | --- | --- | --- |"
    )
    for n in parser.parse_args().numbers:
        with tempfile.TemporaryDirectory() as name:
            data, out = Path(name) / "data", Path(name) / "store"
            make(data, n)
            for what in ("list", "interrupted", "resumed", "nothing to do"):
                kept = min(n, 1024 * len(list(out.glob("shards/*.recordings.jsonl"))))
                found = run(what, data, out)
                done = (found["recordings"] or n) - kept
                cost = f"{found['seconds'] / done * 1e6:.0f}" if done else ""
                row = [f"{n:,}", what, f"{found['seconds']:.2f}", cost, f"{found['peak_mb']:.0f}"]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
