"""Audio classification from your own recordings.

The public names below load on first use, so that `import audiocls` and the command line stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocls.audio import load
    from audiocls.extraction import extract
    from audiocls.features import Extractor, FeatureSpec, StreamingExtractor, presets
    from audiocls.models import build_model
    from audiocls.store import Store, open_store

_HOME = {
    "Extractor": "features",
    "FeatureSpec": "features",
    "Store": "store",
    "StreamingExtractor": "features",
    "build_model": "models",
    "extract": "extraction",
    "load": "audio",
    "open_store": "store",
    "presets": "features",
}

__all__ = [
    "Extractor",
    "FeatureSpec",
    "Store",
    "StreamingExtractor",
    "build_model",
    "extract",
    "load",
    "open_store",
    "presets",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from audiocls._native import __version__

        return __version__
    if name not in _HOME:
        raise AttributeError(f"module 'audiocls' has no attribute {name!r}")
    return getattr(importlib.import_module(f"audiocls.{_HOME[name]}"), name)
