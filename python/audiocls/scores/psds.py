"""The polyphonic sound detection score: how well events are found over all thresholds.

Bilen et al. 2020, "A framework for the robust evaluation of sound event detection", ICASSP
(arXiv:1910.08440). The area under a curve, whose points are operating points: what is found of the
annotated events, against false alarms an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocls.scores.events import Stretch

ALARMS_AN_HOUR = 100.0  # up to which the curve is judged
ALMOST = 1e-9  # what an overlap may lack, for times are rounded


@dataclass(frozen=True)
class Scenario:
    """What counts as found; names of the parameters as in the paper."""

    dtc: float  # the share of a detection that lies in events of its label, or it is a false alarm
    gtc: float  # the share of an event that such detections cover, or it is not found
    cttc: float  # the share of a false alarm in events of another label that makes it a confusion
    alpha_ct: float  # how much a confusion costs on top of the false alarm that it is
    alpha_st: float  # how much the deviation between classes costs


# As the DCASE challenges ask since 2021 (task 4): found in time, and told apart.
SCENARIOS = {
    "psds1": Scenario(dtc=0.7, gtc=0.7, cttc=0.3, alpha_ct=0.0, alpha_st=1.0),
    "psds2": Scenario(dtc=0.1, gtc=0.1, cttc=0.3, alpha_ct=0.5, alpha_st=1.0),
}


@dataclass
class Hits:
    """What one operating point finds, summed over recordings."""

    found: NDArray[np.int64]  # annotated events, [n_classes]
    alarms: NDArray[np.int64]  # false ones, [n_classes]
    confused: NDArray[np.int64]  # of them in events of another class, [n_classes, n_classes]

    @classmethod
    def none(cls, n_classes: int) -> Hits:
        """Before the first recording."""
        found, alarms = np.zeros((2, n_classes), np.int64)
        return cls(found, alarms, np.zeros((n_classes, n_classes), np.int64))

    def add(
        self,
        true: Sequence[Stretch],
        said: Sequence[Stretch],
        classes: Sequence[str],
        scenario: Scenario,
    ) -> None:
        """Adds what is found in a recording.

        Args:
            true: the annotated events; those of one label do not overlap.
            said: the predicted ones, likewise.
            classes: of all labels.
            scenario: what counts as found.
        """
        if not said:
            return
        (start, end, label), (said_start, said_end, said_label) = (
            _columns(spans, classes) for spans in (true, said)
        )
        # [n_said, n_true], in seconds
        shared = np.minimum(said_end[:, None], end) - np.maximum(said_start[:, None], start)
        shared = np.maximum(shared, 0.0)
        # [n_said, n_classes]: how much of each detection lies in the events of each class
        inside = shared @ (label[:, None] == np.arange(len(classes)))
        inside /= (said_end - said_start)[:, None]
        right = inside[np.arange(len(said)), said_label] >= scenario.dtc - ALMOST
        hits = (right[:, None] & (said_label[:, None] == label)) * shared
        covered = hits.sum(axis=0) / (end - start) >= scenario.gtc - ALMOST
        wrong = said_label[~right]
        np.add.at(self.found, label[covered], 1)
        np.add.at(self.alarms, wrong, 1)
        np.add.at(self.confused, wrong, inside[~right] >= scenario.cttc - ALMOST)


def _columns(
    spans: Sequence[Stretch], classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    starts, ends = (np.array([getattr(s, name) for s in spans]) for name in ("start_s", "end_s"))
    return starts, ends, np.array([classes.index(s.label) for s in spans], np.int64)


def psds(
    points: Sequence[Hits],
    n_true: NDArray[np.int64],
    true_s: NDArray[np.float64],
    duration_s: float,
    scenario: Scenario,
) -> float | None:
    """The score of operating points; None if no event is annotated.

    Args:
        points: what each finds.
        n_true: annotated events of each class; classes without are left out.
        true_s: their length together, of each class.
        duration_s: of all recordings together.
        scenario: that of the points.
    """
    there = n_true > 0
    if not there.any():
        return None
    hours = duration_s / 3600
    found = np.array([p.found[there] / n_true[there] for p in points])
    alarms = np.array([p.alarms[there] / hours for p in points])
    if there.sum() > 1:
        others = there[:, None] & there & ~np.eye(len(there), dtype=np.bool_)
        rates = np.array([p.confused for p in points]) / np.where(there, true_s, 1.0) * 3600
        mean = (rates * others).sum(axis=2)[:, there] / (there.sum() - 1)
        alarms += scenario.alpha_ct * mean
    steps = np.unique([*alarms[alarms < ALARMS_AN_HOUR], 0.0])
    best = np.zeros((len(steps), int(there.sum())))
    for c in range(best.shape[1]):
        order = np.argsort(alarms[:, c], kind="stable")
        highest = np.maximum.accumulate([0.0, *found[order, c]])
        best[:, c] = highest[np.searchsorted(alarms[order, c], steps, side="right")]
    height = np.maximum(best.mean(axis=1) - scenario.alpha_st * best.std(axis=1), 0.0)
    return float(height @ np.diff([*steps, ALARMS_AN_HOUR]) / ALARMS_AN_HOUR)
