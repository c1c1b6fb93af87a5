"""Mutated recordings through `load`, `extract` and `predict`, for so many seconds.

    python tests/endurance/mutants.py 600

A mutant is a sound recording of one of many kinds with bytes changed, moved or left out. Right is
an answer that is finite, or an OSError or DataError of one line. Anything else ends the run, with
the number that makes the mutant again.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import audiocls
from audiocls.engine.audio import load_bytes
from audiocls.errors import AudioclsError

SEEDS = Path(__file__).resolve().parent.parent.parent / "fuzz/seeds/decode"
# Of so many mutants all but one go through `load`; the other ones through the rest as well.
RARE = 50


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to twenty changes of any kind."""
    mutant = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        at, how = draw.randrange(len(mutant) + 1), draw.randrange(5)
        if how == 0 and mutant:
            mutant[at % len(mutant)] ^= 1 << draw.randrange(8)
        elif how == 1:
            size = draw.choice([1, 2, 4, 8])
            mutant[at : at + size] = draw.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size
        elif how == 2:
            del mutant[at : at + draw.choice([1, 3, 16, 1000])]
        elif how == 3:
            mutant[at:at] = mutant[draw.randrange(len(mutant) + 1) :][: draw.choice([1, 4, 64])]
        else:
            mutant[at : at + 4] = draw.randbytes(4)
    return bytes(mutant)


def check(number: int, found: Any) -> None:
    """Ends the run where something is neither finite nor told as errors are told."""
    if isinstance(found, Exception):
        good = "\n" not in str(found) and 0 < len(str(found)) < 2000
    else:
        good = bool(np.isfinite(found).all())
    if not good:
        raise SystemExit(f"mutant {number} or one of the {RARE} before it: {found!r}")


def main() -> None:
    """Runs until the time is over, or something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    args = parser.parse_args()
    seeds = [file.read_bytes() for file in sorted(SEEDS.iterdir())]
    model = audiocls.Classifier.load("orchestra", threads=1)
    number, heard, end = args.first, 0, time.monotonic() + args.seconds
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < end:
            batch = []
            for _ in range(RARE):
                draw = random.Random(number)
                batch.append(mutated(draw.choice(seeds), draw))
                try:
                    samples, _ = load_bytes(batch[-1])
                    check(number, samples)
                    heard += 1
                except (OSError, AudioclsError) as error:
                    check(number, error)
                number += 1
            folder = Path(name) / "data/a"
            folder.mkdir(parents=True, exist_ok=True)
            for i, mutant in enumerate(batch):
                (folder / f"{i}.wav").write_bytes(mutant)
            for found in model.recordings([str(folder / f"{i}.wav") for i in range(RARE)], None, 1):
                check(number, found if isinstance(found, Exception) else found.answer)
            try:
                store = audiocls.extract(
                    Path(name) / "data", "mel-16k", Path(name) / "store", restart=True,
                    accept_failures=True, threads=1,
                )  # fmt: skip
                check(number, store.numpy())
            except (OSError, AudioclsError) as error:
                check(number, error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{number - args.first} mutants, {heard} of them heard, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
