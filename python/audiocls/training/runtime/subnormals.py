"""The numbers nearest to zero, with which a processor computes slowly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def flush_subnormals() -> Iterator[None]:
    """Makes torch take zero for numbers below 1.2e-38, if the processor can.

    Adam's mean of a gradient that has become zero loses a tenth in every step. From the 800th step
    or so it is subnormal, and each product with it takes tens of times as long: an epoch of `cnn`
    on `mel` with the recipe `study` 430 s instead of 110.

    It holds for this thread and those that torch starts meanwhile. Torch keeps its threads, so
    enter it before anything large is computed.
    """
    before = _are_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _are_zero() -> bool:
    return not (torch.tensor(1e-39) * 1.0).item()
