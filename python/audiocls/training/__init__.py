"""From a feature store to a trained model with scores that can be trusted.

The names below load on first use: only what trains imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocls.training.data.splits import Split as Split
    from audiocls.training.data.splits import make_split as make_split
    from audiocls.training.loop import fit as fit
    from audiocls.training.loop import train as train
    from audiocls.training.prepare import prepare_store as prepare_store
    from audiocls.training.recipe import Recipe as Recipe
    from audiocls.training.run import Result as Result
    from audiocls.training.run import Run as Run
    from audiocls.training.runtime.device import Device as Device
    from audiocls.training.start import Start as Start
    from audiocls.training.trial import Trial as Trial

_HOME = {
    "Device": "runtime.device",
    "Recipe": "recipe",
    "Result": "run",
    "Run": "run",
    "Split": "data.splits",
    "Start": "start",
    "Trial": "trial",
    "fit": "loop",
    "make_split": "data.splits",
    "prepare_store": "prepare",
    "train": "loop",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'audiocls.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"audiocls.training.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*_HOME]
