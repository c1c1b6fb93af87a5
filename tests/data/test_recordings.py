"""Layouts: which recordings a data set has, with which labels, groups and splits."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocls.data.listing import list_recordings
from audiocls.data.recordings import (
    Recording,
    notice_similar_labels,
    read_recordings,
    write_recordings,
)
from audiocls.errors import DataError, SettingError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def paths(root: Path) -> list[str]:
    return [recording.path for recording in list_recordings(root).recordings]


def errors(root: Path) -> dict[str, str]:
    return {r.path: r.error for r in list_recordings(root).recordings if r.error}


def test_a_folder_per_class(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "dog/b.WAV",
        "dog/a.Mp3",
        "dog/deep/er/c.flac",
        "cat/a.ogg",
        "cat/notes.txt",
        "cat/.hidden.wav",
        ".git/x.wav",
        "README.md",
    )
    listing = list_recordings(tmp_path)
    assert [(r.id, r.path, r.label, r.group) for r in listing.recordings] == [
        (0, "cat/a.ogg", "cat", "cat/a.ogg"),
        (1, "dog/a.Mp3", "dog", "dog/a.Mp3"),
        (2, "dog/b.WAV", "dog", "dog/b.WAV"),
        (3, "dog/deep/er/c.flac", "dog", "dog/deep/er/c.flac"),
    ]
    assert listing.others == ["README.md", "cat/notes.txt"]
    assert listing.n_hidden == 2
    assert all(r.n_bytes == 1 and r.mtime_ns > 0 for r in listing.recordings)


def test_folders_that_are_all_parts_are_the_split(tmp_path: Path) -> None:
    touch(tmp_path, "Train/dog/a.wav", "Train/dog/deep/b.wav", "val/cat/a.wav", "stray.wav")
    touch(tmp_path, "validation/dog/c.wav", "test/no-class.wav", ".git/x/y.wav")
    listing = list_recordings(tmp_path)
    assert {r.path: (r.split, r.label, r.error) for r in listing.recordings} == {
        "Train/dog/a.wav": ("Train", "dog", ""),
        "Train/dog/deep/b.wav": ("Train", "dog", ""),
        "val/cat/a.wav": ("val", "cat", ""),
        "validation/dog/c.wav": ("validation", "dog", ""),
        "test/no-class.wav": ("test", "", "is in no class folder"),
        "stray.wav": ("", "", "is in no class folder"),
    }
    assert listing.notices == [
        "folders Train, test, val, validation are taken as the split, those in them as the classes",
        "left out: 1 hidden",
    ]


@pytest.mark.parametrize("other", ["train/x.wav", "steam/old/x.wav"])
def test_a_class_may_be_called_train(tmp_path: Path, other: str) -> None:
    touch(tmp_path, "train/a.wav", "test/b.wav", other)
    listing = list_recordings(tmp_path)
    assert {(r.split, r.label) for r in listing.recordings} <= {
        ("", "train"),
        ("", "test"),
        ("", "steam"),
    }
    assert listing.notices == []


def test_a_file_outside_every_class_folder_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.wav", "stray.wav")
    assert errors(tmp_path) == {"stray.wav": "is in no class folder"}


def test_what_only_looks_like_a_recording_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a/good.wav", "elsewhere/c.txt")
    (tmp_path / "a/folder.wav").mkdir()
    touch(tmp_path, "a/folder.wav/inside.wav")
    (tmp_path / "a/dangling.wav").symlink_to("nowhere.wav")
    (tmp_path / "a/loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "a/pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path / "a")  # the name of a socket must be short
        try:
            server.bind("socket.wav")
        finally:
            os.chdir(here)
        assert errors(tmp_path) == {
            "a/folder.wav": "is a folder, not a recording",
            "a/dangling.wav": "is a symbolic link to nothing",
            "a/loop.wav": "Too many levels of symbolic links",
            "a/pipe.wav": "is a pipe, socket or device, not a recording",
            "a/socket.wav": "is a pipe, socket or device, not a recording",
        }
    assert "a/good.wav" in paths(tmp_path)
    assert "a/folder.wav/inside.wav" in paths(tmp_path)


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    touch(data, "a/x.wav")
    touch(outside, "far/y.wav", "z.wav")
    (data / "a/link.wav").symlink_to(outside / "z.wav")
    (data / "b").symlink_to(outside / "far")
    (data / "a/up").symlink_to(data)
    listing = list_recordings(data)
    assert [(r.path, r.label) for r in listing.recordings] == [
        ("a/link.wav", "a"),
        ("a/x.wav", "a"),
        ("b/y.wav", "b"),
    ]
    assert listing.notices == ["a/up leads back to a folder above it: left out"]


def test_each_folder_is_listed_once(tmp_path: Path) -> None:
    """24 levels of two links each: 2 ** 24 paths lead to one recording."""
    for level in range(25):
        folder = tmp_path / f"levels/l{level}"
        folder.mkdir(parents=True)
        for name in "xy" if level < 24 else "":
            (folder / name).symlink_to(f"../l{level + 1}")
    touch(tmp_path, "levels/l24/1.wav")
    for i in range(7):
        touch(tmp_path, f"clique/{i}/f.wav")
        for j in set(range(7)) - {i}:
            (tmp_path / f"clique/{i}/to{j}").symlink_to(f"../{j}")
    listing = list_recordings(tmp_path)
    assert [r.path for r in listing.recordings] == [
        *(f"clique/{i}/f.wav" for i in range(7)),
        "levels/l24/1.wav",
    ]
    (notice,) = [text for text in listing.notices if "elsewhere" in text]
    named = "clique/0/to1, clique/0/to2, clique/0/to3, …"
    assert notice == f"folders that are listed elsewhere are left out: {named}"


def test_a_link_and_what_it_leads_to(tmp_path: Path) -> None:
    """The folder is listed where it is; of two links to one elsewhere, the first by name."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    touch(outside, "far/y.wav")
    touch(data, "z/x.wav")
    (data / "a").symlink_to("z")
    (data / "c").symlink_to(outside / "far")
    (data / "b").symlink_to(outside / "far")
    assert paths(data) == ["b/y.wav", "z/x.wav"]


def test_folders_nest_more_deeply_than_python_calls(tmp_path: Path) -> None:
    name = "a/" * 1500 + "x.wav"  # a path may have 4096 bytes, so about the deepest there is
    folders = [tmp_path]
    for part in name.split("/")[:-1]:
        folders.append(folders[-1] / part)
        folders[-1].mkdir()
    touch(tmp_path, name)
    assert paths(tmp_path) == [name]
    (tmp_path / name).unlink()
    for folder in reversed(folders[1:]):  # pytest's own tidying calls itself for each folder
        folder.rmdir()


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "new\nline",
        "carriage\rreturn",
        "\x0b\x0c\x1c\x85\u2028\ufeff",
        "바이올린",
        "🎻",
        "quote\"'",
        "comma,semi;",
        "back\\slash",
        "\udcff\udc80",
    ],
)
def test_any_name_lists_and_survives_recordings_csv(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    touch(data, f"{name}/{name}.wav", "other/x.wav")
    listing = list_recordings(data)
    assert f"{name}/{name}.wav" in [r.path for r in listing.recordings]
    file = tmp_path / "recordings.csv"
    write_recordings(file, listing.recordings)
    file.read_text(encoding="utf-8")  # whatever the names, the file is valid UTF-8
    assert read_recordings(file) == listing.recordings


def test_recordings_csv_keeps_everything(tmp_path: Path) -> None:
    recordings = [
        Recording(0, "a/x.wav", "a", "g", "train", 1.25, 44100, 2, 3, 1, "ok", "", "00ff", 7, 8),
        Recording(1, "b,\r\n.wav", "b", "b", "", None, None, None, 0, 0, "failed", 'why "so"',
                  extra={"player": "José", "room": ""}),
    ]  # fmt: skip
    recordings[0].extra = {"player": "", "room": "\\x"}
    write_recordings(tmp_path / "r.csv", recordings)
    assert read_recordings(tmp_path / "r.csv") == recordings
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert rows[0]["duration_s"] == "1.25"
    assert rows[1]["player"] == "José"


def test_a_damaged_recordings_csv_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recordings.csv"
    for text in ("", "a,b\n1,2\n"):
        file.write_text(text)
        with pytest.raises(DataError, match=r"is not a recordings\.csv"):
            read_recordings(file)


def test_labels_that_differ_in_case_accents_or_form_are_reported(tmp_path: Path) -> None:
    assert notice_similar_labels({"Flute", "flûte", "oboe"}) == [
        "labels 'Flute', 'flûte' differ only in case, accents or spaces: kept as 2 classes"
    ]
    assert len(notice_similar_labels({"e\u0301", "\u00e9"})) == 1  # one letter in two Unicode forms
    assert notice_similar_labels({"바이올린", "비올라", "violin 1", "violin 2"}) == []
    touch(tmp_path, "Cello/a.wav", "cello/b.wav")
    listing = list_recordings(tmp_path)
    assert {r.label for r in listing.recordings} == {"Cello", "cello"}
    assert len(listing.notices) == 1


def test_metadata_csv(tmp_path: Path) -> None:
    touch(tmp_path, "clips/b.wav", "clips/a.wav", "clips/unlisted.wav")
    (tmp_path / "metadata.csv").write_text(
        "\ufefffile_name,label,split,group,player,status\n"
        "clips/b.wav,dog,test,g1,Ann,new\n"
        "clips/a.wav,cat,train,,Bob,old\n"
        "clips/gone.wav,cat,train,,Bob,old\n"
        "clips/a.wav,,train,,Bob,old\n"
        ",cat,train,,Bob,old\n"
    )
    listing = list_recordings(tmp_path)
    rows = [(r.path, r.label, r.split, r.group, r.error) for r in listing.recordings]
    assert rows == [
        ("", "cat", "train", "", "row 6 names no file"),
        ("clips/a.wav", "cat", "train", "clips/a.wav", ""),
        ("clips/a.wav", "", "train", "clips/a.wav", "has no label"),
        ("clips/b.wav", "dog", "test", "g1", ""),
        ("clips/gone.wav", "cat", "train", "clips/gone.wav", "no such file"),
    ]
    # A column named like one of ours keeps its contents under another name.
    assert listing.recordings[3].extra == {"player": "Ann", "metadata_status": "new"}


def test_a_manifest_with_relative_and_absolute_paths(tmp_path: Path) -> None:
    touch(tmp_path, "data/x.wav", "far/y.wav")
    far = str(tmp_path / "far/y.wav")
    rows = [
        {"path": "data/x.wav", "label": "a", "take": 3},
        {"path": far, "label": "b", "group": "g", "take": None},
    ]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    listing = list_recordings(manifest)
    assert [(r.path, r.label, r.group, r.extra["take"]) for r in listing.recordings] == [
        (far, "b", "g", ""),
        ("data/x.wav", "a", "data/x.wav", "3"),
    ]
    assert listing.files == [far, str(tmp_path / "data/x.wav")]
    assert all(not r.error for r in listing.recordings)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "path,kind\nx.wav,a\n", "has no column label; its columns are path, kind"),
        (
            "a.csv",
            "thing,label\nx.wav,a\n",
            "has no column file_name; its columns are thing, label",
        ),
        ("a.csv", "path,label\nx.wav\n", "line 2 has 1 cells, the header has 2"),
        ("a.jsonl", '{"path": "x"\n', "line 1 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list_recordings(tmp_path / name)


def test_what_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    for data, message in (
        (tmp_path / "nowhere", "there is no such file or folder"),
        (
            tmp_path / "x.wav",
            r"must be a folder, or a \.csv, \.tsv, \.txt, \.jsonl or \.parquet file",
        ),
        (3, "must be a path or a datasets.Dataset"),
    ):
        with pytest.raises(SettingError, match=message):
            list_recordings(data)


def wav_bytes(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 4410)
    soundfile.write(buffer, noise, 44100, format="WAV")
    return buffer.getvalue()


def test_a_hugging_face_dataset(tmp_path: Path) -> None:
    import datasets

    (tmp_path / "d.wav").write_bytes(wav_bytes(3))
    hub = tmp_path / "hub"
    hub.mkdir()
    dataset = datasets.Dataset.from_dict(
        {
            "audio": [
                {"bytes": wav_bytes(0), "path": "a.wav"},
                {"bytes": wav_bytes(1), "path": None},
                {"bytes": None, "path": str(tmp_path / "d.wav")},
                {"bytes": None, "path": None},
            ],
            "label": [1, 0, 1, 0],
            "group": ["g", "h", "g", "h"],
            "take": [1, 2, 3, 4],
        },
        features=datasets.Features(
            audio={"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            label=datasets.ClassLabel(names=["cat", "dog"]),
            group=datasets.Value("string"),
            take=datasets.Value("int64"),
        ),
    ).cast_column("audio", datasets.Audio())
    listing = list_recordings(dataset)
    assert [(r.label, r.group, r.extra["take"]) for r in listing.recordings] == [
        ("dog", "g", "1"),
        ("cat", "h", "2"),
        ("dog", "g", "3"),
        ("cat", "h", "4"),
    ]
    assert listing.read is not None
    assert listing.read(0) == (wav_bytes(0), "a.wav")
    assert listing.read(1)[0] == wav_bytes(1)
    assert listing.read(2) == (wav_bytes(3), "d.wav")
    with pytest.raises((DataError, TypeError)):
        listing.read(3)

    dataset.select(range(2)).to_parquet(hub / "train-00000-of-00001.parquet")
    for data in (hub / "train-00000-of-00001.parquet", hub):
        listing = list_recordings(data)
        assert [(r.label, r.split) for r in listing.recordings if not r.error] == [
            ("dog", "train"),
            ("cat", "train"),
        ]


@pytest.mark.parametrize("kind", ["numpy", "torch", "arrow", "pandas"])
def test_a_hugging_face_dataset_of_any_format(kind: str) -> None:
    import datasets

    audio = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    dataset = datasets.Dataset.from_dict(
        {"audio": [{"bytes": wav_bytes(0), "path": None}] * 2, "label": [1, 0], "take": [7, 8]},
        features=datasets.Features(
            audio=audio,
            label=datasets.ClassLabel(names=["dog", "cat"]),
            take=datasets.Value("int64"),
        ),
    ).cast_column("audio", datasets.Audio())
    listing = list_recordings(dataset.with_format(kind))
    assert [(r.label, dict(r.extra)) for r in listing.recordings] == [
        ("cat", {"take": "7"}),
        ("dog", {"take": "8"}),
    ]
    assert listing.read is not None
    assert listing.read(0)[0] == wav_bytes(0)


def test_parquet_rows_are_found_across_row_groups_and_files(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in range(2):
        table = pa.table(
            {
                "audio": [bytes([part, i]) for i in range(7)],
                "label": [f"class-{i % 3}" for i in range(7)],
            }
        )
        pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=3)
    listing = list_recordings(tmp_path)
    assert listing.read is not None
    contents = [listing.read(i)[0] for i in range(14)]
    assert contents == [bytes([part, i]) for part in range(2) for i in range(7)]
    assert [r.label for r in listing.recordings][7:10] == ["class-0", "class-1", "class-2"]


def test_a_table_without_audio_or_label(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"label": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no audio column, or several"):
        list_recordings(tmp_path / "a.parquet")
    pq.write_table(pa.table({"audio": [b"x"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="has no label"):
        list_recordings(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list_recordings(tmp_path / "c.parquet")
