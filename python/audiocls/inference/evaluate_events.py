"""How well the segments that a model makes find annotated events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.data.annotations import Event, merge_events
from audiocls.inference.evaluate import Verdict
from audiocls.inference.prediction import Detection, Limits, Prediction
from audiocls.scores import events
from audiocls.scores.events import Counts
from audiocls.scores.psds import ALARMS_AN_HOUR, SCENARIOS, Hits, psds
from audiocls.scores.significance import bootstrap_groups

POINTS = 50  # operating points of PSDS, as in the baselines of DCASE


class JudgedEvents(NamedTuple):
    """A recording with annotated events."""

    true: list[Event]
    prediction: Prediction
    group: str


def judge_events(
    judged: Sequence[Verdict], groups: Sequence[str], classes: Sequence[str], limits: Limits
) -> dict[str, Any] | None:
    """F1 of events and of segments at the limits, and PSDS over all thresholds, ready for JSON.

    Args:
        judged: recordings, of which those with annotated events count.
        groups: of each recording; intervals are over them.
        classes: what may be an event: not the background, nor `unknown`.
        limits: from where on the model says something.

    Returns:
        None if no recording has annotated events.
    """
    heard = []
    for (recording, clips), group in zip(judged, groups, strict=True):
        if isinstance(clips, str) or recording.events is None or clips.prediction is None:
            continue
        end_s = clips.prediction.duration_s
        # What overlaps of one label is heard as one.
        true = [
            Event(e.start_s, min(e.end_s, end_s), e.label)
            for e in merge_events(recording.events)
            if e.label in classes
        ]
        heard.append(JudgedEvents(true, clips.prediction, group))
    if not heard:
        return None
    names = sorted({h.group for h in heard})
    by_event, by_segment = ([Counts.none(len(classes))] * len(names) for _ in range(2))
    for true, prediction, group in heard:
        said = [s for s in prediction.segments(limits) if s.label in classes]
        i = names.index(group)
        by_event[i] += events.count_events(true, said, classes)
        by_segment[i] += events.count_segments(true, said, classes)
    return {
        "recordings": len(heard),
        "event": _of_groups(by_event, classes)
        | {"onset_s": events.ONSET_S, "offset_s": events.OFFSET_S,
           "offset_share": events.OFFSET_SHARE},
        "segment": _of_groups(by_segment, classes) | {"segment_s": events.SEGMENT_S},
        "psds": _psds(heard, classes, limits) | {"alarms_an_hour": ALARMS_AN_HOUR},
    }  # fmt: skip


def _of_groups(counts: list[Counts], classes: Sequence[str]) -> dict[str, Any]:
    """The scores of all groups together, with the intervals over them."""
    total = sum(counts, Counts.none(len(classes)))
    sums = np.array([[c.hits.sum(), c.true.sum(), c.said.sum()] for c in counts], np.float64)

    def f1(times: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        hits, true, said = (times @ sums).T
        both = true + said
        return {"f1": np.divide(2 * hits, both, out=np.full(len(both), np.nan), where=both > 0)}

    intervals = {name: list(ends) for name, ends in bootstrap_groups([f1], len(counts)).items()}
    return events.score_events(total, classes) | {"interval_95": intervals}


def _psds(heard: Sequence[JudgedEvents], classes: Sequence[str], limits: Limits) -> dict[str, Any]:
    """PSDS in each scenario, smoothed and without short events as the limits say."""
    found = [_by_class(h.prediction) for h in heard]
    thresholds = operating_points(np.concatenate([p.probabilities for p in found]))
    lengths = np.zeros((2, len(classes)))
    for span in (span for h in heard for span in h.true):
        lengths[:, classes.index(span.label)] += 1, span.end_s - span.start_s
    points = {name: [Hits.none(len(classes)) for _ in thresholds] for name in SCENARIOS}
    for k, threshold in enumerate(thresholds):
        at = Limits(threshold, limits.smooth_s, limits.least_s)
        for h, detection in zip(heard, found, strict=True):
            said = [s for s in detection.segments(at) if s.label in classes]
            for name, scenario in SCENARIOS.items():
                points[name][k].add(h.true, said, classes, scenario)
    duration_s = sum(p.duration_s for p in found)
    return {
        name: psds(points[name], lengths[0].astype(np.int64), lengths[1], duration_s, scenario)
        for name, scenario in SCENARIOS.items()
    }


def operating_points(probabilities: NDArray[np.float64], most: int = POINTS) -> NDArray[np.float64]:
    """Thresholds at which events are looked for.

    They are the denser the higher, for false alarms are judged up to a rate.

    Args:
        probabilities: of all clips, [n_clips, n_classes].
        most: how many points there are.

    Returns:
        [n_points, n_classes]: the probabilities of each class, or `most` of them.
    """
    falling = -np.sort(-probabilities, axis=0)
    ranks = np.arange(len(falling))
    if len(falling) > most:
        ranks = np.unique(np.geomspace(1, len(falling), most).round().astype(np.int64)) - 1
    return falling[ranks]


def _by_class(prediction: Prediction) -> Detection:
    """The same, each class for itself: a model of one label has a probability of each, too."""
    return Detection(*(getattr(prediction, field.name) for field in fields(Prediction)))
