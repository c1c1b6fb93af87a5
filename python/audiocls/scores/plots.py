"""Pictures of a training run, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from audiocls.files import make_printable

TRAIN_COLOUR, VAL_COLOUR, MARK_COLOUR = "#2f6f9f", "#c8662b", "#888888"


def draw_curves(
    history: Sequence[Mapping[str, float]],
    best_epoch: int,
    score: str = "balanced_accuracy",
) -> bytes:
    """Draws loss and score by epoch; a dotted line marks the chosen epoch.

    A part whose score is not in the history has no line.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for axes, name in ((loss, "loss"), (accuracy, score)):
        for part, colour in (("train", TRAIN_COLOUR), ("val", VAL_COLOUR)):
            if f"{part}_{name}" not in history[0]:
                continue
            values = [row[f"{part}_{name}"] for row in history]
            label = {"train": "training", "val": "validation"}[part]
            axes.plot(
                epochs, values, color=colour, label=label, marker="." if len(epochs) < 9 else ""
            )
        axes.axvline(best_epoch, color=MARK_COLOUR, linestyle=":", linewidth=1)
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    accuracy.set_ylim(0, 1.02)
    loss.legend(frameon=False)
    return _png(figure)


def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> bytes:
    """Draws a confusion matrix, each row in per cent of its true class."""
    counts = np.asarray(matrix, np.float64)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(classes)
    side = max(3.6, 1.8 + 0.36 * n)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    # A class name is one line and no formula, whatever characters it has.
    names = [make_printable(" ".join(c.replace("$", r"\$").split())) for c in classes]
    axes.set_xticks(range(n), names, rotation=90, fontsize=8)
    axes.set_yticks(range(n), names, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if n <= 30:
        for i, j in np.argwhere(share >= 0.5):
            colour = "white" if share[i, j] > 60 else "black"
            axes.text(
                j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=7, color=colour
            )
    axes.set_title("per cent of the true class", fontsize=10)
    return _png(figure)


def draw_spectrogram(features: NDArray[np.floating[Any]]) -> bytes:
    """Draws features [frames, features] in colors, a pixel a value.

    The first frame is at the left, the first feature at the bottom.
    """
    buffer = io.BytesIO()
    imsave(buffer, features.T, cmap="magma", origin="lower", format="png")
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    # No pyplot: nothing global, no window, safe in any thread.
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(  # type: ignore[no-untyped-call]
        buffer, metadata={"Software": None}
    )
    return buffer.getvalue()
