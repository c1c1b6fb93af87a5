"""Scores of events, against sed_eval and against counting all pairings."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from audiocls.data.annotations import Event
from audiocls.scores.events import (
    OFFSET_S,
    OFFSET_SHARE,
    ONSET_S,
    Counts,
    count_events,
    count_segments,
    score_events,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # dcase_util asks pkg_resources for its version
    import dcase_util
    import sed_eval

CLASSES = ["bird", "dog", "rain"]


def scene(rng: np.random.Generator, n: int) -> tuple[list[Event], list[Event]]:
    """Annotated events, and what a model might say of them: some moved, lost or made up."""
    true, said = [], []
    ends = dict.fromkeys(CLASSES, 0.0)
    for _ in range(n):
        name = CLASSES[rng.integers(3)]
        start = ends[name] + rng.uniform(0.05, 2)
        end = ends[name] = start + rng.uniform(0.1, 3)
        true.append(Event(start, end, name))
        if rng.random() < 0.8:
            moved = start + rng.normal(0, 0.15), end + rng.normal(0, 0.3)
            said.append(Event(max(0, min(moved)), max(moved) + 0.01, name))
        if rng.random() < 0.3:
            other = CLASSES[rng.integers(3)]
            said.append(Event(start, start + rng.uniform(0.1, 1), other))
    return true, said


def container(spans: list[Event], file: int) -> dcase_util.containers.MetaDataContainer:
    rows = [
        {"filename": str(file), "event_label": s.label, "onset": s.start_s, "offset": s.end_s}
        for s in spans
    ]
    return dcase_util.containers.MetaDataContainer(rows)


def test_scores_are_those_of_sed_eval() -> None:
    rng = np.random.default_rng(0)
    by_event = sed_eval.sound_event.EventBasedMetrics(
        CLASSES, t_collar=ONSET_S, percentage_of_length=OFFSET_SHARE
    )
    by_segment = sed_eval.sound_event.SegmentBasedMetrics(CLASSES, time_resolution=1.0)
    events = segments = Counts.none(3)
    for file in range(30):
        true, said = scene(rng, int(rng.integers(1, 25)))
        events += count_events(true, said, CLASSES)
        segments += count_segments(true, said, CLASSES)
        for metric in (by_event, by_segment):
            metric.evaluate(container(true, file), container(said, file))
    for metric, counts in ((by_event, events), (by_segment, segments)):
        found = score_events(counts, CLASSES)
        expected = metric.results()
        overall = expected["overall"]["f_measure"]
        assert found["f1"] == pytest.approx(overall["f_measure"])
        assert found["precision"] == pytest.approx(overall["precision"])
        assert found["recall"] == pytest.approx(overall["recall"])
        average = expected["class_wise_average"]["f_measure"]["f_measure"]
        assert found["macro_f1"] == pytest.approx(average)
        for name in CLASSES:
            own = expected["class_wise"][name]["f_measure"]
            assert found["per_class"][name]["f1"] == pytest.approx(own["f_measure"])
        assert 0.2 < found["f1"] < 0.95


def test_as_many_events_as_possible_are_paired() -> None:
    """Compared with every pairing; several predictions fit one event."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        true, said = (
            [Event(s, s + length, "dog") for s, length in rng.uniform(0, 1, (4, 2)) * (0.6, 1)]
            for _ in range(2)
        )

        def fits(a: Event, b: Event) -> bool:
            within = max(OFFSET_S, OFFSET_SHARE * (a.end_s - a.start_s))
            return abs(a.start_s - b.start_s) <= ONSET_S and abs(a.end_s - b.end_s) <= within

        most = max(
            sum(fits(a, b) for a, b in zip(true, order, strict=True))
            for order in itertools.permutations(said)
        )
        assert count_events(true, said, ["dog"]).hits.tolist() == [most]


def test_nothing_predicted_and_nothing_there() -> None:
    counts = count_events([], [], CLASSES) + count_segments([], [], CLASSES)
    assert score_events(counts, CLASSES)["f1"] is None
    lost = score_events(count_events([Event(0, 1, "dog")], [], CLASSES), CLASSES)
    assert (lost["f1"], lost["recall"], lost["precision"]) == (0.0, 0.0, None)
    assert lost["macro_f1"] == 0.0
