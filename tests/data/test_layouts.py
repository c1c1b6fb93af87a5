"""Labels as people have them: in names, deeper folders, tables; and nothing vanishes."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sounds import tone, write

from audiocls.data.labelling import Labelling
from audiocls.data.listing import list_recordings
from audiocls.data.recordings import Listing
from audiocls.errors import DataError, SettingError

WORDS = ("dog", "rain", "clock", "siren")


def table(file: Path, rows: list[list[Any]], encoding: str = "utf-8", delimiter: str = ",") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding=encoding) as text:
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)


def listed(data: Path, **labels: Any) -> Listing:
    return list_recordings(data, labelling=Labelling(**labels))


def labels(listing: Listing) -> dict[str, int]:
    return Counter(r.label for r in listing.recordings if r.status != "failed")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.fixture
def esc50(tmp_path: Path) -> Path:
    rows: list[list[Any]] = [
        ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    ]
    for k, word in enumerate(WORDS):
        for fold in range(1, 6):
            name = f"{fold}-{1000 + 10 * k + fold}-A-{k}.wav"
            write(tmp_path / "ESC-50/audio" / name, tone(0.2, 200 * (k + 1)))
            rows.append([name, fold, k, word, "False", 1000, "A"])
    table(tmp_path / "ESC-50/meta/esc50.csv", rows)
    return tmp_path / "ESC-50"


@pytest.fixture
def urbansound(tmp_path: Path) -> Path:
    header = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    rows: list[list[Any]] = [header]
    for k, word in enumerate(WORDS):
        for i in range(8):
            fold, name = 1 + i % 4, f"{100 + i}-{k}-0-{i}.wav"
            write(tmp_path / f"UrbanSound8K/audio/fold{fold}/{name}", tone(0.2, 250 * (k + 1)))
            rows.append([name, 100 + i, 12.5, 16.5, 1, fold, k, word])
    table(tmp_path / "UrbanSound8K/metadata/UrbanSound8K.csv", rows)
    return tmp_path / "UrbanSound8K"


def test_esc_50_with_its_table(esc50: Path) -> None:
    plain = listed(esc50)
    assert labels(plain) == {"audio": 20}
    assert (
        "all recordings are in one folder, 'audio': if a table has the labels, "
        "`table` meta/esc50.csv"
    ) in plain.notices
    for name in ("meta/esc50.csv", str(esc50 / "meta/esc50.csv")):
        found = listed(esc50, table=name)
        assert labels(found) == dict.fromkeys(WORDS, 5)
        assert found.recordings[0].path == "audio/1-1001-A-0.wav"
        assert found.recordings[0].extra["fold"] == "1"
        assert found.notices == [
            "esc50.csv: file_name is column 'filename', label is column 'category'"
        ]
    assert labels(listed(esc50, table="meta/esc50.csv", label_by="target")) == dict.fromkeys(
        "0123", 5
    )


def test_urbansound_whose_times_are_of_other_recordings(urbansound: Path) -> None:
    found = listed(urbansound, table="metadata/UrbanSound8K.csv")
    assert labels(found) == dict.fromkeys(WORDS, 8)
    assert all(r.events is None for r in found.recordings)
    assert found.notices[-1] == (
        "32 of 32 recordings end before the stretches of the table do: audio/fold1/100-0-0-0.wav "
        "has 0.2 s, its stretch ends at 16.5 s: they are left out, as with `columns` start_s="
    )
    said = listed(urbansound, table="metadata/UrbanSound8K.csv", columns={"start_s": ""})
    assert labels(said) == dict.fromkeys(WORDS, 8)
    assert len(said.notices) == 1
    # Several stretches of a recording are meant: then it is for the user to say.
    text = (urbansound / "metadata/UrbanSound8K.csv").read_text()
    (urbansound / "metadata/UrbanSound8K.csv").write_text(text + text.split("\n", 1)[1])
    with pytest.raises(DataError, match="to label whole recordings instead: `columns` start_s="):
        listed(urbansound, table="metadata/UrbanSound8K.csv")


def test_ravdess_and_spoken_digits_in_their_names(tmp_path: Path) -> None:
    names = [
        f"Actor_{actor:02}/03-01-{emotion:02}-01-01-{take:02}-{actor:02}.wav"
        for actor in range(1, 7)
        for emotion in (1, 3, 5)
        for take in (1, 2)
    ]
    touch(tmp_path / "ravdess", *names)
    found = listed(tmp_path / "ravdess", label_by=r"/\d+-\d+-(\d+)")
    assert labels(found) == {"01": 12, "03": 12, "05": 12}
    touch(
        tmp_path / "digits", *(f"{d}_{s}_{t}.wav" for d in range(4) for s in "abc" for t in "012")
    )
    flat = listed(tmp_path / "digits")
    assert {r.error for r in flat.recordings} == {"is in no class folder"}
    (hint,) = [n for n in flat.notices if "class folder" in n]
    assert "(0, 1, 2, …), `label_by` '^([^_]+)_'" in hint
    assert labels(listed(tmp_path / "digits", label_by="^([^_]+)_")) == dict.fromkeys("0123", 9)


def test_speech_commands_and_what_lies_beside_them(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{w}/{i:08x}_nohash_{i % 3}.wav" for w in ("yes", "no") for i in range(4)))
    touch(tmp_path, "_background_noise_/hum.wav", "validation_list.txt", "testing_list.txt")
    touch(tmp_path, ".DS_Store", "Thumbs.db", "yes/._0.wav", "yes/desktop.ini", "LICENSE")
    (tmp_path / "stop").mkdir()
    assert listed(tmp_path).notices == [
        "folder stop gives no recording, so no class: it holds nothing",
        "folder _background_noise_ is taken as a class: `exclude` _background_noise_ leaves it out",
        "left out: 2 .txt, 1 .db, 1 .ini, 1 without an ending, 2 hidden",
    ]
    found = listed(tmp_path, exclude=("_background_noise_",))
    assert labels(found) == {"yes": 4, "no": 4}
    assert found.notices[0] == "left out by `exclude`: 1 recording"


def test_classes_in_the_second_level(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{s}/{c}/{i}.wav" for s in ("north", "south") for c in ("owl", "wren")
                      for i in range(3)))  # fmt: skip
    assert "`label_by` '^[^/]+/([^/]+)/'" in listed(tmp_path).notices[0]
    assert labels(listed(tmp_path, label_by="^[^/]+/([^/]+)/")) == {"owl": 6, "wren": 6}
    # A class of instruments that each have their players is no such data set.
    touch(tmp_path / "other", "cello/ann/1.wav", "cello/bob/1.wav", "oboe/cid/1.wav")
    assert listed(tmp_path / "other").notices == []


@pytest.mark.parametrize(
    ("name", "header", "form"),
    [
        ("semicolon.csv", ("file_name", "label"), {"delimiter": ";"}),
        ("tabs.tsv", ("file_name", "label"), {"delimiter": "\t"}),
        ("bom.csv", ("file_name", "label"), {"encoding": "utf-8-sig"}),
        ("utf16.csv", ("file_name", "label"), {"encoding": "utf-16"}),
        ("names.csv", ("Filename", " Category"), {}),
        ("known.csv", ("fname", "species"), {}),
        ("known.txt", ("PATH", "Class "), {"delimiter": "\t"}),
    ],
)
def test_tables_as_people_write_them(
    tmp_path: Path, name: str, header: tuple[str, str], form: dict[str, str]
) -> None:
    touch(tmp_path, "a/1.wav", "a/2.wav", "b/3.wav")
    rows = [["a/1.wav", "Ölkäfer"], ["a\\2.wav", "Ölkäfer "], [" b/3.wav"[1:], " wren"]]
    table(tmp_path / name, [list(header), *rows], **form)
    found = listed(tmp_path / name)
    assert labels(found) == {"Ölkäfer": 2, "wren": 1}
    assert [r.path for r in found.recordings] == ["a/1.wav", "a/2.wav", "b/3.wav"]
    assert len(found.notices) == (header != ("file_name", "label"))


def test_columns_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav", "2.wav")
    table(
        tmp_path / "t.csv",
        [["clip", "bird", "label"], ["1.wav", "owl", "x"], ["2.wav", "tit", "y"]],
    )
    found = listed(tmp_path / "t.csv", columns={"file_name": "clip", "label": "Bird"})
    assert labels(found) == {"owl": 1, "tit": 1}
    assert labels(listed(tmp_path / "t.csv", columns={"file_name": "clip"}, label_by="bird")) == {
        "owl": 1, "tit": 1,
    }  # fmt: skip
    with pytest.raises(
        SettingError, match=r"columns 'label=x' .* its columns are clip, bird, label"
    ):
        listed(tmp_path / "t.csv", columns={"file_name": "clip", "label": "x"})
    with pytest.raises(SettingError, match=r"columns 'labels' is invalid: did you mean 'label'\?"):
        Labelling(columns={"labels": "x"})


def test_a_table_that_does_not_fit(esc50: Path) -> None:
    touch(esc50, "audio/more.wav", "other/1-1001-A-0.wav")
    with (esc50 / "meta/esc50.csv").open("a") as file:
        file.write("gone.wav,1,0,dog,False,1,A\n")
    found = listed(esc50, table="meta/esc50.csv")
    assert {r.path: r.error for r in found.recordings if r.error} == {
        "1-1001-A-0.wav": "names 2 files below the data",
        "gone.wav": "no such file",
    }
    assert (
        "left out, for esc50.csv does not name them: 3 (audio/1-1001-A-0.wav, …)" in found.notices
    )
    with pytest.raises(SettingError, match="there is no such file, neither here nor in the data"):
        listed(esc50, table="meta/esc51.csv")
    with pytest.raises(SettingError, match="is for a folder of recordings"):
        listed(esc50 / "meta/esc50.csv", table="meta/esc50.csv")


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav", "2.wav")
    table(
        tmp_path / "t.csv",
        [["file_name", "label"], ["1.wav", "Flöte"], ["2.wav", "Horn"]],
        "latin-1",
    )
    with pytest.raises(
        DataError, match=r"t\.csv: line 2: Fl\\xf6te is not UTF-8; name the encoding"
    ):
        listed(tmp_path / "t.csv")
    assert labels(listed(tmp_path / "t.csv", encoding="latin-1")) == {"Flöte": 1, "Horn": 1}
    folder = os.path.join(os.fsencode(tmp_path / "folders"), b"Fl\xf6te")  # noqa: PTH118
    os.makedirs(folder)  # noqa: PTH103
    with open(os.path.join(folder, b"1.wav"), "wb") as file:  # noqa: PTH118, PTH123
        file.write(b"x")
    found = listed(tmp_path / "folders")
    assert labels(found) == {r"Fl\xf6te": 1}
    assert found.notices == [
        r"the name of folder Fl\xf6te is not UTF-8: `encoding` tells which it is in"
    ]
    assert labels(listed(tmp_path / "folders", encoding="latin-1")) == {"Flöte": 1}
    with pytest.raises(SettingError, match="encoding 'utf-9'"):
        listed(tmp_path / "t.csv", encoding="utf-9")


def test_labels_are_stripped_and_what_is_alike_is_said(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}.wav" for i in range(6)))
    names = ["dog", "dog ", "Night owl", "night_owl", "dog;cat", "cat"]
    table(
        tmp_path / "t.csv",
        [["file_name", "label"], *([f"{i}.wav", n] for i, n in enumerate(names))],
    )
    found = listed(tmp_path / "t.csv")
    assert labels(found)["dog"] == 2
    assert found.notices == [
        "labels 'Night owl', 'night_owl' differ only in case, accents or spaces: kept as 2 classes",
        "label 'dog;cat' is one class: `label_separator` ';' makes several of it",
    ]


def test_only_some_classes(tmp_path: Path) -> None:
    touch(tmp_path, "dog/1.wav", "cat/1.wav", "cat/2.wav", "hen/1.wav")
    found = listed(tmp_path, classes=("dog", "hen"))
    assert labels(found) == {"dog": 1, "hen": 1}
    assert len(found.notices) == 1
    assert [r.id for r in found.recordings] == [0, 1]
    assert "left out by `classes`: 2 recordings of cat" in found.notices
    with pytest.raises(SettingError, match=r"classes 'cow' .* there are cat, dog, hen"):
        listed(tmp_path, classes=("dog", "cow"))


def test_an_expression_or_column_that_does_not_fit(tmp_path: Path) -> None:
    touch(tmp_path, "a/x_1.wav", "a/y.wav")
    found = listed(tmp_path, label_by="([a-z])_")
    assert [(r.path, r.label, r.error) for r in found.recordings] == [
        ("a/x_1.wav", "x", ""),
        ("a/y.wav", "", "does not match `label_by` '([a-z])_'"),
    ]
    with pytest.raises(SettingError, match="label_by '\\(' is invalid: no valid expression"):
        listed(tmp_path, label_by="(")
    with pytest.raises(SettingError, match="label_by 'species' is invalid"):
        listed(tmp_path, label_by="species")


def test_a_class_that_gives_nothing_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "dog/a.wav", "cat/a.mov", "cat/b.3gp", "cat/c.MKV", "cat/d.webm", "cat/e.mp4")
    touch(tmp_path, "hen/a.xyz", "hen/b.xyz")
    found = listed(tmp_path)
    assert labels(found) == {"dog": 1, "cat": 5}
    assert found.notices == [
        "folder hen gives no recording, so no class: it holds 2 .xyz",
        "left out: 2 .xyz",
    ]
