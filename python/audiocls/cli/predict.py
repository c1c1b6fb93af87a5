"""`audiocls predict`: what is heard in recordings, when, and how sure that is."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, next_step, say
from audiocls.errors import DataError, SettingError, reason, unknown
from audiocls.files import printable

if TYPE_CHECKING:
    from audiocls.inference.predict import Prediction

FORMATS = ("table", "json", "csv", "audacity")
CSV_HEADER = ("path", "row", "start_s", "end_s", "label", "probability", "error")

# A path, and its prediction or why there is none.
Show = Callable[[str, "Prediction | str"], None]


@click.command("predict", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option("--hop-s", type=float, help="From clip to clip.  [default: as in training]")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Labels shown.")
@click.option(
    "--threshold",
    type=float,
    help="Below this certainty the label is `unknown`; 0: never.  [default: the model's own]",
)
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    metavar="|".join(FORMATS),
    help="Output.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--threads", type=click.IntRange(1), help="Default: all cores.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any recording failed.")
def command(
    model: str,
    paths: tuple[str, ...],
    hop_s: float | None,
    top: int,
    threshold: float | None,
    form: str,
    as_json: bool,
    threads: int | None,
    strict: bool,
) -> None:
    """Name what is heard in recordings, when, and how surely.

    MODEL is a run folder, its `model/` folder, or `orchestra`, the model in the box. PATH is a
    recording of any format and length, a folder of them, or a pattern such as 'takes/*.mp3'. A
    recording that cannot be used is a row with its reason. `--format audacity` writes a label
    track, for one recording.

    \b
    Example:
      audiocls predict runs/mel-resnet-0 song.mp3
      audiocls predict runs/mel-resnet-0 takes/ --format csv > takes.csv
      audiocls predict orchestra song.mp3 --hop-s 0.1 --format audacity > labels.txt
    """
    from audiocls.cli.progress import prediction_progress
    from audiocls.inference.predict import Classifier

    form = "json" if as_json else form
    if form not in FORMATS:
        raise unknown("--format", form, FORMATS)
    files = find(paths)
    if form == "audacity" and len(files) != 1:
        raise SettingError("--format", form, f"a label track is of one recording, not {len(files)}")
    classifier = Classifier.load(model, threads)
    limit = classifier.threshold if threshold is None else threshold
    show, end = _printer(form, top, limit)
    failed = 0
    with prediction_progress(len(files)) as progress:
        for path, found in zip(files, classifier.recordings(files, hop_s, threads), strict=True):
            failed += isinstance(found, Exception)
            show(path, reason(path, found) if isinstance(found, Exception) else found)
            sys.stdout.flush()
            progress(failed)
    end()
    if failed:
        say(f"{failed} of {len(files)} recordings failed", err=True)
    if failed == len(files) or (failed and strict):
        sys.exit(1)
    if form == "table":
        next_step(f"evaluate {model} LABELLED_RECORDINGS/   (how good it is on new ones)")


def find(paths: tuple[str, ...]) -> list[str]:
    """The recordings that paths, folders and patterns stand for, in order."""
    from audiocls.data.listing.folder import list_folder

    files: list[str] = []
    for given in paths:
        found = [given]
        if glob.has_magic(given) and not Path(given).exists():
            # Not Path.glob: an absolute pattern is one as well.
            found = sorted(glob.glob(given, recursive=True), key=os.fsencode)  # noqa: PTH207
        for path in found:
            if Path(path).is_dir():
                listing = list_folder(Path(path))
                files += sorted((str(file) for file in listing.files), key=os.fsencode)
            else:
                files.append(path)
    if not files:
        raise DataError(f"{', '.join(paths)}: no recordings there")
    return files


def _printer(form: str, top: int, threshold: float | None) -> tuple[Show, Callable[[], None]]:
    """What shows a recording, and what is to be called at the end."""
    if form == "table":
        return lambda path, found: _show_lines(path, found, top, threshold), lambda: None
    if form == "audacity":
        return lambda path, found: _show_labels(path, found, threshold), lambda: None
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        writer.writerow(CSV_HEADER)
        return lambda path, found: writer.writerows(_rows(path, found, threshold)), lambda: None
    begun = False

    def show(path: str, found: Prediction | str) -> None:
        # One document, yet every recording is there as soon as it is known.
        nonlocal begun
        text = json.dumps(as_dict(path, found, top, threshold), ensure_ascii=True)
        click.echo(f"{',' if begun else '['}\n{text}", nl=False)
        begun = True

    return show, lambda: click.echo("\n]")


def as_dict(
    path: str, found: Prediction | str, top: int, threshold: float | None
) -> dict[str, Any]:
    """A recording's prediction as plain data."""
    from dataclasses import asdict

    if isinstance(found, str):
        return {"path": path, "label": None, "error": found}
    best = found.top(top, threshold)
    return {
        "path": path,
        "duration_s": round(found.duration_s, 6),
        "label": best[0][0],
        "probability": best[0][1],
        "top": [{"label": label, "probability": p} for label, p in best],
        "segments": [asdict(segment) for segment in found.segments(threshold)],
        "error": None,
    }


def _show_lines(path: str, found: Prediction | str, top: int, threshold: float | None) -> None:
    if isinstance(found, str):
        say(f"{path}: failed: {found}")
        return
    best = ", ".join(f"{label} {p:.3f}" for label, p in found.top(top, threshold))
    say(f"{path}: {best}")
    segments = found.segments(threshold)
    if len(segments) > 1:
        for s in segments:
            say(f"  {s.start_s:8.2f} – {s.end_s:8.2f} s  {s.probability:.3f}  {s.label}")


def _show_labels(path: str, found: Prediction | str, threshold: float | None) -> None:
    """Start, end, label, with tabs between: https://manual.audacityteam.org/man/importing_and_
    exporting_labels.html."""
    if isinstance(found, str):
        say(f"{path}: failed: {found}", err=True)
        return
    for s in found.segments(threshold):
        click.echo(f"{s.start_s:.6f}\t{s.end_s:.6f}\t{printable(s.label)}")


def _rows(path: str, found: Prediction | str, threshold: float | None) -> list[tuple[Any, ...]]:
    """A row for the recording, then one for each segment."""
    if isinstance(found, str):
        return [(printable(path), "recording", "", "", "", "", printable(found))]
    ((label, p),) = found.top(1, threshold)
    rows = [("recording", 0.0, found.duration_s, label, p)]
    for s in found.segments(threshold):
        rows.append(("segment", s.start_s, s.end_s, s.label, s.probability))
    return [
        (printable(path), kind, f"{start:.3f}", f"{end:.3f}", printable(label), f"{p:.6f}", "")
        for kind, start, end, label, p in rows
    ]
