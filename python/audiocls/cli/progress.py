"""Progress on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from audiocls.cli import say
from audiocls.files import make_printable
from audiocls.scores.measures import MEASURES, find_measures

if TYPE_CHECKING:
    from audiocls.store.extraction import Progress as ExtractionProgress
    from audiocls.training.run import Result

# Where stderr is no terminal, a line this often instead of a bar.
EXTRACTION_LINE_S = 10.0
TRAINING_LINE_S = 30.0


class EpochLines:
    """A `training.Progress`; used as a context manager."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.title = epochs, ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} batches"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False, soft_wrap=True),
            transient=True,
        )
        self.task = self.bar.add_task("training", total=None)
        self.told = time.monotonic()

    def __enter__(self) -> Self:
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar.console.is_terminal:
            self.bar.stop()

    def __call__(self, done: int, total: int, row: dict[str, float] | None) -> None:
        """Shows a step, or a finished epoch."""
        self.bar.update(self.task, completed=done, total=total)
        silent = not self.bar.console.is_terminal and time.monotonic() - self.told
        if row is None and silent > TRAINING_LINE_S:
            self.told = time.monotonic()
            say(f"{self.title}{done} of {total} batches", err=True)
        if row is not None:
            self.told = time.monotonic()
            main = find_measures(row)
            self.bar.console.print(
                f"{self.title}"
                f"epoch {row['epoch']:.0f}/{self.epochs}  "
                f"loss {row['train_loss']:.3f}  val loss {row['val_loss']:.3f}  "
                f"val {main.title} {row[f'val_{main.main}']:.3f}  {row['seconds']:.1f} s",
                markup=False,
            )


class CellLines(EpochLines):
    """Of several models: the bar of the one that trains, and a line for each that is finished."""

    def announce(self, name: str, number: int, of: int) -> CellLines:
        """The next model."""
        self.title = f"[{number}/{of}] {make_printable(name)}  "
        self.bar.reset(
            self.task, description=escape(f"{number}/{of} {make_printable(name)}"), total=None
        )
        return self

    def tell(self, name: str, number: int, of: int, result: Result, left_s: float) -> None:
        """A model is finished; the rest takes so many seconds."""
        self.told = time.monotonic()
        scores = result.test_recording
        rest = f"  about {_time(left_s)} left" if left_s else ""
        self.bar.console.print(
            f"[{number}/{of}] {make_printable(name)}  by recording: "
            f"{MEASURES[result.task].line(scores)}  {_time(result.training_s)}{rest}",
            markup=False,
        )

    def __call__(self, done: int, total: int, row: dict[str, float] | None) -> None:
        """Shows a step; epochs have no line."""
        super().__call__(done, total, None)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def show_extraction() -> Iterator[Callable[[ExtractionProgress], None]]:
    """A bar with rate and time left on a terminal; a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    bar = Progress(
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

        def show(progress: ExtractionProgress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.recordings,
                rate=_rate(progress, time.monotonic() - started),
                failed=f", {progress.failed} failed" if progress.failed else "",
            )

        yield show


def _lines() -> Callable[[ExtractionProgress], None]:
    started = last = time.monotonic()
    before: int | None = None  # recordings finished by earlier runs

    def show(progress: ExtractionProgress) -> None:
        nonlocal last, before
        now = time.monotonic()
        before = progress.recordings if before is None else before
        if now - last < EXTRACTION_LINE_S:
            return
        last = now
        todo = progress.total - progress.recordings
        left_s = todo * (now - started) / max(progress.recordings - before, 1)
        say(
            f"{progress.recordings} of {progress.total} recordings, "
            f"{_rate(progress, now - started)}, {left_s:.0f} s left, {progress.failed} failed",
            err=True,
        )

    return show


def _rate(progress: ExtractionProgress, seconds: float) -> str:
    seconds = max(seconds, 0.1)
    return f"{progress.clips / seconds:.0f} clips/s, {progress.audio_s / seconds:.0f} × real time"


@contextlib.contextmanager
def show_predictions(total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call after each recording with the number of failures so far.

    It shows a bar if the results go elsewhere than to the same terminal. Without a terminal it
    writes a
    line now and then.
    """
    done, started = 0, time.monotonic()
    last = started
    if sys.stderr.isatty():
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
        with Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            disable=sys.stdout.isatty(),
        ) as bar:
            task = bar.add_task("", total=total)
            yield lambda _failed: bar.update(task, advance=1)
        return

    def tell(failed: int) -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if now - last >= EXTRACTION_LINE_S:
            last = now
            left_s = (total - done) * (now - started) / done
            rate = done / (now - started)
            text = f"{rate:.1f} recordings/s, {left_s:.0f} s left, {failed} failed"
            say(f"{done} of {total} recordings, {text}", err=True)

    yield tell


@contextlib.contextmanager
def show_headers(what: str = "headers") -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, nothing elsewhere: headers are read fast."""
    if not sys.stderr.isatty():
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
