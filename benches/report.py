"""Measures everything that docs/evidence/speed.md shows, into benches/results.json. `make bench`.

`docs/generate.py` draws the page and the picture of README.md from that file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import end_to_end
import librosa
import numpy as np
import training
from contenders import SETUPS, Setup, check_equal, set_threads
from paired import ratio, seconds

import audiocls
from audiocls import Extractor, FeatureSpec
from audiocls.engine.features import list_instruction_sets

RESULTS = Path(__file__).resolve().with_name("results.json")
CORES = len(os.sched_getaffinity(0))
DISTRIBUTIONS = {
    "librosa, clip by clip": "librosa",
    "librosa, batch": "librosa",
    "torch by hand": "torch",
}


Table = dict[str, Any]


def table(head: list[str], rows: list[list[str]]) -> Table:
    return {"head": head, "rows": rows}


def rate(clips: int, taken: list[float]) -> str:
    """Clips a second, three figures."""
    return f"{float(f'{clips / statistics.median(taken):.3g}'):,.0f}"


def features(setup: Setup, threads: int) -> list[list[str]]:
    """One line for each contender: its rate, ours in the same rounds, and the ratio."""
    set_threads(threads)
    n = 1 if setup.seconds > 60 else 128
    clips = setup.clips(n)
    runs: dict[str, Callable[[], object]] = {}
    pairs = {}
    for contender in setup.contenders:
        if threads > 1 and not contender.parallel:
            continue
        check_equal(setup, contender, clips[:3])
        # This engine once for each way in which it must be set.
        own = f"audiocls {sorted(contender.ours.items())}"
        samples = clips if contender.gain == 1 else np.float32(contender.gain) * clips
        ours = setup.ours(contender, threads)
        runs.setdefault(own, partial(ours, samples))
        runs[contender.library] = partial(contender.run, clips)
        pairs[contender.library] = (own, contender.note)
    taken = seconds(runs, rounds=5 if n == 1 else 9)
    set_threads(1)
    # Clips a second, or of one long signal how many seconds a second.
    unit = n if n > 1 else round(setup.seconds)
    return [
        [
            setup.title,
            f"{library} {version(DISTRIBUTIONS.get(library, library))}",
            rate(unit, taken[library]),
            rate(unit, taken[own]),
            f"{ratio(taken[library], taken[own]):.2f}",
            note,
        ]
        for library, (own, note) in pairs.items()
    ]


def all_features(threads: int) -> Table:
    head = ["set-up", "library", "its clips/s", "audiocls", "ratio", "compared as"]
    return table(head, [row for setup in SETUPS for row in features(setup, threads)])


def scaling() -> Table:
    """Every set-up on 1 core and on all."""
    rows = []
    for setup in SETUPS:
        n = 1 if setup.seconds > 60 else 512
        clips = setup.clips(n)
        counts = sorted({1, 2, CORES} if CORES > 1 else {1})
        runs = {str(c): partial(setup.ours(None, c), clips) for c in counts}
        taken = seconds(runs)
        unit = n if n > 1 else round(setup.seconds)
        rows.append([
            setup.title,
            *(rate(unit, taken[str(threads)]) for threads in counts),
            f"{ratio(taken['1'], taken[str(counts[-1])]):.2f}",
        ])  # fmt: skip
    return table(["set-up", *(f"{c} thread{'s' * (c > 1)}" for c in counts), "ratio"], rows)


def growth() -> Table:
    """`mel` on clips of growing length, and on growing numbers of clips."""
    extractor = Extractor("mel", threads=1)
    rows = []
    rng = np.random.default_rng(0)
    for n, length_s in [
        (256, 0.1), (256, 0.5), (256, 1), (64, 3), (16, 10), (4, 60), (1, 600), (1, 0.5), (8, 0.5),
        (64, 0.5), (1024, 0.5), (4096, 0.5),
    ]:  # fmt: skip
        clips = 0.1 * rng.standard_normal((n, int(length_s * 44_100)), np.float32)
        out = extractor.batch(clips)
        taken = seconds({"": partial(extractor.batch, clips, out)}, rounds=5)[""]
        per_second = n * length_s / statistics.median(taken)
        rows.append([f"{n:,}", f"{length_s:g} s", f"{per_second:,.0f}"])
    return table(["clips", "of", "seconds of sound a second"], rows)


def precision() -> Table:
    """Every set-up in single and in double precision, on one core."""
    rows = []
    for setup in SETUPS:
        if setup.seconds > 60:
            continue
        spec = FeatureSpec.preset(setup.preset)
        clips = setup.clips(128)
        taken = seconds({
            p: partial(Extractor(spec.replace(precision=p), threads=1).batch, clips)
            for p in ("single", "double")
        })  # fmt: skip
        rows.append([
            setup.title,
            *(rate(128, taken[p]) for p in taken),
            f"{ratio(taken['double'], taken['single']):.2f}",
        ])  # fmt: skip
    return table(["set-up", "single, clips/s", "double, clips/s", "ratio"], rows)


def stages() -> Table:
    """What each step of `mel` and `fbank` costs: the same spec with and without it."""
    rows = []
    for name in ("mel", "mfcc-librosa", "fbank", "whisper"):
        full = FeatureSpec.preset(name)
        off = {"kind": "mel", "n_mfcc": 0, "lifter": 0.0, "energy": "none", "top_db": None}
        no_log = {
            **off, "log": "none", "log_floor": 1e-10, "scale": 1.0, "offset": 0.0,
        }  # fmt: skip
        steps = {
            "frames, window, FFT, power": full.replace(**no_log, n_mels=1),
            "filters": full.replace(**no_log),
            "logarithm": full.replace(**off),
        }
        if full.top_db is not None:
            steps["top_db"] = full.replace(**{**off, "top_db": full.top_db})
        if full.kind == "mfcc":
            steps["DCT"] = full
        setup = Setup(name, name, 0.5, ())
        clips = setup.clips(128)
        runs = {}
        for step, spec in steps.items():
            extractor = Extractor(spec, threads=1)
            out = extractor.batch(clips)
            runs[step] = partial(extractor.batch, clips, out)
        taken = seconds(runs, rounds=15)
        frames = len(clips) * Extractor(full).n_frames(clips.shape[1])
        whole = statistics.median(list(taken.values())[-1])
        before = [0.0] * 15
        for step, spent in taken.items():
            own = statistics.median(a - b for a, b in zip(spent, before, strict=True))
            before = spent
            rows.append([name, step, f"{own / frames * 1e6:.2f}", f"{100 * own / whole:.0f} %"])
    return table(["preset", "step", "µs a frame", "share"], rows)


def files(every: int) -> Table:
    """From MP3s to features on disk, and decoding alone."""
    folder = end_to_end.recordings()
    if folder is None:
        return table([], [])
    rows = []
    with tempfile.TemporaryDirectory() as data:
        paths = end_to_end.subset(folder, every, Path(data))
        end_to_end.check_equal(Path(data), paths)
        n = end_to_end.extract(Path(data), CORES)
        for runs, what in (
            (end_to_end.ways(Path(data), paths, CORES), "files → features on disk"),
            (end_to_end.decoders(paths), "decoding alone, 1 thread"),
            (end_to_end.resamplers(paths), "decoding and resampling to 16 kHz, 1 thread"),
            (end_to_end.to_features(paths), "samples → 16 kHz → `mel-16k`, 1 thread"),
        ):
            taken = seconds(runs, rounds=3, at_least=0.0)
            own = next(iter(runs))
            for name, spent in taken.items():
                rows.append([
                    what, name, rate(len(paths), spent), rate(n, spent),
                    f"{ratio(spent, taken[own]):.2f}",
                ])  # fmt: skip
    head = ["what", "how", "files/s", "clips/s", "time, of audiocls's"]
    note = f"{len(paths):,} recordings, {n:,} clips of 0.5 s, `mel`"
    return table(head, rows) | {"note": note}


def machine() -> Table:
    """On what is measured: each table keeps it, for tables may be of different days."""
    cpu = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    names = ("librosa", "torch", "torchaudio", "numpy", "specux", "auvux-dsp", "asrfront", "sonara")
    return {
        "machine": f"{cpu}, {CORES} cores, instruction set {list_instruction_sets()[0]}",
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
        "versions": {"audiocls": audiocls.__version__} | {name: version(name) for name in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names of tables, with commas")
    parser.add_argument("--every", type=int, default=40, help="use each so manieth recording")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # What the peers warn of is no concern of ours.
    set_threads(1)
    librosa.feature.melspectrogram(y=np.zeros(4096, np.float32), sr=44_100)  # Loads lazily.
    tables: dict[str, Callable[[], Table]] = {
        "one-core": lambda: all_features(1),
        "all-cores": lambda: all_features(CORES),
        "scaling": scaling,
        "growth": growth,
        "precision": precision,
        "stages": stages,
        "files": lambda: files(options.every),
        "training": lambda: table(training.HEAD, training.every_model(rounds=3)),
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, make in tables.items():
        if options.only and name not in options.only.split(","):
            continue
        start = time.perf_counter()
        results[name] = machine() | make()
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
