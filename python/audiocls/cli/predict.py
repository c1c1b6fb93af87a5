"""`audiocls predict`: what is heard in recordings, when, and how sure that is."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, say, say_next
from audiocls.cli.formats import CLIP_FORMATS, FORMATS, ClipsParquet, Format, format_parquet
from audiocls.cli.options import PER_CLASS
from audiocls.errors import ChoiceError, DataError, SettingError, explain_failure
from audiocls.files import read_json, replace_file, write_json

if TYPE_CHECKING:
    from audiocls.inference.predict import Classifier
    from audiocls.inference.prediction import Limits, Prediction

# What a folder of predictions was made with: a second call goes on only if it says the same.
SETTINGS = "predictions.json"


@click.command("predict", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option("--hop-s", type=float, help="Seconds from clip to clip.  [default: as in training]")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Labels shown.")
@click.option(
    "--threshold",
    type=PER_CLASS,
    help="Below this certainty the label is `unknown`; 0: never. Of several labels: the "
    "probability from which on the model gives each.  [default: the model's own]",
)
@click.option(
    "--smooth-s",
    type=float,
    default=0.0,
    help="Of several labels: smooth by a median over so many seconds.",
)
@click.option("--least-s", type=PER_CLASS, help="Of several labels: leave out shorter segments.")
@click.option(
    "--format",
    "form",
    metavar="|".join((*FORMATS, "parquet")),
    help="Output format.  [default: table; with --clips csv]",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--clips", is_flag=True, help="Write the probabilities of every clip: csv or parquet."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a file for each recording into this folder; a second call skips finished ones. "
    "With --clips also one FILE.csv or FILE.parquet for all.",
)
@click.option("--threads", type=click.IntRange(1), help="Number of threads.  [default: all cores]")
@click.option("--strict", is_flag=True, help="Exit with 1 if any recording failed.")
def command(
    model: str,
    paths: tuple[str, ...],
    hop_s: float | None,
    top: int,
    threshold: Any,
    smooth_s: float,
    least_s: Any,
    form: str | None,
    as_json: bool,
    clips: bool,
    out: Path | None,
    threads: int | None,
    strict: bool,
) -> None:
    """Name what is heard in recordings, when, and how surely.

    MODEL is a run folder, its `model/` folder, or `orchestra`, the model in the box. PATH is a
    recording of any format and length, a folder of them, or a pattern such as 'takes/*.mp3'. A
    recording that cannot be used becomes a row with the reason.

    A model of several labels gives all labels that reach their threshold, and a segment for each
    stretch of one. If a value may differ by class, write dog=0.4,bird=0.6.

    `--format audacity` writes a label track, `raven` a selection table: of one recording, or with
    --out of any number.

    \b
    Example:
      audiocls predict runs/mel-resnet-0 song.mp3
      audiocls predict runs/mel-resnet-0 takes/ --format jsonl > takes.jsonl
      audiocls predict orchestra song.mp3 --hop-s 0.1 --format audacity > labels.txt
      audiocls predict runs/birds marsh/ --format raven --out tables/ --least-s 0.5
      audiocls predict runs/birds marsh/ --clips --out clips.parquet
    """
    from audiocls.inference.predict import Classifier

    one_file = clips and out is not None and not out.is_dir() and out.suffix in (".csv", ".parquet")
    kind = _format(form, as_json, clips, out, one_file)
    recordings = _found_by(paths)
    files = [path for path, _ in recordings]
    if kind.alone and out is None and len(files) != 1:
        rule = f"a label track or table is of one recording, not {len(files)}: give --out DIR"
        raise SettingError("--format", str(form), rule)
    classifier = Classifier.load(model, threads)
    limits = classifier.limits(threshold, smooth_s, least_s)
    format_ = kind(top, limits, classifier.sample_rate / 2, classifier.classes_)
    if out is not None and one_file:
        failed = _one_file(classifier, files, hop_s, threads, format_, out)
    elif out is not None:
        settings = _settings(classifier, kind, limits, hop_s, top)
        targets = _targets(recordings, kind.suffix)
        failed = _folder(classifier, targets, hop_s, threads, format_, out, settings)
    else:
        failed = _stdout(classifier, files, hop_s, threads, format_)
    if failed:
        say(f"{failed} of {len(files)} recordings failed", err=True)
    if failed == len(files) or (failed and strict):
        sys.exit(1)
    if kind is FORMATS["table"]:
        say_next(f"evaluate {model} LABELLED_RECORDINGS/   (how good it is on new ones)")


def _format(
    form: str | None, as_json: bool, clips: bool, out: Path | None, one_file: bool
) -> type[Format]:
    """What is asked for. Raises SettingError for what does not go together."""
    if as_json and form not in (None, "json"):
        raise SettingError("--format", str(form), "is not --json")
    form = "json" if as_json else form
    if clips:
        if out is not None and one_file:
            if form is not None and form != out.suffix[1:]:
                raise SettingError("--out", str(out), f"must end with .{form}")
            form = out.suffix[1:]
        form = form or "csv"
        if form not in CLIP_FORMATS:
            raise SettingError("--format", form, f"is not for --clips: {', '.join(CLIP_FORMATS)}")
        kind = CLIP_FORMATS[form]
    else:
        form = form or "table"
        if form == "parquet":
            raise SettingError("--format", form, "is for --clips")
        if form not in FORMATS:
            raise ChoiceError("--format", form, FORMATS)
        kind = FORMATS[form]
    if out is None and not kind.on_stdout:
        raise SettingError("--format", form, "needs --out")
    if out is not None and not kind.suffix:
        rule = f"{form} is for the screen; choose --format {', '.join([*FORMATS][1:])}, or --clips"
        raise SettingError("--out", str(out), rule)
    if kind is ClipsParquet:
        import pyarrow  # noqa: F401  # missing, it is said before the work
    return kind


def _found(
    classifier: Classifier, files: list[str], hop_s: float | None, threads: int | None
) -> Iterator[tuple[str, Prediction | str]]:
    """Each recording with its prediction, or why there is none; with a bar."""
    from audiocls.cli.progress import show_predictions

    failed = 0
    with show_predictions(len(files)) as progress:
        for path, found in zip(files, classifier.recordings(files, hop_s, threads), strict=True):
            failed += isinstance(found, Exception)
            yield path, explain_failure(path, found) if isinstance(found, Exception) else found
            progress(failed)


def _stdout(
    classifier: Classifier,
    files: list[str],
    hop_s: float | None,
    threads: int | None,
    format_: Format,
) -> int:
    """Writes everything on stdout as it comes; how many failed."""
    failed = 0
    found = _found(classifier, files, hop_s, threads)
    try:
        for n, (path, answer) in enumerate(found):
            if n == 0:
                click.echo(format_.begin, nl=False)
            failed += isinstance(answer, str)
            format_.show(path, answer)
            sys.stdout.flush()
    except KeyboardInterrupt:
        if not format_.written:
            click.echo(format_.begin, nl=False)
        click.echo(format_.end, nl=False)  # what is there is whole
        raise
    click.echo(format_.end, nl=False)
    return failed


def _one_file(
    classifier: Classifier,
    files: list[str],
    hop_s: float | None,
    threads: int | None,
    format_: Format,
    out: Path,
) -> int:
    """Writes the clips of all recordings into one file; how many failed."""
    failed, texts, kept = 0, [format_.begin], []
    for path, found in _found(classifier, files, hop_s, threads):
        if isinstance(found, str):
            failed += 1
            format_.failure(path, found)
        elif isinstance(format_, ClipsParquet):
            kept.append((path, found))
        else:
            texts.append(format_.text(path, found))
    if failed == len(files):
        return failed
    out.parent.mkdir(parents=True, exist_ok=True)
    made = format_parquet(kept, classifier.classes_) if kept else "".join(texts).encode()
    replace_file(out, made)
    return failed


def _folder(
    classifier: Classifier,
    targets: dict[str, str],
    hop_s: float | None,
    threads: int | None,
    format_: Format,
    out: Path,
    settings: dict[str, Any],
) -> int:
    """Writes a file for each recording that has none yet; how many failed."""
    if out.exists() and not out.is_dir():
        raise SettingError("--out", str(out), "is a file; a folder is needed")
    known = out / SETTINGS
    before = read_json(known) if known.is_file() else settings
    for name, value in settings.items():
        if not isinstance(before, dict) or before.get(name) != value:
            raise SettingError("--out", str(out), f"was made with another {name}: choose another")
    out.mkdir(parents=True, exist_ok=True)
    write_json(known, settings)
    todo = [path for path, file in targets.items() if not (out / file).exists()]
    failed = 0
    for path, found in _found(classifier, todo, hop_s, threads) if todo else ():
        if isinstance(found, str):
            failed += 1
            format_.failure(path, found)
            continue
        file = out / targets[path]
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, format_.file(path, found))
    n_there = len(targets) - len(todo)
    there = f", {n_there} were there already" if n_there else ""
    say(f"{out}: {len(todo) - failed} recordings written{there}", err=True)
    return failed


def _targets(recordings: Sequence[tuple[str, str]], suffix: str) -> dict[str, str]:
    """Recording → its file below the folder.

    The file begins with the recording's own name, so that its annotations are found by it.

    Raises:
        SettingError: two recordings would have the same file.
    """
    first: dict[str, str] = {}
    for path, name in recordings:
        if (other := first.setdefault(name + suffix, path)) != path:
            raise SettingError("--out", name + suffix, f"would hold both {other} and {path}")
    return {path: file for file, path in first.items()}


def _settings(
    classifier: Classifier,
    kind: type[Format],
    limits: Limits,
    hop_s: float | None,
    top: int,
) -> dict[str, Any]:
    """What decides the contents of a folder of predictions."""
    import numpy as np

    from audiocls.classifier.description import WEIGHTS

    weights = (classifier.path / WEIGHTS).read_bytes()
    numbers = {
        name: None if value is None else np.asarray(value, np.float64).tolist()
        for name, value in (
            ("threshold", limits.threshold),
            ("smooth_s", limits.smooth_s),
            ("least_s", limits.least_s),
        )
    }
    return {
        "model": hashlib.sha256(weights).hexdigest(),
        "format": kind.__name__,
        "hop_s": hop_s,
        "top": top,
        **numbers,
    }


def find_recordings(paths: tuple[str, ...]) -> list[str]:
    """The recordings that paths, folders and patterns stand for, in order."""
    return [path for path, _ in _found_by(paths)]


def _found_by(paths: tuple[str, ...]) -> list[tuple[str, str]]:
    """The same, each with its name: below the folder that was given, or its last part."""
    from audiocls.data.listing.folder import list_folder

    files: list[tuple[str, str]] = []
    for given in paths:
        found = [given]
        if glob.has_magic(given) and not Path(given).exists():
            # Not Path.glob: an absolute pattern is one as well.
            found = sorted(glob.glob(given, recursive=True), key=os.fsencode)  # noqa: PTH207
        for path in found:
            if Path(path).is_dir():
                listing = list_folder(Path(path))
                own = sorted((str(file) for file in listing.files), key=os.fsencode)
                files += [(file, os.path.relpath(file, path)) for file in own]
            else:
                files.append((path, Path(path).name))
    if not files:
        raise DataError(f"{', '.join(paths)}: no recordings there")
    return files
