"""The commands that make a comparison again, as one would type them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiocls.engine.spec import FeatureSpec
from audiocls.errors import SettingError
from audiocls.store.computed import ComputedStore
from audiocls.store.store import Store
from audiocls.training.recipe import Recipe


def extract_command(store: Store) -> str:
    """What extracted a store; one that is computed from samples, these."""
    if isinstance(store, ComputedStore):
        store = store.whole
    about = store.about
    words = ["audiocls", "extract", str(about.get("data", "DATA")), "--feature", store.feature]
    try:
        preset = FeatureSpec.preset(store.feature).to_dict()
    except SettingError:
        preset = {}
    for key, value in store.spec.to_dict().items():
        if key not in preset or preset[key] != value:
            words += ["--set", f"{key}={_json(value)}"]
    defaults = {"clip_s": 0.5, "hop_s": 0.5, "short": "pad", "min_rms": 0.0, "dtype": "float32"}
    words += _options({key: about.get(key, default) for key, default in defaults.items()}, defaults)
    return shlex.join([*words, "--out", str(store.path)])


def compare_command(
    features: Sequence[str | Path],
    models: Sequence[str],
    recipe: Recipe,
    *,
    feature: Sequence[str] | None = None,
    seeds: int,
    folds: int | str | None,
    group_by: str | None,
    device: str,
    out: str | Path,
) -> str:
    """What compares them."""
    words = ["audiocls", "compare", "--features", ",".join(map(str, features))]
    words += ["--feature", ",".join(feature)] if feature else []
    words += ["--models", ",".join(models)]
    given = {"seeds": seeds, "folds": folds, "group_by": group_by, "device": device}
    words += _options(given, {"seeds": 1, "folds": None, "group_by": None, "device": "auto"})
    words += _options(recipe.to_dict(), Recipe().to_dict())
    return shlex.join([*words, "--out", str(out)])


def _options(values: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    words = []
    for key, value in values.items():
        flag = "--" + key.replace("_", "-")
        if value == defaults.get(key):
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    return words


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
