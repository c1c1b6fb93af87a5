"""PSDS, against what sed_scores_eval computed and against the paper's definition, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from audiocls.data.annotations import Event
from audiocls.inference.evaluate_events import operating_points
from audiocls.inference.prediction import Detection, Limits
from audiocls.scores.psds import SCENARIOS, Hits, Scenario, psds

CLASSES = ["bird", "dog", "rain"]
CLIP_S, N_CLIPS = 0.5, 120
SCENARIO = Scenario(dtc=0.5, gtc=0.5, cttc=0.3, alpha_ct=0.5, alpha_st=0.5)
# What sed_scores_eval 0.0.4 gives for `scenes`, by seed and scenario. It needs pandas before 3, so
# the tests cannot ask it.
EXPECTED = {
    (0, "psds1"): 0.0015385797133983582,
    (0, "psds2"): 0.7650986037310757,
    (0, "middle"): 0.07108341553172236,
    (1, "psds1"): 0.0,
    (1, "psds2"): 0.9130883117545686,
    (1, "middle"): 0.034814074977984145,
}


def scenes(seed: int) -> list[tuple[list[Event], NDArray[np.float64]]]:
    """Annotated events of five minutes, and what a poor model might say of their clips."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(5):
        true = []
        for name in CLASSES:
            end = 0.0
            for _ in range(4):
                start = round(end + rng.uniform(1, 14), 3)
                end = round(start + rng.uniform(0.4, 4), 3)
                if end < N_CLIPS * CLIP_S:
                    true.append(Event(start, end, name))
        p = np.zeros((N_CLIPS, len(CLASSES)))
        for event in true:
            first, last = event.start_s // CLIP_S, event.end_s // CLIP_S
            p[int(first) : int(last) + 1, CLASSES.index(event.label)] = 1
        mixed = p @ [[0.7, 0.25, 0.05], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5]]
        noisy = mixed + rng.normal(0, 0.2, p.shape)
        made.append((sorted(true), np.round(1 / (1 + np.exp(-4 * (noisy - 0.5))), 3)))
    return made


def detected(p: NDArray[np.float64], thresholds: NDArray[np.float64]) -> list[Event]:
    starts = np.arange(N_CLIPS) * CLIP_S
    heard = Detection(CLASSES, p, starts, N_CLIPS * CLIP_S, CLIP_S, CLIP_S)
    return [Event(s.start_s, s.end_s, s.label) for s in heard.segments(Limits(thresholds))]


def score(seed: int, scenario: Scenario) -> float | None:
    """At all operating points."""
    made = scenes(seed)
    probabilities = np.concatenate([p for _, p in made])
    points = []
    for thresholds in operating_points(probabilities, most=len(probabilities)):
        points.append(Hits.none(3))
        for true, p in made:
            points[-1].add(true, detected(p, thresholds), CLASSES, scenario)
    lengths = [[e.end_s - e.start_s for t, _ in made for e in t if e.label == c] for c in CLASSES]
    counts = np.array([len(own) for own in lengths])
    seconds = np.array([sum(own) for own in lengths])
    return psds(points, counts, seconds, len(made) * N_CLIPS * CLIP_S, scenario)


@pytest.mark.parametrize(("seed", "name"), EXPECTED)
def test_score_is_that_of_sed_scores_eval(seed: int, name: str) -> None:
    scenario = {**SCENARIOS, "middle": SCENARIO}[name]
    assert score(seed, scenario) == pytest.approx(EXPECTED[seed, name], abs=1e-12)


def shared(a: Event, b: Event) -> float:
    return max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))


def test_hits_are_the_definitions_of_the_paper() -> None:
    """Section 3 of the paper, an event at a time."""
    totals = np.zeros(3)
    for true, p in scenes(5):
        for threshold in (0.2, 0.5, 0.8):
            said = detected(p, np.full(3, threshold))
            found = Hits.none(3)
            found.add(true, said, CLASSES, SCENARIO)
            right, alarms, confused = set(), np.zeros(3, int), np.zeros((3, 3), int)
            for i, d in enumerate(said):
                c = CLASSES.index(d.label)
                inside = {
                    name: sum(shared(d, e) for e in true if e.label == name) / (d.end_s - d.start_s)
                    for name in CLASSES
                }
                if inside[d.label] >= SCENARIO.dtc:
                    right.add(i)
                    continue
                alarms[c] += 1
                for other, share in inside.items():
                    confused[c, CLASSES.index(other)] += share >= SCENARIO.cttc
            hits = np.zeros(3, int)
            for e in true:
                own = [said[i] for i in right if said[i].label == e.label]
                covered = sum(shared(d, e) for d in own) / (e.end_s - e.start_s)
                hits[CLASSES.index(e.label)] += covered >= SCENARIO.gtc
            assert found.found.tolist() == hits.tolist()
            assert found.alarms.tolist() == alarms.tolist()
            off = ~np.eye(3, dtype=bool)
            assert (found.confused[off] == confused[off]).all()
            totals += alarms.sum(), hits.sum(), confused[off].sum()
    assert (totals > 10).all()


def test_all_found_nothing_found_and_nothing_there() -> None:
    true = [Event(0, 1, "bird"), Event(2, 3, "dog")]
    n, seconds = np.array([1, 1, 0]), np.array([1.0, 1.0, 0.0])
    perfect, silent = Hits.none(3), Hits.none(3)
    perfect.add(true, true, CLASSES, SCENARIO)
    silent.add(true, [], CLASSES, SCENARIO)
    assert psds([silent, perfect], n, seconds, 60, SCENARIO) == 1.0
    assert psds([silent], n, seconds, 60, SCENARIO) == 0.0
    assert psds([silent], 0 * n, 0 * seconds, 60, SCENARIO) is None


def test_operating_points_are_denser_at_the_top() -> None:
    p = np.arange(10000.0)[:, None] / 10000
    (few,) = operating_points(p, most=20).T
    assert few[0] == 0.9999
    assert few[-1] == 0
    assert (np.diff(few) < 0).all()
    assert len(operating_points(p[:15], most=20)) == 15
