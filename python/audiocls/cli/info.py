"""`audiocls info`: what a data set or a feature store contains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiocls.cli import Command

if TYPE_CHECKING:
    from audiocls.summary import Summary

# Of a long list, the table shows the beginning; --json has everything.
_SHOWN = 10


@click.command("info", cls=Command)
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

    PATH is a data set, which is only listed, or a feature store, of which everything is known.

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
    else:
        _print(summary)


def _print(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A label or path may hold anything: Text, so that brackets in it are no markup.
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, header_style="bold")
    table.add_column("class")
    known = ("clips", "seconds") if summary.decoded else ()
    for name in ("recordings", "failed", "groups", *known):
        table.add_column(name, justify="right")
    for c in summary.classes:
        cells = [c.recordings, c.failed or "", c.groups]
        cells += [c.clips, f"{c.seconds:.1f}"] if summary.decoded else []
        table.add_row(Text(_printable(c.label) or "(no label)"), *map(str, cells))
    console.print(table)

    def line(text: str) -> None:
        console.print(Text(text))

    what = "clips" if summary.decoded else "recordings"
    line(f"\n{len(summary.classes)} classes; the largest has {summary.imbalance:.1f} × the {what}")
    line(f"{summary.recordings} recordings, {summary.failed} failed, {summary.skipped} skipped")
    if summary.decoded:
        shape = " × ".join(map(str, summary.shape))
        line(f"{summary.feature}: {shape}; {sum(summary.durations_s):.1f} s of audio")
        line(f"sample rates: {_listed(summary.sample_rates, 'Hz')}")
        line(f"channels: {_listed(summary.channels)}")
    if summary.silent_clips:
        line(f"{summary.silent_clips} silent clips left out")
    if summary.splits:
        line(f"splits: {_listed(summary.splits)}")
    sizes = summary.group_sizes
    if sizes["groups"]:
        spread = f"{sizes['min']:g} to {sizes['max']:g} (median {sizes['median']:g})"
        line(f"{sizes['groups']:g} groups of {spread} recordings")
    for notice in summary.notices:
        line(f"note: {_printable(notice)}")
    _print_list(
        "recordings failed",
        [f"{path}: {reason}" for path, reason in summary.failures],
        line,
    )
    contradictions = [d for d in summary.duplicates if len(d.labels) > 1]
    leaks = [d for d in summary.duplicates if len(d.labels) == 1 and d.n_groups > 1]
    copies = [d for d in summary.duplicates if len(d.labels) == 1 and d.n_groups == 1]
    for title, found in (
        ("times the same audio has several labels", contradictions),
        ("times the same audio is in several groups", leaks),
        ("times the same audio is there more than once", copies),
    ):
        _print_list(title, [" = ".join(d.paths) for d in found], line)
    if not summary.decoded:
        line("seconds, rates and duplicates are known once the data set is extracted")


def _print_list(title: str, items: list[str], line: Callable[[str], None]) -> None:
    if items:
        line(f"\n{len(items)} {title}:")
        for item in items[:_SHOWN]:
            line(f"  {_printable(item)}")
        if len(items) > _SHOWN:
            line(f"  … {len(items) - _SHOWN} more: --json lists them all")


def _listed(counts: dict[str, int], unit: str = "") -> str:
    return ", ".join(f"{key} {unit}".rstrip() + f" ({n})" for key, n in counts.items())


def _printable(text: str) -> str:
    """A name may hold line ends and terminal commands: shown, not obeyed."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
