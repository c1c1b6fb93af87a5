"""`audiocls info`: what a data set or a feature store contains."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocls.cli import Command


@click.command(cls=Command)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--plot",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw class balance and durations.",
)
def command(path: Path, as_json: bool, plot: Path | None) -> None:
    """Show what PATH contains: classes and their balance, failures, rates, groups, leaks.

    PATH is a data set (only listed, nothing is decoded) or a feature store.

    \b
    Example:
      audiocls info recordings/
      audiocls info features/mel --plot balance.png
    """
    from audiocls.summary import draw, summarise

    summary = summarise(path)
    if plot is not None:
        draw(summary, plot)
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=1, ensure_ascii=True))
        return
    from audiocls.cli.info_table import print_summary

    print_summary(summary)
