"""Writes docs/evidence/parity.md: how far every preset is from its library. `make parity`."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import references
import soundfile
from references import REFERENCES, Reference

from audiocls import Extractor, __version__
from audiocls.engine.features import list_instruction_sets

ROOT = Path(__file__).resolve().parent.parent
UNITS = {"dB": "dB", "nat": "natural log", "absolute": "absolute"}


def measured(name: str, reference: Reference, recordings: list[np.ndarray]) -> str:
    """One line of the table."""
    extractor = Extractor(name, threads=1)
    rate = extractor.spec.sample_rate
    clips = [
        y
        for n in (reference.min_samples, rate // 2, int(1.7 * rate))
        for y in references.signals(n, rate).values()
    ]
    worst = np.max([reference.errors(extractor(y), reference.features(y)) for y in clips], axis=0)
    cells = [
        f"`{name}`",
        f"{reference.library} {reference.version}",
        UNITS[reference.unit],
        f"{reference.tolerance:g}",
        f"{worst[0]:.1e}",
        "–" if reference.unit == "absolute" else f"{worst[1]:.1e}",
    ]
    spec = extractor.spec
    tones = references.tonal(int(0.7 * rate), rate).values()
    notes = [y[: 2 * rate] for y in recordings]
    for hard in (tones, notes):
        single, library, _ = references.against_oracle(
            spec.replace(precision="single"), reference, hard
        )
        double = references.against_oracle(spec.replace(precision="double"), reference, hard)[0]
        cells += [f"{e:.1e}" if hard else "–" for e in (library, single, double)]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    folder = ROOT.parent / "shared" / "data" / "philharmonia"
    paths = [path for path in sorted(folder.rglob("*.mp3")) if path.stat().st_size]
    recordings = [
        soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
        for path in paths[:: max(1, len(paths) // 50)][:50]
    ]
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    lines += [measured(*item, recordings) for item in REFERENCES.items()]
    table = "\n".join(lines)
    page = ROOT / "docs" / "evidence" / "parity.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(PAGE.format(
        table=table, version=__version__, isa=list_instruction_sets()[0],
        machine=platform.machine(),
        recordings=len(recordings) or "no (absent)",
    ))  # fmt: skip
    print(table)


HEAD = (
    "| preset | library | unit | promised | largest error | power, of the peak "
    "| tonal: library | single | double | real: library | single | double |"
)
PAGE = """# Equality with the reference libraries

Each preset computes what the library that owns its convention computes. This page is made by

```bash
make parity        # python tests/parity_table.py
```

with audiocls {version} on {machine}, instruction set {isa}.

{table}

- **Largest error**: of any value, on noise, music, speech-like, an impulse, a pure tone,
  near-silence, silence, DC and a square wave, each in three lengths. Of logarithms, bins within
  80 dB of the clip's maximum count. librosa, torchaudio and python_speech_features compute in
  float64 on the same samples. Whisper's extractor rounds its spectrum to complex64.
  kaldi-native-fbank has float32 only.
- **Tonal**: tones, a chirp, a chord, a voice, without a trace of noise. **Real**: {recordings}
  single notes of instruments. Both have gaps 80 dB deep. There a float32 transform is some
  thousandths of a decibel off, this one as much as pocketfft's or Kaldi's. The columns are
  distances from a float64 oracle: of the library, of `precision` single and of double.

`mfcc` and `mfcc-kaldi` are double as they come, because their coefficients mix all bins. The
other presets are single: `mel-16k` and `whisper` then keep the promise on the signals of the
first columns, but not on every tone. If that thousandth of a decibel matters, pass `--set
precision=double`. It takes 1.3 to 1.7 times as long.

## What is tested

- `tests/oracle.py` states every setting once more, slowly, in float64. `test_parity_oracle.py`
  shows that it equals the five libraries to float64 rounding.
- `test_parity_presets.py` holds the engine to the libraries and the oracle: the signals above,
  every frame count from 1 sample to 3 s, real recordings.
- `test_parity_settings.py` draws settings and compares with the oracle, and with librosa and
  torchaudio if they can express them.
- `test_parity_invariance.py` shows that streams, batches and threads give the same bits, and that
  instruction sets agree.

## Where the libraries differ from what one may expect

- A window of one point is 1, as in scipy. A clip shorter than the mirrored part is refused with
  padding `reflect`, as torch does.
- For an odd `n_fft` torchaudio spaces its mel filters as if the last bin stood at half the sample
  rate. The engine, like librosa, uses the bins' own frequencies.
- librosa clamps `top_db` by the maximum of a whole batch. Here each clip has its own.
- Kaldi gives no frames for a clip shorter than one, and so does the engine.
"""


if __name__ == "__main__":
    main()
