"""What a data set or a feature store contains: numbers, a table, a picture."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocls.data.labelling import Labelling
from audiocls.data.listing import list_recordings
from audiocls.data.recordings import Listing, Recording, notice_scope, notice_similar_labels
from audiocls.data.shortcuts import notice_shortcuts, notice_silence
from audiocls.engine.audio import probe
from audiocls.errors import DataError, SettingError, explain_failure
from audiocls.files import escape
from audiocls.parallel import for_each
from audiocls.store.store import open_store


@dataclass
class ClassSummary:
    """One class."""

    label: str
    recordings: int = 0
    failed: int = 0
    clips: int = 0
    seconds: float = 0.0
    groups: int = 0
    events: int = 0  # labelled stretches


@dataclass
class Duplicate:
    """Recordings with the same samples."""

    paths: list[str]
    labels: list[str]  # the different labels among them: more than one is a contradiction
    n_groups: int  # more than one: a split may put the same audio on both sides


@dataclass
class Summary:
    """What `audiocls info` shows of recordings.

    `decoded` is false for a data set: only its headers were read, so clips, silence and duplicates
    are unknown.
    """

    path: str
    decoded: bool
    feature: str
    shape: list[int]
    classes: list[ClassSummary]
    imbalance: float  # clips (or recordings) of the largest class ÷ of the smallest
    recordings: int
    failed: int
    skipped: int
    silent_clips: int
    failures: list[tuple[str, str]]  # path, reason
    sample_rates: dict[str, int]  # Hz: recordings
    channels: dict[str, int]
    splits: dict[str, int]
    group_sizes: dict[str, float]  # number of groups; recordings a group: min, median, max
    duplicates: list[Duplicate]
    notices: list[str]
    durations_s: list[float]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single durations, as plain data."""
        contents = dataclasses.asdict(self)
        durations = contents.pop("durations_s")
        if durations:
            contents["duration_s"] = {
                "total": sum(durations),
                "min": min(durations),
                "median": statistics.median(durations),
                "max": max(durations),
            }
        return contents


def summarise(
    path: str | Path,
    progress: Callable[[int, int], None] | None = None,
    labelling: Labelling | None = None,
) -> Summary:
    """Summarises a feature store or, if there is none at `path`, a data set.

    Args:
        path: of the store or data set.
        progress: called with headers read, of how many; all cores read the headers of a data set.
        labelling: where the labels of the data set stand.

    Raises:
        AudioclsError: as `open_store` and `list_recordings`.
    """
    path = Path(path)
    if any((path / name).is_file() for name in ("store.json", "unfinished.json")):
        store = open_store(path)
        labels = store.recording_labels
        notices = notice_similar_labels({label for own in labels for label in own})
        shape = store.about["shape"]
        summary = _summarise(str(path), store.recordings, labels, notices, store.feature, shape)
        if store.events is not None:  # of a recording only some clips have a label
            counts = dict(zip(store.classes, store.label_matrix.sum(axis=0).tolist(), strict=True))
            for entry in summary.classes:
                entry.clips = counts.get(entry.label, 0)
            amounts = [n for n in counts.values() if n]
            summary.imbalance = max(amounts) / min(amounts)
        return summary
    listing = list_recordings(path, labelling=labelling or Labelling())
    labels = [r.labels(listing.label_separator) for r in listing.recordings]
    _read_headers(listing, progress)
    return _summarise(str(path), listing.recordings, labels, listing.notices)


def _read_headers(listing: Listing, progress: Callable[[int, int], None] | None) -> None:
    def read_header(recording_and_file: tuple[Recording, str | None]) -> None:
        recording, file = recording_and_file
        if recording.status == "failed":
            return
        name = file or recording.path
        try:
            if file is not None:
                found = probe(file)
            else:
                assert listing.read is not None
                data, name = listing.read(recording.id)
                found = probe(data, name)
            recording.duration_s, recording.sample_rate, recording.channels = found
        except (OSError, DataError) as error:
            recording.status, recording.error = "failed", explain_failure(name, error)

    for_each(read_header, list(zip(listing.recordings, listing.files, strict=True)), progress)


def _summarise(
    path: str,
    recordings: list[Recording],
    labels: list[tuple[str, ...]],
    notices: list[str],
    feature: str = "",
    shape: list[int] | None = None,
) -> Summary:
    notices = notices + notice_shortcuts(recordings, labels) + notice_silence(recordings)
    notices += notice_scope([r for r in recordings if r.status != "failed"])
    classes = _summarise_classes(recordings, labels)
    good = [r for r in recordings if r.status != "failed"]
    amounts = [c.clips if feature else c.recordings - c.failed for c in classes]
    amounts = [amount for amount in amounts if amount]
    return Summary(
        path=path,
        decoded=bool(feature),
        feature=feature,
        shape=shape or [],
        classes=sorted(classes, key=lambda c: (-c.clips, -c.recordings, c.label)),
        imbalance=max(amounts) / min(amounts) if amounts else 0.0,
        recordings=len(recordings),
        failed=len(recordings) - len(good),
        skipped=sum(r.status == "skipped" for r in recordings),
        silent_clips=sum(r.n_silent for r in recordings),
        failures=[(escape(r.path), escape(r.error)) for r in recordings if r.status == "failed"],
        sample_rates=_counts(r.sample_rate for r in good if r.sample_rate),
        channels=_counts(r.channels for r in good if r.channels),
        splits=_counts(r.split for r in good if r.split),
        group_sizes=_summarise_groups(good),
        duplicates=_duplicates(good),
        notices=notices,
        durations_s=[r.duration_s for r in good if r.duration_s is not None],
    )


def _summarise_classes(
    recordings: list[Recording], labels: list[tuple[str, ...]]
) -> list[ClassSummary]:
    classes: dict[str, ClassSummary] = {}
    groups: dict[str, set[str]] = defaultdict(set)
    for r, own in zip(recordings, labels, strict=True):
        for label in own:
            entry = classes.setdefault(label, ClassSummary(label))
            entry.recordings += 1
            entry.failed += r.status == "failed"
            entry.clips += r.n_clips
            if r.status != "failed":
                entry.seconds += r.duration_s or 0.0 if r.events is None else 0.0
                groups[label].add(r.group)
        for event in (r.events or ()) if r.status != "failed" else ():
            entry = classes.setdefault(event.label, ClassSummary(event.label))
            entry.events += 1
            entry.seconds += max(0.0, min(event.end_s, r.duration_s or 0.0) - event.start_s)
    for label, entry in classes.items():
        entry.groups = len(groups[label])
    return list(classes.values())


def _summarise_groups(recordings: list[Recording]) -> dict[str, float]:
    sizes = sorted(Counter(r.group for r in recordings).values())
    if not sizes:
        return {"groups": 0}
    return {
        "groups": len(sizes),
        "min": sizes[0],
        "median": statistics.median(sizes),
        "max": sizes[-1],
    }


def _counts(values: Any) -> dict[str, int]:
    return {str(value): n for value, n in Counter(values).most_common()}


def _duplicates(recordings: list[Recording]) -> list[Duplicate]:
    same: dict[str, list[Recording]] = defaultdict(list)
    for r in recordings:
        if r.audio_hash:
            same[r.audio_hash].append(r)
    found = [
        Duplicate(
            [escape(r.path) for r in copies],
            sorted({r.label for r in copies}),
            len({r.group for r in copies}),
        )
        for copies in same.values()
        if len(copies) > 1
    ]
    return sorted(found, key=lambda d: (-len(d.labels), -d.n_groups, d.paths))


def draw_summary(summary: Summary, file: Path) -> None:
    """Draws the class balance, and the durations if they are known.

    Args:
        summary: of a store or data set.
        file: a PNG, or another format that matplotlib knows by the suffix.

    Raises:
        SettingError: a format that matplotlib does not know.
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    classes = summary.classes[::-1]
    figure = Figure(figsize=(11, 1.2 + 0.28 * max(len(classes), 8)), layout="constrained")
    balance, durations = figure.subplots(1, 2)
    amounts = [c.clips if summary.decoded else c.recordings for c in classes]
    balance.barh(range(len(classes)), amounts, color="#4878a8")
    # A label is shown as it is: a dollar sign starts no formula.
    labels = [escape(c.label).replace("$", r"\$") or "(no label)" for c in classes]
    balance.set_yticks(range(len(classes)), labels)
    balance.bar_label(balance.containers[0], padding=3, fontsize=8)
    balance.set_xlabel("clips" if summary.decoded else "recordings")
    balance.set_title(f"imbalance {summary.imbalance:.1f} : 1")
    if summary.durations_s:
        durations.hist(summary.durations_s, bins=50, color="#4878a8")
        durations.set_yscale("log")
    durations.set_xlabel("seconds a recording")
    durations.set_ylabel("recordings")
    for axes in (balance, durations):
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(file, dpi=110)
    except ValueError as error:  # a suffix that matplotlib does not know
        raise SettingError("plot", str(file), str(error)) from None
