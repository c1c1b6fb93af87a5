"""Writing recordings, as all the scripts here do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


def write_recording(path: Path, samples: NDArray[np.float64], rate: int) -> None:
    """Mono, 16 bit, in the format of the suffix; the name appears when the file is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    soundfile.write(partial, samples, rate, subtype="PCM_16", format=path.suffix[1:].upper())
    partial.rename(path)
