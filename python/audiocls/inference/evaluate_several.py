"""Scores of a saved model of several labels on recordings that it has never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.task import TASKS
from audiocls.errors import DataError
from audiocls.inference.evaluate import ClipAnswers, Verdict
from audiocls.inference.predict import Classifier
from audiocls.inference.prediction import Limits
from audiocls.scores.multilabel import score_draws, score_multilabel
from audiocls.scores.significance import bootstrap_groups

if TYPE_CHECKING:
    from audiocls.data.recordings import Recording

TASK = TASKS["several"]
Kept = list[tuple["Recording", ClipAnswers]]


def score_several(
    classifier: Classifier,
    judged: Sequence[Verdict],
    groups: Sequence[str],
    *,
    limits: Limits | None = None,
    separator: str | None = None,
    mistakes: int = 10,
) -> dict[str, Any]:
    """All measures of a model of several labels, by clip and by recording, ready for JSON.

    Classes are matched by name; labels that the model does not know are left out.

    Args:
        classifier: the model.
        judged: what it says of each recording.
        groups: the group of each recording; intervals draw groups, as in `score_one`.
        limits: the thresholds of F1; None: the model's own.
        separator: what stands between the labels of a recording.
        mistakes: how many of the surest mistakes to name.

    Raises:
        DataError: nothing can be judged.
    """
    limits = limits or classifier.limits()
    classes = classifier.classes_
    failed = [(r.path, p) for r, p in judged if isinstance(p, str)]
    kept: Kept = [(r, p) for r, p in judged if not isinstance(p, str)]
    own_groups = [g for g, (_, p) in zip(groups, judged, strict=True) if not isinstance(p, str)]
    strange = Counter(
        name for r, _ in kept for name in r.labels(separator) if name and name not in classes
    )
    if not kept or not any(_labels(p).any() for _, p in kept):
        names = f"; the model does not know {', '.join(map(repr, strange))}" if strange else ""
        raise DataError(f"none of {len(judged)} recordings can be judged{names}")
    numbers = np.repeat(np.arange(len(kept)), [len(p.counts) for _, p in kept])
    clips = np.concatenate([p.probabilities for _, p in kept])
    labels = np.concatenate([_labels(p) for _, p in kept])
    whole = TASK.pool_clips(clips, numbers)
    own = TASK.label_recordings(labels, numbers)
    thresholds = np.broadcast_to(np.asarray(limits.threshold, np.float64), len(classes))
    n_groups, group = _numbered(own_groups)
    scores = score_multilabel(whole, own, classes, thresholds)
    drawn = partial(score_draws, whole, own, whole >= thresholds, group)
    scores["interval_95"] = {k: list(v) for k, v in bootstrap_groups([drawn], n_groups).items()}
    return {
        "model": str(classifier.path),
        "task": TASK.name,
        "classes": classes,
        "recording": scores,
        "clip": score_multilabel(clips, labels, classes, thresholds),
        "groups": n_groups,
        "unknown_labels": dict(strange),
        "failed": [{"path": path, "error": error} for path, error in failed],
        "mistakes": _mistakes(whole, own, thresholds, classes, kept, mistakes),
    }


def _labels(clips: ClipAnswers) -> NDArray[np.bool_]:
    assert clips.labels is not None
    return clips.labels


def _numbered(names: Sequence[str]) -> tuple[int, NDArray[np.int64]]:
    """How many different names there are, and the number of each."""
    found, ids = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
    return len(found), ids.astype(np.int64)


def _mistakes(
    p: NDArray[np.float64],
    labels: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    classes: list[str],
    kept: Kept,
    most: int,
) -> list[dict[str, Any]]:
    """The labels that were given or missed wrongly, those the model was surest of first."""
    wrong = np.argwhere((p >= thresholds) != labels)
    sure = [float(1 - p[i, c] if labels[i, c] else p[i, c]) for i, c in wrong]
    return [
        {
            "path": kept[i][0].path,
            "label": classes[c],
            "there": bool(labels[i, c]),
            "probability": float(p[i, c]),
        }
        for i, c in wrong[np.argsort(-np.array(sure), kind="stable")][:most]
    ]
