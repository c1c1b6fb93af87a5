"""Stores of labelled stretches: which clips have which labels, and that only these are kept."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sounds import RATE, tone, write

import audiocls
from audiocls.data.annotations import Event
from audiocls.data.recordings import Recording
from audiocls.engine.cut import Cut
from audiocls.errors import DataError, SettingError
from audiocls.store.computed import ComputedStore
from audiocls.store.labels import Coverage
from audiocls.store.store import Store
from audiocls.training.data.examples import split_examples
from audiocls.training.data.features import open_features
from audiocls.training.data.splits import TRAIN, VAL, Split
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device
from audiocls.training.trial import Trial

EVENTS = {
    "a": [Event(0.5, 1.5, "owl"), Event(1.0, 2.0, "frog"), Event(3.05, 3.15, "owl")],
    "b": [Event(0.0, 0.25, "frog"), Event(2.2, 4.0, "owl")],
    "c": [],
}
SPEC = audiocls.FeatureSpec.preset("mel-16k")


def shared(start_s: float, clip_s: float, event: Event, least: float) -> bool:
    """The definition: the overlap is that share of the clip or of the event."""
    overlap = min(start_s + clip_s, event.end_s) - max(start_s, event.start_s)
    return (
        overlap >= least * clip_s - 1e-9 or overlap >= least * (event.end_s - event.start_s) - 1e-9
    )


times = st.integers(0, 400).map(lambda n: n / 100)


@given(
    st.lists(st.tuples(times, st.integers(1, 150), st.sampled_from("xyz")), max_size=6),
    st.integers(1, 100).map(lambda n: n / 100),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from([0.05, 0.25, 0.5]),
)
def test_coverage_is_the_definition(
    rows: list[tuple[float, int, str]], least: float, clip_s: float, hop_s: float
) -> None:
    events = tuple(Event(start, start + n / 100, label) for start, n, label in rows)
    clip_len, hop_len = round(clip_s * 1000), round(hop_s * 1000)
    coverage = Coverage(clip_len, hop_len, 1000, least)
    starts = np.arange(0, 6000, hop_len)
    expected = np.array(
        [[any(e.label == c and shared(s / 1000, clip_s, e, least) for e in events) for c in "xyz"]
         for s in starts]
    )  # fmt: skip
    recording = Recording(0, "r", "", "r", events=events)
    clips = np.stack([np.zeros_like(starts), starts], axis=1)
    matrix = coverage.matrix([recording], clips, "xyz")
    np.testing.assert_array_equal(matrix, expected)
    ranges = coverage.wanted(events)
    assert ranges is not None
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(ranges))
    wanted = [any(a <= s < b for a, b in ranges) for s in starts]
    assert wanted == expected.any(axis=1).tolist()
    assert coverage.several(events) == (expected.sum(axis=1) > 1).any()
    for s, row in zip(starts.tolist(), expected, strict=True):
        first, end = coverage.span(events, s)
        around = np.arange(first, min(end - clip_len, 6000) + 1)
        assert s in around
        clips = np.stack([np.zeros_like(around), around], axis=1)
        assert (coverage.matrix([recording], clips, "xyz") == row).all()


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    rows = [["file_name", "onset", "offset", "species"]]
    for i, (name, events) in enumerate(EVENTS.items()):
        write(tmp_path / f"scenes/{name}.wav", tone(4.0, 300 + 200 * i, seed=i))
        rows += [[f"scenes/{name}.wav", str(e.start_s), str(e.end_s), e.label] for e in events]
    with (tmp_path / "events.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    for name, events in EVENTS.items():
        for folder, text in (
            ("raven", "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n"
             + "".join(f"{n}\t{view}\t1\t{e.start_s}\t{e.end_s}\t{e.label}\n"
                       for n, e in enumerate(events, 1)
                       for view in ("Waveform 1", "Spectrogram 1"))),
            ("audacity", "".join(f"{e.start_s}\t{e.end_s}\t{e.label}\n" for e in events)),
        ):  # fmt: skip
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.txt").write_text(text)
    return tmp_path


def extract(data: Path, out: str, feature: str = "mel-16k", **settings: Any) -> Store:
    return audiocls.extract(data, feature, data.parent / out, **settings)


def labelled(store: Store) -> dict[tuple[str, float], set[str]]:
    """Recording and start of each clip → its labels."""
    return {
        (Path(store.recordings[r].path).stem, round(float(start), 3)): {
            name for name, has in zip(store.classes, row, strict=True) if has
        }
        for r, start, row in zip(
            store.clip_recording, store.clip_start_s, store.label_matrix, strict=True
        )
    }


def expected(least: float = 0.5, clip_s: float = 0.5, hop_s: float = 0.5) -> dict[Any, set[str]]:
    grid = np.arange(round((4.0 - clip_s) / hop_s) + 1) * hop_s
    found = {
        (name, round(float(s), 3)): {e.label for e in events if shared(s, clip_s, e, least)}
        for name, events in EVENTS.items()
        for s in grid
    }
    return {clip: labels for clip, labels in found.items() if labels}


def test_rows_raven_tables_and_audacity_tracks_give_one_store(scenes: Path) -> None:
    rows = extract(scenes / "events.csv", "rows")
    assert labelled(rows) == expected()
    assert rows.task == "several"
    assert rows.classes == ["frog", "owl"]
    for form in ("raven", "audacity"):
        store = extract(scenes / "scenes", form + "-store", annotations=str(scenes / form))
        assert labelled(store) == expected()
        np.testing.assert_array_equal(store.numpy(), rows.numpy())
    for file in (scenes / "audacity").iterdir():
        (scenes / "scenes" / file.name).write_bytes(file.read_bytes())
    (scenes / "scenes/c.txt").write_text("1\t1.2\towl\n")
    beside = extract(scenes / "scenes", "beside")
    assert labelled(beside) == expected() | {("c", 1.0): {"owl"}}
    # The clips are those of a store of whole recordings.
    every = extract(scenes / "events.csv", "every", background="none")
    known = {
        clip: i for i, clip in enumerate(zip(every.clip_recording, every.clip_start, strict=True))
    }
    at = [known[clip] for clip in zip(rows.clip_recording, rows.clip_start, strict=True)]
    np.testing.assert_array_equal(rows.numpy(), every.numpy()[at])
    again = audiocls.open_store(rows.path)
    assert again.events == [tuple(EVENTS["a"]), tuple(EVENTS["b"])]
    assert again.recording_labels == [("frog", "owl"), ("frog", "owl")]


def test_clips_without_a_label_are_the_background(scenes: Path) -> None:
    store = extract(scenes / "scenes", "b", annotations=str(scenes / "raven"), background="none")
    clips = labelled(store)
    assert len(clips) == 3 * 8
    assert {clip: labels for clip, labels in clips.items() if labels != {"none"}} == expected()
    with pytest.raises(SettingError, match="background 'x' is invalid: is for labelled stretches"):
        audiocls.extract(scenes, "mel-16k", scenes / "x", background="x", label_by="^([^/]+)/")


@pytest.mark.parametrize(("least", "clip_s", "hop_s"), [(1.0, 0.5, 0.25), (0.2, 1.0, 0.5)])
def test_overlap_and_cut_decide(scenes: Path, least: float, clip_s: float, hop_s: float) -> None:
    cut = Cut(clip_s=clip_s, hop_s=hop_s)
    store = extract(scenes / "events.csv", "s", cut=cut, min_overlap=least)
    assert labelled(store) == expected(least, clip_s, hop_s)


def test_one_label_a_clip_is_the_task_one(scenes: Path) -> None:
    store = extract(scenes / "events.csv", "one", classes=("owl",))
    assert store.task == "one"
    assert store.classes == ["owl"]
    assert set(store.labels.tolist()) == {0}
    assert "left out by `classes`" not in (store.path / "store.json").read_text()


def test_parts_and_interruptions_give_the_same_bytes(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audiocls.store import extraction, planning
    from audiocls.store.parts import merge

    monkeypatch.setattr(planning, "SHARD_RECORDINGS", 1)
    with (scenes / "events.csv").open("a") as file:
        file.write("scenes/b.wav,3,2,owl\n")
    whole = extract(scenes / "events.csv", "whole")
    for number in (2, 1):
        extraction.extract_part(scenes / "events.csv", "mel-16k", scenes / "parts",
                                shard=(number, 2))  # fmt: skip
    joined = merge(scenes / "parts")
    for file in ("store.json", "recordings.csv", "events.csv", "failures.csv"):
        assert (joined.path / file).read_bytes() == (whole.path / file).read_bytes()
    assert "line 7 ends before it starts: 3 to 2 s" in (whole.path / "failures.csv").read_text()
    (whole.path / "events.csv").write_text("id,start_s,end_s,label\n")
    again = extract(scenes / "events.csv", "whole")
    assert (again.path / "events.csv").read_bytes() == (joined.path / "events.csv").read_bytes()
    text = (scenes / "events.csv").read_text()
    (scenes / "events.csv").write_text(text.replace("0.5,1.5,owl", "0.5,1.75,owl"))
    with pytest.raises(DataError, match=r"was made from other data: 1 changed \(scenes/a.wav\)"):
        extract(scenes / "events.csv", "whole")
    with pytest.raises(SettingError, match=r"min_overlap 0\.5, now 0\.75"):
        extract(scenes / "events.csv", "whole", min_overlap=0.75)


def test_rows_that_are_no_events_are_named(scenes: Path) -> None:
    with (scenes / "events.csv").open("a") as file:
        file.write("scenes/a.wav,3,2,owl\nscenes/a.wav,5,6,owl\nscenes/gone.wav,1,2,owl\n")
        file.write("scenes/b.wav,x,2,owl\nscenes/b.wav,1,2,\n")
    notices: list[str] = []
    store = extract(scenes / "events.csv", "s", notice=notices.append)
    assert labelled(store) == expected()
    with (store.path / "failures.csv").open(newline="") as file:
        reasons = [(row["path"], row["reason"].partition("events.csv")[2] or row["reason"])
                   for row in csv.DictReader(file)]  # fmt: skip
    assert reasons == [
        ("scenes/a.wav", ": line 7 ends before it starts: 3 to 2 s"),
        ("scenes/a.wav", ": line 8 lies outside: it starts at 5 s, the recording ends at 4 s"),
        ("scenes/b.wav", ": line 10 has no start and end in seconds: 'x', '2'"),
        ("scenes/b.wav", ": line 11 has no label"),
        ("scenes/gone.wav", ": line 9)"),
    ]
    assert any("line 7 ends before" in text and "3 more" in text for text in notices)


def test_whole_recordings_beside_stretches(scenes: Path) -> None:
    with (scenes / "events.csv").open("a") as file:
        file.write("scenes/c.wav,,,frog\n")
    clips = labelled(extract(scenes / "events.csv", "s"))
    assert {clip for clip in clips if clip[0] == "c"} == {("c", i / 2) for i in range(8)}


def test_samples_hold_the_grid_and_windows_are_drawn_within_stretches(scenes: Path) -> None:
    spec = audiocls.FeatureSpec.preset("samples", sample_rate=RATE)
    for labels in ({}, {"classes": ("owl",)}):
        out = scenes / f"samples-{len(labels)}"
        samples = audiocls.extract(scenes / "events.csv", spec, out, name="samples", **labels)
        store = open_features(samples.path, Recipe(waveform=None), "mel-16k")
        assert isinstance(store, ComputedStore)
        grid = {clip: own & {"owl"} if labels else own for clip, own in expected().items()}
        assert labelled(store) == {clip: own for clip, own in grid.items() if own}
        assert store.task == ("one" if labels else "several")
        assert store.coverage is not None
        clips = np.arange(len(store))
        arrays, spans = store.samples(clips)
        for clip, (shard, first, end) in zip(clips, spans.tolist(), strict=True):
            r = int(store.clip_recording[clip])
            before = int(store.whole.samples(np.array([r]))[1][0, 1])
            assert end <= len(arrays[shard])
            last = max(end - before - store.cut.clip_len(RATE), first - before)
            starts = np.arange(first - before, last + 1)
            assert starts[0] <= store.clip_start[clip] <= starts[-1]
            at = np.stack([np.full_like(starts, r), starts], axis=1)
            rows = store.coverage.matrix(store.recordings, at, store.classes)
            assert (rows == store.label_matrix[clip]).all()
    paths = [r.path for r in store.recordings]
    split = Split(dict(zip(paths, (TRAIN, VAL), strict=True)), dict.fromkeys(paths, "g"),
                  dict.fromkeys(paths, "owl"))  # fmt: skip
    parts = split_examples(store, split, Trial("lstm", Recipe()), Device.pick("cpu"))
    (batch,) = parts[TRAIN].training_batches([torch.arange(len(parts[TRAIN]))], 0)
    assert batch.x.shape == (len(parts[TRAIN]), *store.clip_shape)
