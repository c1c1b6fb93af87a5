"""A trained model as it goes into the box: weights in float16, its graph beside them.

    python research/orchestra/pack_model.py RUN python/audiocls/classifier/orchestra

Says how far its probabilities are from those of the model it was made of, on the run's own classes.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from audiocls.classifier.description import DESCRIPTION, NETWORK, WEIGHTS, model_folder
from audiocls.classifier.graph import write_graph
from audiocls.classifier.model import Model
from audiocls.classifier.weights import add_checksum

# The wheel is not to grow by more.
MOST_BYTES = 2_500_000


def pack(run: Path, out: Path) -> float:
    """Writes the model of `run` into `out`; the largest change of a probability on noise."""
    source = model_folder(run)
    out.mkdir(parents=True, exist_ok=True)
    weights = load_file(source / WEIGHTS)
    half = {k: v.half() if v.dim() > 1 else v for k, v in weights.items()}
    (out / WEIGHTS).write_bytes(add_checksum(save(half)))
    shutil.copyfile(source / DESCRIPTION, out / DESCRIPTION)
    write_graph(out)
    size = sum((out / name).stat().st_size for name in (WEIGHTS, DESCRIPTION, NETWORK))
    if size > MOST_BYTES:
        raise SystemExit(f"{out}: {size} bytes are too many: at most {MOST_BYTES}")
    before, after = Model.load(source), Model.load(out)
    frames, features = before.description.input_shape
    x = before.mean + before.deviation * torch.randn(64, frames or 50, features)
    with torch.no_grad():
        return float((before.probabilities(x) - after.probabilities(x)).abs().max())


def main() -> None:
    """Packs one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    change = pack(given.run, given.out)
    print(f"{given.out}: probabilities change by at most {change:.1e}")


if __name__ == "__main__":
    main()
