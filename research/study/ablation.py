"""The effect of each part of the recipe `modern`: one part is switched off at a time.

On a store of samples: the effect of each change of the waveforms.

`make ablation` writes the table to research/notes/results.md after every finished run, and goes
on where it was stopped. The splits hold out whole pitches of an instrument, as the results there.
`research/orchestra/elsewhere.py` asks the same runs (OUT/*/cells/*) about sounds from elsewhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import audiocls
from audiocls.compare.grid import compare
from audiocls.compare.ranking import Spread
from audiocls.engine.augmentation import NOTHING, select_settings
from audiocls.training import Recipe

PAGE = Path(__file__).resolve().parent.parent / "notes" / "results.md"
GROUPS = r"([^/]+)/[^/]+?_([A-G]s?[0-9])_"
OFF: dict[str, dict[str, Any]] = {
    "`modern`": {},
    "without label smoothing": {"label_smoothing": 0.0},
    "without mixup": {"mixup": 0.0},
    "without masks": {"time_mask": 0.0, "freq_mask": 0.0},
    "without shifts of bands": {"mel_shift": 0.0},
    "without bands": {"mel_band": 0.0},
    "without noise": {"mel_noise": 0.0},
    "with the level": {"remove_level": False},
    "without averaged weights": {"ema": 0.0},
    "constant learning rate": {"schedule": "constant", "warm_up": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "natural sampling": {"sampler": "natural"},
}
CHAIN: dict[str, dict[str, Any]] = {
    "`modern`": {},
    "without pitch": {"pitch_p": 0.0},
    "without filters": {"filter_p": 0.0},
    "without reverberation": {"reverb_p": 0.0},
    "without band limits": {"band_limit_p": 0.0},
    "without noise": {"noise_p": 0.0},
    "without gain": {"gain_p": 0.0},
    "without clipping": {"clip_p": 0.0},
    "without polarity and shift": {"polarity_p": 0.0, "shift_p": 0.0},
    "with phrases": {"phrase_p": 0.5},
    "new windows alone": select_settings(NOTHING),
}
TEST = ("balanced_accuracy", "recording_balanced_accuracy")
SCORES = ("val_balanced_accuracy", *TEST)


def table(
    done: dict[str, list[dict[str, Any]]],
    parts: Iterable[str],
    trained: str,
    model: str,
    feature: str,
) -> str:
    """Mean ± deviation over the seeds that are finished. trained: how long, on what.

    A seed draws the split, which changes scores more than most parts do: so the difference from the
    whole recipe is taken seed by seed.
    """
    head = ["", "seeds", "validation", "test, clips", "test, recordings"]
    head += ["difference, clips", "difference, recordings"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    whole = next(iter(done.values()))
    for what, rows in done.items():
        cells = [f"{Spread.of([100 * row[score] for row in rows]):.1f}" for score in SCORES]
        for score in TEST:
            pairs = zip(rows, whole, strict=False)  # of the seeds that both have
            differences = [100 * (own[score] - of_whole[score]) for own, of_whole in pairs]
            cells.append("" if rows is whole else f"{Spread.of(differences):z.1f}")
        lines.append([what, str(len(rows)), *cells])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    left = [what for what in parts if what not in done]
    missing = f" Not run yet: {', '.join(left)}." if left else ""
    about = f"`{model}` on `{feature}`, {trained}, balanced accuracy in per cent.{missing}"
    return f"{about}\n\n{text}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, default=Path("features/mel-16k"))
    parser.add_argument("--feature", help="what is computed, where FEATURES holds samples")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--clips-per-recording", type=int, default=0, help="0: all [0]")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chain = audiocls.open_store(options.features).spec.kind == "samples"
    parts = CHAIN if chain else OFF
    name = f"chain-{options.model}" if chain else options.model
    trained = f"{options.epochs} epochs"
    if n := options.clips_per_recording:
        trained += f" of {n} clip{'s' if n > 1 else ''} a recording"
    done: dict[str, list[dict[str, Any]]] = {}
    # One seed of every part first: a table that is broken off says something of each.
    for seeds in range(1, options.seeds + 1):
        for what, fields in parts.items():
            folder = options.out / f"{name}-{what.strip('`').replace(' ', '-')}"
            recipe = Recipe.preset(
                "modern", epochs=options.epochs, patience=0,
                clips_per_recording=options.clips_per_recording, **fields,
            )  # fmt: skip
            made = compare(
                [options.features], [options.model],
                feature=[options.feature] if options.feature else None,
                seeds=seeds, recipe=recipe, group_by=GROUPS, device="cpu", out=folder,
            )  # fmt: skip
            done[what] = made.rows
            feature = options.feature or options.features.name
            text = table(done, parts, trained, options.model, feature)
            print(f"\n{text}", flush=True)
            write(f"ablation-{name}", text)


def write(name: str, text: str) -> None:
    """Puts a table between its markers in the page."""
    page = PAGE.read_text()
    before, _, rest = page.partition(f"<!-- {name} -->")
    _, mark, after = rest.partition(f"<!-- /{name} -->")
    if not mark:
        raise SystemExit(f"{PAGE}: has no markers <!-- {name} --> and <!-- /{name} -->")
    PAGE.write_text(f"{before}<!-- {name} -->\n{text}\n{mark}{after}")


if __name__ == "__main__":
    main()
