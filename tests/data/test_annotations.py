"""Labelled stretches: Raven's tables and Audacity's tracks against crowsetta, and rows that are
none.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from audiocls.data.annotations import (
    Annotations,
    Event,
    merge_events,
    parse_event,
    read_annotations,
)
from audiocls.data.tables import detect_encoding, detect_separator, match_columns
from audiocls.errors import DataError, SettingError

with warnings.catch_warnings():  # of the libraries below it
    warnings.simplefilter("ignore")
    import crowsetta

RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies"
)
EVENTS = [Event(0.5, 1.25, "owl"), Event(1.0, 3.125, "frog"), Event(2.0, 2.5, "owl")]


def raven(events: list[Event], views: tuple[str, ...] = ("Spectrogram 1",)) -> str:
    lines = [
        f"{n}\t{view}\t1\t{e.start_s}\t{e.end_s}\t300.5\t{4000.5 + len(view)}\t{e.label}"
        for n, e in enumerate(events, 1)
        for view in views
    ]
    return "\n".join([RAVEN, *lines]) + "\n"


def found(path: Path, **settings: str) -> Annotations:
    annotations = read_annotations(path, **settings)  # type: ignore[arg-type]
    assert annotations is not None
    return annotations


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # crowsetta's affair
def test_a_raven_table_is_read_as_crowsetta_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "a.Table.1.selections.txt"
    file.write_text(raven(EVENTS))
    boxes = crowsetta.formats.bbox.Raven.from_file(file, annot_col="Species").to_bbox()
    assert found(file).events == [Event(b.onset, b.offset, b.label) for b in boxes] == EVENTS


def test_an_audacity_track_is_read_as_crowsetta_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("".join(f"{e.start_s}\t{e.end_s}\t{e.label}\n" for e in EVENTS))
    sequence = crowsetta.formats.seq.AudSeq.from_file(file).to_seq()
    expected = [
        Event(*row)
        for row in zip(sequence.onsets_s, sequence.offsets_s, sequence.labels, strict=True)
    ]
    assert found(file).events == expected == EVENTS
    # Audacity puts frequencies, if there are any, in a line of their own.
    file.write_text("".join(f"{e.start_s}\t{e.end_s}\t{e.label}\n\\\t300\t4000\n" for e in EVENTS))
    assert found(file).events == EVENTS
    assert found(file).left_out == []


def test_a_textgrid_is_read_by_crowsetta(tmp_path: Path) -> None:
    file = tmp_path / "a.TextGrid"
    intervals = [(0.0, 0.5, ""), (0.5, 1.25, "owl"), (1.25, 2.0, "frog")]
    rows = "".join(
        f"        intervals [{n}]:\n            xmin = {a}\n            xmax = {b}\n"
        f'            text = "{label}"\n'
        for n, (a, b, label) in enumerate(intervals, 1)
    )
    file.write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\n'
        'tiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n        class = "IntervalTier"\n'
        f'        name = "words"\n        xmin = 0\n        xmax = 2\n'
        f"        intervals: size = {len(intervals)}\n{rows}"
    )
    assert found(file).events == [Event(0.5, 1.25, "owl"), Event(1.25, 2.0, "frog")]
    file.write_text("nothing of the kind\n")
    with pytest.raises(DataError, match=r"a\.TextGrid: crowsetta cannot read it"):
        read_annotations(file)


def test_several_views_of_a_selection_are_one_event(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(raven(EVENTS, ("Waveform 1", "Spectrogram 1")))
    assert found(file) == Annotations("Raven", EVENTS, [])
    lines = file.read_text().splitlines()
    lines[2] = lines[2].replace("owl", "wren")
    file.write_text("\n".join(lines))
    assert found(file).events == EVENTS
    assert found(file).left_out == [
        f"{file}: line 3 selection 1 has another start, end or label than in view 'Waveform 1'"
    ]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("3\t2\towl", "ends before it starts: 3 to 2 s"),
        ("3\t3\towl", "is a point without a length, at 3 s"),
        ("-1\t2\towl", "starts before the recording: -1 s"),
        ("1\t2\t  ", "has no label"),
        ("1.2.3\t2\towl", "has no start and end in seconds: '1.2.3', '2'"),
        ("begin\t2\towl", "is no label: must be start, end and label with tabs"),
    ],
)
def test_a_row_that_is_no_event_costs_nothing_else(tmp_path: Path, row: str, rule: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"0.5\t1\tfrog\n{row}\n1,5\t2,5\tfrog \n")
    assert found(file).events == [Event(0.5, 1.0, "frog"), Event(1.5, 2.5, "frog")]
    assert found(file).left_out == [f"{file}: line 2 {rule}"]


@pytest.mark.parametrize(
    "text", ["", "Once upon a time\n", "HE SAID\t SHE SAID\n", "a,b,c\n1,2,3\n"]
)
def test_another_text_is_no_annotation(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert read_annotations(tmp_path / "a.txt") is None


def test_a_column_is_named_or_said_to_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(raven(EVENTS).replace("Species", "Call"))
    with pytest.raises(DataError, match=r"has no column label; its columns are Selection, .*Call"):
        read_annotations(file)
    assert found(file, columns={"label": "call"}).events == EVENTS  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"columns 'label=Bird' is invalid: .*no such column"):
        read_annotations(file, columns={"label": "Bird"})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_labels_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0\t1\tEule für Ä\n", encoding=encoding)
    if encoding == "latin-1":
        with pytest.raises(DataError, match=r"line 1: Eule f\\xfcr \\xc4 is not UTF-8; name the"):
            read_annotations(file)
    assert found(file, encoding="latin-1").events == [Event(0, 1, "Eule für Ä")]
    for name in ("nonsense", "base64", "a\0b"):
        with pytest.raises(SettingError, match="encoding"):
            detect_encoding(b"", name)


def test_known_columns_and_separators() -> None:
    header = ["slice_file_name", "fsID", "start", "end", "classID", "class"]
    assert match_columns("t", header, {}, ["file_name", "label"]) == {
        "file_name": "slice_file_name", "label": "class", "start_s": "start", "end_s": "end",
    }  # fmt: skip
    assert "start_s" not in match_columns("t", header, {"start_s": ""}, [])
    assert match_columns("t", ["Filename", "fold", "target", "category"], {}, []) == {
        "file_name": "Filename", "label": "category",
    }  # fmt: skip
    # An end without a start is metadata of another kind; asked for, it is a mistake.
    assert match_columns("t", ["path", "label", "end"], {}, []) == {
        "file_name": "path",
        "label": "label",
    }
    with pytest.raises(SettingError, match="has no column for start_s; name it, too"):
        match_columns("t", ["path", "label", "end"], {"end_s": "end"}, [])
    for header_line, separator in (
        ("file_name,label", ","), ("file_name;label", ";"), ("a\tb", "\t"),
        ("path;my,label;label", ";"), ("label", ","), ("", ","),
    ):  # fmt: skip
        assert detect_separator(header_line) == separator


def test_an_event_of_a_row() -> None:
    assert parse_event(" 1 ", "2", " owl ") == Event(1.0, 2.0, "owl")
    for start in ("nan", "inf", "1e12", ""):
        with pytest.raises(ValueError, match="has no start and end in seconds"):
            parse_event(start, "2", "owl")


def test_events_of_one_label_that_overlap_are_one_stretch() -> None:
    events = [Event(2, 4, "owl"), Event(0, 1, "owl"), Event(3, 5, "owl"), Event(1, 3, "frog"),
              Event(5, 6, "owl"), Event(2.5, 2.75, "owl"), Event(6.5, 7, "owl")]  # fmt: skip
    assert merge_events(events) == [
        Event(0, 1, "owl"), Event(1, 3, "frog"), Event(2, 6, "owl"), Event(6.5, 7, "owl"),
    ]  # fmt: skip
