"""Splits: whole groups, stratified, complete, repeatable; errors that name what is missing."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_store import recording, tiny_store

from audiocls.data import grouping
from audiocls.data.grouping import find_groups
from audiocls.data.recordings import Recording
from audiocls.errors import DataError, SettingError
from audiocls.files import write_csv
from audiocls.training.data.splits import PARTS, TEST, TRAIN, VAL, Split, make_split

# As the real recordings: pitches are groups of unequal size, classes far from equal.
SIZES = {"banjo": 58, "bass-clarinet": 762, "cello": 720, "guitar": 95, "tuba": 700}


def instruments(seed: int = 0) -> list[Recording]:
    rng = np.random.default_rng(seed)
    recordings = []
    for name, size in SIZES.items():
        pitches = rng.permutation(np.repeat(np.arange(36), 40))[:size]
        for i, pitch in enumerate(sorted(pitches.tolist())):
            recordings.append(recording(f"{name}/{name}_p{pitch:02}_{i:03}.mp3", name))
    return recordings


def parts_of(split: Split) -> dict[int, set[str]]:
    return {p: {path for path, q in split.part.items() if q == p} for p in range(3)}


def assert_whole_groups(split: Split) -> None:
    where: dict[str, set[int]] = {}
    for path, p in split.part.items():
        where.setdefault(split.group[path], set()).add(p)
    assert all(len(parts) == 1 for parts in where.values())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("group_by", [None, r"([^/]+)/.*_(p\d+)_"])
def test_parts_hold_their_share_of_every_class(seed: int, group_by: str | None) -> None:
    split = make_split(instruments(), group_by=group_by, seed=seed)
    assert_whole_groups(split)
    assert split.warnings == []
    for name, size in SIZES.items():
        own = Counter(p for path, p in split.part.items() if split.label[path] == name)
        for p, share in ((TRAIN, 0.70), (VAL, 0.15), (TEST, 0.15)):
            # Single recordings, or whole pitches of some 20, cannot be dealt more finely.
            assert own[p] / size == pytest.approx(share, abs=0.05 if group_by else 1 / size)


def test_seed_and_order() -> None:
    recordings = instruments()
    split = make_split(recordings, seed=3)
    again = make_split(recordings[::-1], seed=3)
    assert split.part == again.part
    assert make_split(recordings, seed=4).part != split.part


@pytest.mark.parametrize("n", [2, 5])
def test_every_recording_is_tested_in_one_fold(n: int) -> None:
    recordings = instruments()
    folds = [
        make_split(recordings, fold=f"{k}/{n}", group_by=r"(.+)/.*_(p\d+)_")
        for k in range(1, n + 1)
    ]
    tested = Counter(path for split in folds for path in parts_of(split)[TEST])
    assert set(tested) == {r.path for r in recordings}
    assert set(tested.values()) == {1}
    for split in folds:
        assert_whole_groups(split)
        sizes = {p: len(paths) for p, paths in parts_of(split).items()}
        assert sizes[TEST] / len(recordings) == pytest.approx(1 / n, abs=0.03)
        assert sizes[VAL] / (len(recordings) - sizes[TEST]) == pytest.approx(0.15, abs=0.03)


def test_leave_one_group_out() -> None:
    store = tiny_store()
    names = sorted({r.extra["player"] for r in store.recordings})
    split = make_split(store.recordings, group_by="player", fold="2/logo")
    tested = parts_of(split)[TEST]
    assert {split.group[path] for path in tested} == {names[1]}
    assert names[1] in split.method
    with pytest.raises(SettingError, match=f"{len(names)} groups"):
        make_split(store.recordings, group_by="player", fold=f"{len(names) + 1}/logo")


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(3, 30), min_size=2),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_three_groups_of_a_class_suffice_for_all_parts(
    sizes: dict[str, int], group_size: int, seed: int
) -> None:
    recordings = [
        recording(f"{c}/{i}-{j}", c, group=f"{c}{i}")
        for c, n in sizes.items()
        for i in range(n)
        for j in range(1 + i % group_size)
    ]
    split = make_split(recordings, seed=seed)
    assert_whole_groups(split)
    assert {(split.label[path], p) for path, p in split.part.items()} == {
        (c, p) for c in sizes for p in range(3)
    }


@given(st.integers(3, 30), st.integers(2, 5), st.integers(0, 99))
def test_groups_that_hold_several_classes(n_groups: int, n_classes: int, seed: int) -> None:
    """Speakers who say every word: no part may be empty."""
    recordings = [
        recording(f"{g}/{c}", str(c), group=str(g))
        for g in range(n_groups)
        for c in range(n_classes)
    ]
    split = make_split(recordings, seed=seed)
    assert_whole_groups(split)
    assert all(parts_of(split).values())


def test_a_class_with_two_groups_is_trained_and_tested() -> None:
    recordings = [recording(f"a/{i}", "a") for i in range(20)]
    recordings += [recording(f"b/{i}", "b", group=f"b{i % 2}") for i in range(10)]
    split = make_split(recordings)
    where = {p for path, p in split.part.items() if split.label[path] == "b"}
    assert where == {TRAIN, TEST}
    assert split.warnings == ["no recording of b in the val part: too few groups"]


def test_groups() -> None:
    store = tiny_store()
    paths = [r.path for r in store.recordings]
    assert find_groups(store.recordings, None) == paths
    store.recordings[0].group = "x"
    assert find_groups(store.recordings, None)[:2] == ["x", paths[1]]
    assert find_groups(store.recordings, "recording") == paths
    assert find_groups(store.recordings, "player")[:3] == ["drum/0", "drum/0", "drum/1"]
    assert find_groups(store.recordings, r"([^/]+)/.*_(\d)\d")[0] == "drum/0"
    assert find_groups(store.recordings, r"_\d\d")[0] == "_00"


def test_the_documented_expression_gives_instrument_and_pitch() -> None:
    expression = r"([^/]+)/[^/]+?_([A-G]s?[0-9])_"
    recordings = [
        recording("cello/cello_A3_1_forte_arco-normal.mp3", "cello"),
        recording("english-horn/cor_Cs4_025_piano_normal.mp3", "english-horn"),
    ]
    assert find_groups(recordings, expression) == ["cello/A3", "english-horn/Cs4"]


@pytest.mark.parametrize(
    ("group_by", "kind", "message"),
    [
        ("playr", SettingError, "did you mean 'player'"),
        ("([^/]+", SettingError, "no valid expression"),
        (r"/(drum.*)", DataError, "'flute/flute_000.wav'.*and 47 more.* does not match"),
    ],
)
def test_groups_that_cannot_be(group_by: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        find_groups(tiny_store().recordings, group_by)


@pytest.mark.parametrize("expression", [r"(a+)+$", r"(a|aa)+$", r"([a-z]+)*\d", r"(.*a){30}$"])
def test_an_expression_cannot_hang(monkeypatch: pytest.MonkeyPatch, expression: str) -> None:
    """Catastrophic backtracking over one long path ends, and is told."""
    monkeypatch.setattr(grouping, "SEARCH_S", 0.2)
    recordings = [recording("a" * 5000 + "!", "x")]
    with pytest.raises(SettingError, match=r"takes too long on") as error:
        find_groups(recordings, expression)
    assert len(str(error.value)) < 300


def test_a_column_with_gaps() -> None:
    recordings = tiny_store().recordings
    recordings[3].extra["player"] = ""
    with pytest.raises(DataError, match=r"drum_003.* has no value in column 'player'"):
        find_groups(recordings, "player")


def given_split(*names: str) -> list[Recording]:
    recordings = tiny_store().recordings
    for i, r in enumerate(recordings):
        r.split = names[i % len(names)]
    return recordings


def test_a_given_split_is_honoured() -> None:
    recordings = given_split("train", "train", "Validation", "test")
    split = make_split(recordings)
    names = {"train": TRAIN, "Validation": VAL, "test": TEST}
    assert split.part == {r.path: names[str(r.split)] for r in recordings}
    with pytest.raises(SettingError, match="own `split` column"):
        make_split(recordings, fold="1/3")


def test_a_part_that_a_given_split_lacks_comes_out_of_train() -> None:
    recordings = given_split("train", "train", "train", "test")
    split = make_split(recordings, group_by="player")
    parts = parts_of(split)
    assert parts[TEST] == {r.path for r in recordings if r.split == "test"}
    assert len(parts[VAL]) == pytest.approx(0.15 * 54, abs=4)
    assert "val taken out of train" in split.method
    # Two recordings of a player alternate, so the given split cuts through players.
    assert any("group(s) in more than one part" in w for w in split.warnings)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("test", "val"), "no usable recording into 'train'"),
        (("train", "tst"), "'tst' of recording"),
        (("train", ""), "no value in column 'split'"),
    ],
)
def test_a_given_split_that_cannot_be(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_split(given_split(*names))


@pytest.mark.parametrize(
    ("recordings", "kwargs", "message"),
    [
        ([], {}, "0 class"),
        ([recording("a/1", "a"), recording("b/1", "b", n_clips=0)], {}, "1 class.*'a'"),
        (
            [recording("a/1", "a", group="x"), recording("b/1", "b", group="y")],
            {},
            r"2 group\(s\) \(x, y\) are too few for train, val and test: >= 3",
        ),
        (
            [recording(f"a/{i}", "a") for i in range(5)] + [recording("b/1", "b")],
            {"fold": "6/logo"},
            r"class 'b' has no recording left for training.*b/1",
        ),
        ([recording(f"{c}/1", c) for c in "abcd"], {"fold": "1/5"}, "too few for 5 folds"),
    ],
)
def test_data_that_cannot_be_split(
    recordings: list[Recording], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_split(recordings, **kwargs)


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "1", "a/b", "-1/5", "0/logo"])
def test_folds_that_cannot_be(fold: str) -> None:
    with pytest.raises(SettingError, match="fold"):
        make_split(instruments(), fold=fold)


def test_the_split_can_be_audited(tmp_path: Path) -> None:
    split = make_split(instruments())
    write_csv(tmp_path / "split.csv", *split.table())
    with (tmp_path / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["path"]: PARTS.index(r["part"]) for r in rows} == split.part
    assert rows[0]["label"] == "banjo"
    assert sum(part["recordings"] for part in split.counts().values()) == len(rows)
