"""From recordings to the store that training takes: made, or continued if it is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocls.engine.spec import FeatureSpec
from audiocls.errors import ChoiceError, DataError, SettingError
from audiocls.store.extraction import extract
from audiocls.store.place import is_store, store_name

if TYPE_CHECKING:
    from audiocls.training.start import Start

KINDS = ("features", "samples")


def prepare_store(
    data: str | Path,
    kind: str = "features",
    feature: str | None = None,
    *,
    root: str | Path = "features",
    start: Start | None = None,
    clip_s: float | None = None,
    hop_s: float | None = None,
    restart: bool = False,
    **settings: Any,
) -> Path:
    """Makes the store that a model of `feature` is trained on, and returns its folder.

    Under `root` it is DATA-samples-RATE, of which every epoch draws new windows, or DATA-FEATURE.

    Args:
        data: anything that `extract` takes, also a table.
        kind: features or samples.
        feature: a preset; by default mel, or with `start` that of the model.
        root: the folder of stores.
        start: the model to begin with.
        clip_s: of a store of features, in seconds.
        hop_s: of a store of features, in seconds.
        restart: makes a store that has other settings or data anew.
        settings: as `extract` takes them, such as `labelling`, `progress`, `notice`.

    Raises:
        SettingError: `data` is a store already, or as `extract`.
        DataError: as `extract`.
    """
    if kind not in KINDS:
        raise ChoiceError("store", kind, KINDS)
    if is_store(data):
        rule = f"is a feature store: `features` {data} trains on it"
        raise SettingError("DATA", str(data), rule)
    if start is not None and feature is None:
        spec, feature = start.description.spec, start.name
        cut = start.description.cut
        clip_s = cut.clip_s if clip_s is None else clip_s
        hop_s = cut.hop_s if hop_s is None else hop_s
    else:
        feature = feature or "mel"
        spec = FeatureSpec.preset(feature)
    stem = _as_name(Path(store_name(data)).stem) or "data"
    if kind == "samples":
        out = Path(root) / f"{stem}-samples-{spec.sample_rate}"
        spec = FeatureSpec.preset("samples", sample_rate=spec.sample_rate)
        settings |= {"name": "samples"}
    else:
        out = Path(root) / f"{stem}-{_as_name(feature)}"
        settings |= {"name": feature, "clip_s": clip_s, "hop_s": hop_s}
    try:
        extract(data, spec, out, **settings)
    except (SettingError, DataError):
        if not (restart and out.exists()):
            raise
        extract(data, spec, out, restart=True, **settings)
    return out


def _as_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)
