"""`audiocls synth`: the small built-in data set."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocls.cli import Command, say, say_next


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--clips-per-class", default=40, show_default=True, help="Recordings of the largest class."
)
@click.option("--classes", default=14, show_default=True, help="Number of instruments, 2 to 14.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option("--json", "as_json", is_flag=True, help="Print the class counts as JSON.")
def command(folder: Path, clips_per_class: int, classes: int, seed: int, as_json: bool) -> None:
    """Make the built-in data set of synthetic instruments in DIR.

    It has one folder per class, imbalanced on purpose, and a few broken files. It is synthetic:
    good for trying things out, not for results.

    \b
    Example:
      audiocls synth data/
      audiocls extract data/ --feature mel
    """
    from audiocls.data.synth import write_dataset

    counts = write_dataset(folder, clips_per_class, classes, seed)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "synthetic": True, "recordings": counts}))
        return
    for name, count in counts.items():
        say(f"{count:6}  {name}")
    say(f"{sum(counts.values()):6}  synthetic recordings, and 4 broken files, in {folder}")
    say_next(f"extract {folder} --feature mel")
