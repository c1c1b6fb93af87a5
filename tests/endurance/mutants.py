"""Mutated recordings through `load`, `extract` and `predict`.

    python tests/endurance/mutants.py COUNTS.json --until 1000000

A mutant is a sound recording of one of many kinds with bytes changed, moved or left out. Right is
an answer that is finite, or an OSError or DataError of one line. Anything else ends the run, with
the numbers that make the mutants again. Of 50 batches 49 are for the engine alone; in one, what it
cannot decode goes to the decoders in the child process as well. COUNTS.json says how far it is: a
run that is ended goes on there.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import audiocls
from audiocls.engine import _fallback
from audiocls.errors import AudioclsError
from audiocls.files import write_json

SEEDS = Path(__file__).resolve().parent.parent.parent / "fuzz/seeds/decode"
BATCH = 1000
BATCHES_A_CHILD = 50


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


def check(number: int, found: Any) -> bool:
    """Whether something was heard. Ends the run if it is neither finite nor told as errors are."""
    if isinstance(found, Exception):
        good = isinstance(found, (OSError, AudioclsError))
        good = good and "\n" not in str(found) and 0 < len(str(found)) < 2000
    else:
        good = bool(np.isfinite(found).all())
    if not good:
        raise SystemExit(f"mutant {number} or one of the {BATCH} after it: {found!r}")
    return not isinstance(found, Exception)


def batch(first: int, seeds: list[bytes], model: audiocls.Classifier, folder: Path) -> Counter[str]:
    """Gives `BATCH` mutants to all three; how many each of them heard."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data/a").mkdir(parents=True)
    heard: Counter[str] = Counter()
    files = []
    for number in range(first, first + BATCH):
        draw = random.Random(number)
        files.append(folder / f"data/a/{number}.wav")
        files[-1].write_bytes(mutated(draw.choice(seeds), draw))
        try:
            heard["load"] += check(number, audiocls.load(files[-1])[0])
        except Exception as error:
            check(number, error)
    for found in model.recordings([str(file) for file in files], None, 1):
        answer = found if isinstance(found, Exception) else found.answer
        heard["predict"] += check(first, answer)
    try:
        store = audiocls.extract(
            folder / "data", "mel-16k", folder / "store",
            clip_s=0.05, accept_failures=True, threads=1,
        )  # fmt: skip
        check(first, store.numpy())
        heard["extract"] += sum(recording.status == "ok" for recording in store.recordings)
    except Exception as error:
        check(first, error)
    return heard


def main() -> None:
    """Goes on until there are enough, or something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("counts", type=Path)
    parser.add_argument("--until", type=int, default=1_000_000)
    parser.add_argument("--model", default="orchestra")
    args = parser.parse_args()
    seeds = [file.read_bytes() for file in sorted(SEEDS.iterdir())]
    model = audiocls.Classifier.load(args.model, threads=1)
    counts = json.loads(args.counts.read_text()) if args.counts.exists() else {"mutants": 0}
    decoders = _fallback.DECODERS
    with tempfile.TemporaryDirectory() as name:
        while counts["mutants"] < args.until:
            first = counts["mutants"]
            child = first // BATCH % BATCHES_A_CHILD == 0
            _fallback.DECODERS = decoders if child else ()
            counts["mutants"] += BATCH
            counts["with the child"] = counts.get("with the child", 0) + BATCH * child
            for what, heard in batch(first, seeds, model, Path(name) / "batch").items():
                counts[what] = counts.get(what, 0) + heard
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
            counts["peak MB"] = max(counts.get("peak MB", 0), peak)
            write_json(args.counts, counts)


if __name__ == "__main__":
    main()
