"""Audio classification from your own recordings.

The public names below load on first use, so that `import audiocls` and the command line stay fast.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from audiocls.data.annotations import Event as Event
    from audiocls.data.labelling import Labelling as Labelling
    from audiocls.engine.audio import load as load
    from audiocls.engine.cut import Cut as Cut
    from audiocls.engine.features import Extractor as Extractor
    from audiocls.engine.features import StreamingExtractor as StreamingExtractor
    from audiocls.engine.spec import FeatureSpec as FeatureSpec
    from audiocls.engine.spec import presets as presets
    from audiocls.inference.predict import Classifier as Classifier
    from audiocls.models import build_model as build_model
    from audiocls.store.augmenter import Augmenter as Augmenter
    from audiocls.store.extraction import extract as extract
    from audiocls.store.store import Store as Store
    from audiocls.store.store import open_store as open_store

# Before onnxruntime is imported, which from 1.29 on would report each use to its makers, keep a
# number for this machine, and leave files in the home and temporary folders.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Augmenter": "store.augmenter",
    "Classifier": "inference.predict",
    "Cut": "engine.cut",
    "Event": "data.annotations",
    "Extractor": "engine.features",
    "FeatureSpec": "engine.spec",
    "Labelling": "data.labelling",
    "Store": "store.store",
    "StreamingExtractor": "engine.features",
    "build_model": "models",
    "extract": "store.extraction",
    "load": "engine.audio",
    "open_store": "store.store",
    "presets": "engine.spec",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from audiocls.engine.dataset import __version__

        return __version__
    if name not in _HOME:
        raise AttributeError(f"module 'audiocls' has no attribute {name!r}")
    return getattr(importlib.import_module(f"audiocls.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*_HOME, "__version__"]
