"""The commands that make a comparison again, ready to type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiocls.store.command import format_command as store_command
from audiocls.store.computed import ComputedStore
from audiocls.store.store import Store
from audiocls.training.recipe import Recipe


def write_extract_command(store: Store) -> str:
    """The command that extracted a store; of a computed one, its samples."""
    if isinstance(store, ComputedStore):
        store = store.whole
    data = str(store.about.get("data", "DATA"))
    return store_command(data, store.spec, store.about, store.path)


def write_compare_command(
    features: Sequence[str | Path],
    models: Sequence[str],
    recipe: Recipe,
    *,
    feature: Sequence[str] | None = None,
    seeds: int,
    folds: int | str | None,
    group_by: str | None,
    recordings_per_class: Sequence[int | None] = (None,),
    clip_s: float | None = None,
    hop_s: float | None = None,
    init: str | None = None,
    device: str,
    out: str | Path,
) -> str:
    """The command of a comparison."""
    words = ["audiocls", "compare", "--features", ",".join(map(str, features))]
    words += ["--feature", ",".join(feature)] if feature else []
    words += ["--models", ",".join(models)]
    given: dict[str, Any] = {"seeds": seeds, "folds": folds, "group_by": group_by}
    given |= {"device": device, "clip_s": clip_s, "hop_s": hop_s}
    words += _options(given, {"seeds": 1, "device": "auto"})
    if list(recordings_per_class) != [None]:
        sizes = ["all" if n is None else str(n) for n in recordings_per_class]
        words += ["--recordings-per-class", ",".join(sizes)]
    if init is None:
        words += _options(recipe.to_dict(), Recipe().to_dict())
    else:
        words += ["--init", init]
        words += _options(recipe.to_dict(), Recipe.preset("finetune").to_dict())
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
