"""Annotations, in files beside the recordings or in a folder of their own → events."""

from __future__ import annotations

import os
from pathlib import Path

from audiocls.data.annotations import CROWSETTA, TEXT, Annotations, Event, read_annotations
from audiocls.data.labelling import Labelling
from audiocls.data.recordings import Listing, Recording
from audiocls.engine.audio import probe
from audiocls.errors import DataError, SettingError
from audiocls.parallel import for_each

_SUFFIXES = frozenset((*TEXT, *CROWSETTA))
# How far an event may reach over the end: people draw boxes to the edge of what they see.
_SLACK_S = 0.5


def read_beside(listing: Listing, labelling: Labelling) -> None:
    """Takes the annotations in files that lie beside recordings and are called as these are."""
    beside = [path for path in listing.others if _suffix(path) in _SUFFIXES]
    matched = _matched(listing, beside, anywhere=False)
    found = _read(listing, {path: Path(listing.root) / path for path in matched}, labelling)
    if not any(found.values()):
        return
    _give(listing, matched, found)
    taken = {path for path, annotations in found.items() if annotations is not None}
    listing.others = [path for path in listing.others if path not in taken]


def read_folder(listing: Listing, labelling: Labelling) -> None:
    """Takes the annotations in the folder `labelling.annotations`.

    Raises:
        SettingError: it is no folder, or holds no annotations.
    """
    folder = Path(str(labelling.annotations))
    if not folder.is_dir():
        rule = "is no folder of Raven selection tables or Audacity label tracks"
        raise SettingError("annotations", str(folder), rule)
    files = {
        Path(parent, name).relative_to(folder).as_posix(): Path(parent, name)
        for parent, folders, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and _suffix(name) in _SUFFIXES
    }
    matched = _matched(listing, sorted(files), anywhere=True)
    found = _read(listing, {path: files[path] for path in matched}, labelling)
    for path, own in found.items():
        if own is None and not files[path].read_bytes().strip():
            found[path] = Annotations("empty")  # heard, and nothing found
    if not any(found.values()):
        rule = f"none of its {len(files)} files holds annotations of a recording: a Raven table or "
        rule += "an Audacity track, called as the recording, such as a.wav and a.txt"
        raise SettingError("annotations", str(folder), rule)
    _give(listing, matched, found)
    for what, paths in (
        ("name no recording", [path for path in files if path not in matched]),
        ("hold no annotations", [path for path, found_ in found.items() if found_ is None]),
    ):
        if paths:
            listing.notices.append(f"{folder}: {_some(paths)} {what}: left out")


def _matched(listing: Listing, files: list[str], anywhere: bool) -> dict[str, Recording]:
    """Path of a file of annotations → the recording with its name.

    The file is called a.txt, a.wav.txt or a.Table.1.selections.txt. It lies in the folder of the
    recording or, if `anywhere`, in another folder if the name is unique.
    """
    by_name: dict[tuple[str, str], list[Recording]] = {}
    for r in listing.recordings:
        folder, _, name = r.path.rpartition("/")
        for known in {name, name.rpartition(".")[0]}:
            by_name.setdefault((folder, known), []).append(r)
            if (anywhere and folder) or anywhere:
                by_name.setdefault(("*", known), []).append(r)
    matched = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        while "." in name:
            name = name.rpartition(".")[0]
            found = by_name.get((folder, name), []) or by_name.get(("*", name), [])
            if len(found) == 1:
                matched[path] = found[0]
            if found:
                break
    return matched


def _read(
    listing: Listing, files: dict[str, Path], labelling: Labelling
) -> dict[str, Annotations | None]:
    columns = dict(labelling.columns)
    if labelling.label_by is not None and labelling.annotations is not None:
        columns.setdefault("label", labelling.label_by)

    def read(file: Path) -> Annotations | None:
        return read_annotations(file, columns=columns, encoding=labelling.encoding)

    return dict(zip(files, for_each(read, list(files.values())), strict=True))


def _give(
    listing: Listing, matched: dict[str, Recording], found: dict[str, Annotations | None]
) -> None:
    """Every recording its annotations; those without any are left out, with a notice."""
    forms = set()
    for path, own in found.items():
        if own is not None:
            forms.add(own.form)
            listing.annotations.setdefault(matched[path].path, Annotations("files")).join(own)
    n = len(listing.annotations)
    listing.notices.append(f"labels are those of stretches: annotations ({_list(forms)}) of {n} "
                           f"recording{'s' if n > 1 else ''}")  # fmt: skip


def take_events(listing: Listing, labelling: Labelling) -> None:
    """Makes the annotations of recordings their events: inside of them, in order of time.

    A recording without annotations is left out, with a notice.
    """
    without = [
        r for r in listing.recordings if r.path not in listing.annotations and r.status != "failed"
    ]
    if without:
        listing.notices.append(f"{_some([r.path for r in without])} without annotations: left out")
        gone = {id(r) for r in without}
        listing.take([i for i, r in enumerate(listing.recordings) if id(r) not in gone])
    known = {r.path: file for r, file in zip(listing.recordings, listing.files, strict=True)}
    paths = [path for path in listing.annotations if known.get(path)]
    durations = dict(
        zip(paths, for_each(lambda path: _duration(str(known[path])), paths), strict=True)
    )
    if _leave_times_out(listing, labelling, durations):
        return
    for recording in listing.recordings:
        annotations = listing.annotations.get(recording.path, Annotations("none"))
        end = durations.get(recording.path)
        if end is not None:
            annotations.leave_out(lambda event, end=end: _outside(event, end))  # type: ignore[misc]
        recording.label = ""
        recording.events = tuple(sorted(annotations.events))
        recording.left_out = tuple(annotations.left_out)
    wrong = [reason for r in listing.recordings for reason in r.left_out]
    if wrong:
        more = f" (and {len(wrong) - 1} more: failures.csv of the store)" if len(wrong) > 1 else ""
        listing.notices.append(f"left out: {wrong[0]}{more}")


def _outside(event: Event, end: float) -> str:
    if event.start_s < end:
        return ""
    return f"lies outside: it starts at {event.start_s:g} s, the recording ends at {end:g} s"


def _leave_times_out(
    listing: Listing, labelling: Labelling, durations: dict[str, float | None]
) -> bool:
    """Leaves out the starts and ends of a table that speak of other recordings.

    They are times in the recordings that these were cut from. Returns whether it left them out.

    Raises:
        DataError: the times do not fit, but may be meant.
    """
    known = [path for path, end in durations.items() if end is not None]
    unfit = [
        path
        for path in known
        if any(
            event.end_s > (durations[path] or 0) + _SLACK_S and event.end_s < float("inf")
            for event in listing.annotations[path].events
        )
    ]
    if 2 * len(unfit) <= len(known) or any(a.form != "table" for a in listing.annotations.values()):
        return False
    example = listing.annotations[unfit[0]].events[-1]
    said = (
        f"{len(unfit)} of {len(known)} recordings end before the stretches of the table do: "
        f"{unfit[0]} has {durations[unfit[0]]:.1f} s, its stretch ends at {example.end_s:g} s"
    )
    single = all(len(a.where) <= 1 for a in listing.annotations.values())
    if not single or "start_s" in dict(labelling.columns):
        raise DataError(f"{said}; to label whole recordings instead: `columns` start_s=")
    for recording in listing.recordings:
        annotations = listing.annotations.get(recording.path)
        if annotations is not None and annotations.events:
            recording.label = annotations.events[0].label
    listing.annotations.clear()
    listing.notices.append(f"{said}: they are left out, as with `columns` start_s=")
    return True


def _duration(file: str) -> float | None:
    try:
        return probe(file)[0]
    except (OSError, DataError):
        return None  # the extraction says why


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{min(paths)}{more}"
