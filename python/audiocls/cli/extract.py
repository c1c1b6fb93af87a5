"""`audiocls extract`: recordings → a feature store."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command
from audiocls.errors import SettingError

if TYPE_CHECKING:
    from audiocls.data.extraction import Progress

# Where stderr is no terminal, a line now and then instead of a bar.
_LINE_EVERY_S = 10.0


@click.command("extract", cls=Command)
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--feature", default="mel", show_default=True, help="A preset: see audiocls presets.")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Replace a field of the preset."
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Default: features/FEATURE."
)
@click.option(
    "--clip-s", default=0.5, show_default=True, help="Clip length; 0: one clip a recording, whole."
)
@click.option("--hop-s", default=0.5, show_default=True, help="From one clip's start to the next.")
@click.option(
    "--short",
    default="pad",
    show_default=True,
    metavar="pad|repeat|drop",
    help="What becomes of a recording shorter than one clip.",
)
@click.option(
    "--min-rms", default=0.0, show_default=True, help="Leave out quieter clips; full scale is 1."
)
@click.option("--threads", type=int, help="Default: all cores that this process may use.")
@click.option("--dtype", default="float32", show_default=True, metavar="float32|float16")
@click.option("--restart", is_flag=True, help="Make the store anew, whatever is there.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any recording failed.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def command(
    data: Path,
    feature: str,
    overrides: tuple[str, ...],
    out: Path | None,
    restart: bool,
    strict: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Extract the features of all recordings in DATA into a store.

    DATA is a folder with one folder per class, a folder with metadata.csv, a CSV or JSON Lines
    manifest, or a Parquet file. A recording that cannot be used is named in failures.csv and
    skipped. An interrupted run is continued by the same command.

    \b
    Example:
      audiocls extract recordings/ --feature mel
      audiocls extract recordings/ --feature mel --set n_mels=64 --out features/mel-64
    """
    from audiocls.data.extraction import extract
    from audiocls.spec import FeatureSpec

    spec = FeatureSpec.preset(feature, **dict(map(_override, overrides)))
    started = time.monotonic()
    with _shown_progress() as progress:
        store = extract(
            data,
            spec,
            out if out is not None else Path("features") / feature,
            name=feature,
            restart=restart,
            progress=progress,
            notice=lambda text: click.echo(f"note: {text}", err=True),
            **settings,
        )
    counts, failures = store.counts, store.path / "failures.csv"
    if as_json:
        summary = {
            "store": str(store.path),
            "feature": store.feature,
            "shape": store.about["shape"],
            "classes": store.classes,
            **counts,
            "failures": str(failures) if counts["failed"] else None,
            "seconds": round(time.monotonic() - started, 3),
        }
        click.echo(json.dumps(summary, ensure_ascii=True))
    else:
        shape = " × ".join(map(str, store.about["shape"]))
        click.echo(f"{store.path}: {shape} {store.about['dtype']}, {len(store.classes)} classes")
        if counts["silent_clips"]:
            click.echo(f"{counts['silent_clips']} clips quieter than --min-rms left out")
        if counts["skipped"]:
            click.echo(f"{counts['skipped']} recordings without a clip: see recordings.csv")
    if counts["failed"]:
        total = counts["recordings"]
        click.echo(f"{counts['failed']} of {total} recordings failed: {failures}", err=as_json)
        if strict:
            sys.exit(1)


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SettingError("--set", text, "must be KEY=VALUE, such as n_mels=64")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value  # a word, such as log=natural


@contextlib.contextmanager
def _shown_progress() -> Iterator[Callable[[Progress], None]]:
    """A bar with rate and time left on a terminal; a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left{task.fields[failed]}"),
        console=Console(stderr=True),
        transient=True,
    )
    started = time.monotonic()
    with bar:
        task = bar.add_task("", total=None, rate="", failed="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.recordings,
                rate=_rate(progress, time.monotonic() - started),
                failed=f", {progress.failed} failed" if progress.failed else "",
            )

        yield show


def _lines() -> Callable[[Progress], None]:
    started = last = time.monotonic()
    before: int | None = None  # recordings finished by earlier runs

    def show(progress: Progress) -> None:
        nonlocal last, before
        now = time.monotonic()
        before = progress.recordings if before is None else before
        if now - last < _LINE_EVERY_S:
            return
        last = now
        todo = progress.total - progress.recordings
        left_s = todo * (now - started) / max(progress.recordings - before, 1)
        click.echo(
            f"{progress.recordings} of {progress.total} recordings, "
            f"{_rate(progress, now - started)}, {left_s:.0f} s left, {progress.failed} failed",
            err=True,
        )

    return show


def _rate(progress: Progress, seconds: float) -> str:
    seconds = max(seconds, 0.1)
    return f"{progress.clips / seconds:.0f} clips/s, {progress.audio_s / seconds:.0f} × real time"
