"""What two runs that are the same have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIMES = ("training_s", "samples_per_s", "clips_per_s")


def contents(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The weights, and what metrics.json says but for times."""
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in TIMES:
        del metrics[name]
    del metrics["cost"]["cpu_ms"]
    return (folder / "model/weights.safetensors").read_bytes(), metrics
