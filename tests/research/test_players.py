"""Other players: what may train, that files are those of their checksums, and who is named."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import pytest
from conftest import ROOT

import orchestra
import players


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of each of three sources: one that may train, one of no class, one for tests."""
    rows = [
        ("ganjo/banjo/a.flac", "banjo", "ganjo", "train", "CC0"),
        ("iowa/unknown/viola/b.flac", "unknown", "iowa", "train", "public domain"),
        ("kay-banjo/banjo/c.flac", "banjo", "kay-banjo", "test", "GPL-3.0"),
    ]
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "label", "source", "use", "licence"])
        table.writerows(rows)
    sums = []
    for name, *_ in rows:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(name.encode())
        sums.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    return tmp_path


def test_only_what_the_licence_permits_trains(folder: Path) -> None:
    rows = list(players.players(folder, "train"))
    assert [(row["label"], row["source"], row["family"]) for row in rows] == [
        ("banjo", "ganjo", "ganjo"),
        ("unknown", "unknown", "iowa"),
    ]
    assert [Path(r["path"]).name for r in players.players(folder, "test")] == ["c.flac"]
    assert len(list(players.players(folder, "all"))) == 3
    assert len({row["group"] for row in rows}) == 2


def test_the_table_here_decides_not_the_one_beside_the_recordings(folder: Path) -> None:
    text = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(text.replace("kay-banjo,test", "kay-banjo,train"))
    assert len(list(players.players(folder, "train"))) == 2
    (folder / "metadata.csv").write_text(text.replace("GPL-3.0", "CC0"))
    with pytest.raises(ValueError, match=r"c\.flac: players\.csv has no such source: kay-banjo"):
        list(players.players(folder, "train"))


def test_another_file_under_the_same_name(folder: Path) -> None:
    (folder / "ganjo/banjo/a.flac").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"a\.flac: is not the recording of its checksum"):
        list(players.players(folder, "train"))


def test_every_source_that_trains_has_a_licence_that_permits_it() -> None:
    free = {"CC0", "public domain", "CC BY 4.0"}
    table = players.sources()
    assert {row["licence"] for row in table.values() if row["use"] == "train"} <= free
    assert {row["use"] for row in table.values() if row["licence"] not in free} == {"test"}


def test_whoever_asks_to_be_named_is() -> None:
    names = players.attributions()
    assert set(names) == {"good-sounds", "kyster-nylon", "ixox-flute"}
    for document in ("NOTICE", "research/notes/sources.md"):
        text = (ROOT / document).read_text("utf-8")
        for source, who in names.items():
            assert who in text, f"{document} does not name {who} for {source}"


def test_the_real_recordings_are_those(folder: Path) -> None:
    place = os.environ.get("AUDIOCLS_TEST_PLAYERS", ROOT.parent / "shared" / "data" / "players")
    if not Path(place).is_dir():
        pytest.skip(f"no recordings of players at {place}; set AUDIOCLS_TEST_PLAYERS to a copy")
    rows = list(players.players(Path(place), "train"))
    assert len(rows) == 1105
    assert {row["family"] for row in rows} == {
        name for name, row in players.sources().items() if row["use"] == "train"
    }
    left = orchestra.leave_out(rows, ["iowa", "ganjo"])
    assert len(left) == 1105 - 595 - 60
