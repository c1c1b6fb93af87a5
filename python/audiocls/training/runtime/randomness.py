"""All randomness is a function of (seed, epoch, purpose), never of a stream that has to be saved.

So a resumed run draws what an undisturbed one draws, and several processes agree without talking.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What is drawn: each purpose has numbers of its own."""

    ORDER = 0
    AUGMENTATION = 1
    NETWORK = 2  # what an architecture draws in a step, such as dropout
    PHRASE = 3  # which recordings follow in a clip


def derive_seed(seed: int, epoch: int, purpose: Purpose) -> int:
    """Returns a seed of 63 bits for torch, mixed by numpy's SeedSequence."""
    words = np.random.SeedSequence((seed, epoch, purpose)).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def make_generator(seed: int, epoch: int, purpose: Purpose) -> torch.Generator:
    """Returns a generator on the CPU, so that draws do not depend on the device that trains."""
    return torch.Generator().manual_seed(derive_seed(seed, epoch, purpose))
