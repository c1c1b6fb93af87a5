"""Progress of a training on stderr: a line an epoch, and a bar where there is a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


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

    def announce(self, name: str, number: int, of: int) -> EpochLines:
        """The next model of several."""
        self.title = f"[{number}/{of}] {name}  "
        self.bar.reset(self.task, description=f"{number}/{of} {name}", total=None)
        return self

    def __enter__(self) -> EpochLines:
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
        self.bar.update(self.task, completed=done, total=total)
        if row is not None:
            self.bar.console.print(
                f"{self.title}"
                f"epoch {row['epoch']:.0f}/{self.epochs}  "
                f"loss {row['train_loss']:.3f}  val loss {row['val_loss']:.3f}  "
                f"val balanced accuracy {row['val_balanced_accuracy']:.3f}  {row['seconds']:.1f} s",
                markup=False,
            )
