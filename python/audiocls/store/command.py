"""The command that makes a store, as one would type it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiocls.engine.spec import FeatureSpec, presets

DEFAULTS = {"clip_s": 0.5, "hop_s": 0.5, "short": "pad", "min_rms": 0.0, "dtype": "float32"}


def format_command(data: str, spec: FeatureSpec, clips: Mapping[str, Any], out: str | Path) -> str:
    """Formats the command that extracts the features of a data set.

    Args:
        data: path or URL of the data set.
        spec: the features.
        clips: how recordings are cut: options of DEFAULTS; those that are absent are as there.
        out: where the store goes.
    """
    settings = spec.to_dict()
    preset = find_nearest_preset(spec)
    words = ["audiocls", "extract", data, "--feature", preset]
    own = presets()[preset].to_dict()
    for key, value in settings.items():
        if own.get(key) != value:
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    for key, default in DEFAULTS.items():
        if (value := clips.get(key, default)) != default:
            words += ["--" + key.replace("_", "-"), str(value)]
    return shlex.join([*words, "--out", str(out)])


def find_nearest_preset(spec: FeatureSpec) -> str:
    """The preset of which the fewest settings must be changed; of equals the first."""
    own = spec.to_dict()

    def changes(name: str) -> int:
        preset = presets()[name].to_dict()
        return sum(preset.get(key) != value for key, value in own.items())

    return min(presets(), key=changes)
