"""From recordings to the store that training takes: made, or gone on with if it is there."""

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

KINDS = ("samples", "features")


def prepare_store(
    data: str | Path,
    kind: str = "samples",
    feature: str | None = None,
    *,
    root: str | Path = "features",
    start: Start | None = None,
    clip_s: float | None = None,
    hop_s: float | None = None,
    restart: bool = False,
    **settings: Any,
) -> Path:
    """Makes the store that a model of `feature` is trained on, under `root`, and gives its folder:
    DATA-samples-RATE, of which every epoch draws new windows, or DATA-FEATURE.

    data: anything that `extract` takes, also a table. kind: samples or features. feature: a preset,
    default mel, or with `start` that of the model. clip_s, hop_s: of a store of features. restart:
    a store that is there and was made otherwise, or of other data, is made anew. settings: as
    `extract` takes them, such as `labelling`, `progress`, `notice`.

    Raises what `extract` raises; SettingError also if `data` is a store already.
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
