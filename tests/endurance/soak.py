"""An hour of sound through `audiocls stream` at 20 × real time: flat memory, and no clip late.

    python tests/endurance/soak.py MODEL [SECONDS [TIMES]]

Feeds a note in noise to the command's pipe at that pace, and prints what the process holds, every
tenth of the way, and in the end how long its clips took. Fails if memory grows by more than 8 MB
after the first tenth.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

import audiocls


def main() -> None:
    model = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3600.0
    times = float(sys.argv[3]) if len(sys.argv) > 3 else 20.0
    rate = audiocls.Classifier.load(model).sample_rate
    t = np.arange(rate) / rate
    second = 8000 * np.sin(2 * np.pi * 440 * t) + np.random.default_rng(0).normal(0, 500, rate)
    tenths = np.array_split(second.astype("<i2"), 10)
    args = ["stream", model, "--latency", "--threads", "1", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "audiocls", *args],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    answers = 0

    def count() -> None:
        nonlocal answers
        assert process.stdout
        for _ in process.stdout:
            answers += 1

    reader = threading.Thread(target=count)
    reader.start()
    held, started = [], time.monotonic()
    for i in range(round(10 * seconds)):
        process.stdin.write(tenths[i % 10].tobytes())
        time.sleep(max(0.0, started + (i + 1) / 10 / times - time.monotonic()))
        if (i + 1) % round(seconds) == 0:
            held.append(resident_mb(process.pid))
            print(f"{(i + 1) / 10:.0f} s of sound: {held[-1]:.1f} MB, {answers} clips", flush=True)
    process.stdin.close()
    print(process.stderr.read().decode().strip())
    reader.join()
    assert process.wait() == 0
    growth = max(held[1:]) - held[0]
    took = time.monotonic() - started
    print(f"{answers} clips in {took:.0f} s, memory grew by {growth:.1f} MB")
    assert growth < 8


def resident_mb(pid: int) -> float:
    """What a process holds in memory, on Linux."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


if __name__ == "__main__":
    main()
