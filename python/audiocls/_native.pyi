"""Types of the Rust engine; stubtest holds this file to the compiled module."""

from os import PathLike

import numpy as np
from numpy.typing import NDArray

__version__: str

def load(
    path: str | PathLike[str], sample_rate: int | None = None
) -> tuple[NDArray[np.float32], int]: ...
def load_bytes(
    data: bytes, name: str | PathLike[str], sample_rate: int | None = None
) -> tuple[NDArray[np.float32], int]: ...
def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]: ...
