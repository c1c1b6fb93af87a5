"""Scores of predicted events against annotated ones, as sound event detection counts them.

Mesaros, Heittola & Virtanen 2016, "Metrics for polyphonic sound event detection", Applied Sciences
6(6):162. The tests compare with sed_eval 0.2.1, which its authors keep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocls.scores.metrics import score_hits

ONSET_S = 0.2  # how far from the annotated one an onset may be
OFFSET_S, OFFSET_SHARE = 0.2, 0.5  # and an offset: so far, or this share of the event's length
SEGMENT_S = 1.0


class Stretch(Protocol):
    """A labelled stretch of a recording, annotated or predicted."""

    @property
    def start_s(self) -> float:
        """Where it starts, in seconds."""

    @property
    def end_s(self) -> float:
        """Where it ends, in seconds."""

    @property
    def label(self) -> str:
        """Its label."""


@dataclass(frozen=True)
class Counts:
    """Hits, annotated and predicted events or segments of each class, [n_classes] each."""

    hits: NDArray[np.int64]
    true: NDArray[np.int64]
    said: NDArray[np.int64]

    @classmethod
    def none(cls, n_classes: int) -> Counts:
        """Returns the counts before the first recording."""
        return cls(*np.zeros((3, n_classes), np.int64))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.true + other.true, self.said + other.said)


def count_segments(
    true: Sequence[Stretch],
    said: Sequence[Stretch],
    classes: Sequence[str],
    segment_s: float = SEGMENT_S,
) -> Counts:
    """Counts the segments of one recording in which labels are annotated, predicted, and both.

    A label is in every segment of the grid that an event of it touches.

    Args:
        true: annotated events.
        said: predicted events.
        classes: names of the classes.
        segment_s: length of a segment, in seconds.
    """
    ends = [math.ceil(span.end_s / segment_s) for span in (*true, *said)]
    rolls = np.zeros((2, max(ends, default=0), len(classes)), np.bool_)
    for roll, spans in zip(rolls, (true, said), strict=True):
        for span in spans:
            first, end = math.floor(span.start_s / segment_s), math.ceil(span.end_s / segment_s)
            roll[first:end, classes.index(span.label)] = True
    both = (rolls[0] & rolls[1]).sum(axis=0)
    return Counts(both, rolls[0].sum(axis=0), rolls[1].sum(axis=0))


def count_events(
    true: Sequence[Stretch], said: Sequence[Stretch], classes: Sequence[str]
) -> Counts:
    """Counts the events of one recording that are annotated, predicted, and both.

    A predicted event is a hit if its onset is within `ONSET_S` of that of an annotated one, and its
    offset within `OFFSET_S` or `OFFSET_SHARE` of the annotated length. Each counts once, and as
    many as possible are paired.

    Args:
        true: annotated events.
        said: predicted events.
        classes: names of the classes.
    """
    hits, n_true, n_said = np.zeros((3, len(classes)), np.int64)
    for i, name in enumerate(classes):
        own, theirs = ([s for s in spans if s.label == name] for spans in (true, said))
        n_true[i], n_said[i] = len(own), len(theirs)
        hits[i] = _pairs(own, theirs)
    return Counts(hits, n_true, n_said)


def _pairs(true: Sequence[Stretch], said: Sequence[Stretch]) -> int:
    """Returns how many events can be paired."""
    if not true or not said:
        return 0
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    (start, end), (said_start, said_end) = (
        np.array([(s.start_s, s.end_s) for s in spans]).T for spans in (true, said)
    )
    within = np.maximum(OFFSET_S, OFFSET_SHARE * (end - start))
    near = np.abs(start[:, None] - said_start) <= ONSET_S
    near &= np.abs(end[:, None] - said_end) <= within[:, None]
    return int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum())


def score_events(counts: Counts, classes: Sequence[str]) -> dict[str, Any]:
    """Returns the scores of counts, ready for JSON; a measure that is 0/0 is None.

    Returns:
        f1, precision and recall of all classes together; macro_f1, the mean over the classes that
        are annotated or predicted; per_class, the same of each.
    """
    rows = zip(classes, counts.hits, counts.true, counts.said, strict=True)
    per_class = {name: _scores(int(h), int(t), int(s)) for name, h, t, s in rows}
    known = [row["f1"] for row in per_class.values() if row["f1"] is not None]
    total = (int(part.sum()) for part in (counts.hits, counts.true, counts.said))
    return {
        **_scores(*total),
        "macro_f1": sum(known) / len(known) if known else None,
        "per_class": per_class,
    }


def _scores(hits: int, true: int, said: int) -> dict[str, Any]:
    return score_hits(hits, true, said) | {"n": true, "predicted": said}
