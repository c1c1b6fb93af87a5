"""Audio classification from your own recordings.

The public names below load on first use, so that `import audiocls` and the command line stay fast.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocls.audio import load as load
    from audiocls.data.extraction import extract as extract
    from audiocls.data.store import Store as Store
    from audiocls.data.store import open_store as open_store
    from audiocls.features import Extractor as Extractor
    from audiocls.features import StreamingExtractor as StreamingExtractor
    from audiocls.inference.predict import Classifier as Classifier
    from audiocls.models import build_model as build_model
    from audiocls.spec import FeatureSpec as FeatureSpec
    from audiocls.spec import presets as presets
    from audiocls.training.augment import Augmenter as Augmenter

# Before onnxruntime is imported, which from 1.29 on would report each use to its makers, keep a
# number for this machine, and leave files in the home and temporary folders.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Augmenter": "training.augment",
    "Classifier": "inference.predict",
    "Extractor": "features",
    "FeatureSpec": "spec",
    "Store": "data.store",
    "StreamingExtractor": "features",
    "build_model": "models",
    "extract": "data.extraction",
    "load": "audio",
    "open_store": "data.store",
    "presets": "spec",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from audiocls._native import __version__

        return __version__
    if name not in _HOME:
        raise AttributeError(f"module 'audiocls' has no attribute {name!r}")
    return getattr(importlib.import_module(f"audiocls.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*_HOME, "__version__"]
