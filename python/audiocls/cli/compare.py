"""`audiocls compare`: every feature × every model, one report page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, say, say_next
from audiocls.cli.options import add_recipe_options, make_recipe
from audiocls.errors import DataError, SettingError
from audiocls.files import make_printable

if TYPE_CHECKING:
    from audiocls.compare.grid import Comparison


@click.command("compare", cls=Command)
@click.option(
    "--features",
    metavar="A,B",
    help="Feature stores: paths, URLs or names under features/.  [default: all under features/]",
)
@click.option(
    "--feature",
    metavar="A,B",
    help="The presets to compute from stores of samples.  "
    "[default: mel, or mel-16k of samples at 16 kHz]",
)
@click.option("--models", default="all", show_default=True, metavar="all|A,B", help="Models.")
@click.option(
    "--seeds", default=1, show_default=True, help="Number of seeds; each has its own split."
)
@click.option(
    "--folds",
    metavar="N|logo",
    help="Cross-validate: test on each of N folds. logo tests on each group alone; with "
    "`--group-by source` on each source.",
)
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What stays together in the split, as for train.",
)
@click.option(
    "--recordings-per-class",
    metavar="N,N,…|all",
    help="Train on fewer recordings too, to see how many you need. Each seed draws whole groups "
    "anew.  [default: all]",
)
@click.option("--clip-s", type=float, help="Seconds of a clip, as for train.")
@click.option("--hop-s", type=float, help="Seconds from clip to clip, as for train.")
@click.option(
    "--init",
    metavar="MODEL",
    help="Begin with a trained model, as train does.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/compare"),
    show_default=True,
    metavar="DIR",
    help="Folder of the results. Finished cells in it are kept.",
)
@click.option("--restart", is_flag=True, help="Do finished cells again.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows of results.csv as JSON.")
@add_recipe_options()
def command(
    features: str | None,
    feature: str | None,
    models: str,
    seeds: int,
    folds: str | None,
    group_by: str | None,
    recordings_per_class: str | None,
    clip_s: float | None,
    hop_s: float | None,
    init: str | None,
    device: str,
    out: Path,
    restart: bool,
    as_json: bool,
    preset: str | None,
    **options: Any,
) -> None:
    """Train all models on all stores and write one report.

    Every model sees the same splits. After an interruption, call the command again: it goes on
    where it stopped.

    \b
    Example:
      audiocls compare
      audiocls compare --features mel,mfcc --models cnn,lstm --seeds 3 --epochs 10
      audiocls compare --features samples-16k --feature mel-16k,mfcc-kaldi
      audiocls compare --folds 5 --group-by '([^/]+)/[^/]+?_([A-G]s?[0-9])_'
      audiocls compare --models best --recordings-per-class 5,10,20,all --seeds 5
    """
    from audiocls.cli.progress import CellLines
    from audiocls.compare.grid import compare
    from audiocls.models import MODELS
    from audiocls.training.start import Start
    from audiocls.training.trial import LINEAR

    stores = _stores(features)
    start = None if init is None else Start.load(init)
    every = list(MODELS) if start is None else [LINEAR, start.description.architecture]
    recipe = make_recipe(preset, options, begun=start is not None)
    with CellLines(recipe.epochs) as lines:
        done = compare(
            stores,
            every if models == "all" else _names(models),
            feature=_names(feature) if feature else None,
            seeds=seeds,
            folds=int(folds) if folds and folds.isdecimal() else folds,
            recipe=recipe,
            group_by=group_by,
            recordings_per_class=_sizes(recordings_per_class),
            clip_s=clip_s,
            hop_s=hop_s,
            init=start,
            device=device,
            out=out,
            restart=restart,
            announce=lines.announce,
            tell=lines.tell,
        )
    if as_json:
        click.echo(json.dumps(done.rows, indent=1))
        return
    _print(done)
    say_next(f"predict {out / 'cells' / 'RUN'} RECORDING   (RUN: one of {out / 'cells'})")


def _stores(features: str | None) -> list[str | Path]:
    """The stores to compare: those named, else all under features/."""
    from audiocls.store.store import list_stores
    from audiocls.url import is_url

    if features is None:
        found: list[str | Path] = [*list_stores()]
        if not found:
            raise DataError("no feature store under 'features': run `audiocls extract` first")
        return found
    return [
        name if is_url(name) or Path(name).exists() else Path("features") / name
        for name in _names(features)
    ]


def _print(done: Comparison) -> None:
    """Prints the table of the models, and what the tests and learning curves say."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from audiocls.compare.differences import describe_differences

    table = Table(box=None, pad_edge=False)
    for title in ("feature", "model"):
        table.add_column(title)
    scores = done.rankings[0].yardstick.scores
    for title in (*scores.values(), "parameters", "multiply-adds", "CPU ms", "training"):
        table.add_column(title, justify="right")
    for r in done.rankings:
        table.add_row(
            Text(make_printable(r.feature)),
            Text(make_printable(r.model)),
            *(str(r.scores[name]) for name in scores),
            f"{r.parameters:,}",
            f"{r.multiply_adds:,}" if r.multiply_adds else "–",
            f"{r.cpu_ms:.3g}" if r.cpu_ms else "–",
            f"{r.training_s:.0f} s",
        )
    # A table in a file or a pipe is as wide as it needs to be.
    console = Console(highlight=False)
    Console(highlight=False, width=max(console.width, 140)).print(table)
    for _, sentence in describe_differences(done.rankings[0], done.differences):
        say(f"{sentence}.")
    for curve in done.learning:
        say(f"{curve.sentence()}.")
    say(f"results: {done.results}")
    say(f"report:  {done.report}")


def _sizes(text: str | None) -> list[int | None]:
    """Recordings a class: numbers, and None for all."""
    names = ["all"] if text is None else _names(text)
    for name in names:
        if name != "all" and not name.isdecimal():
            raise SettingError("recordings_per_class", text, "must be numbers, or all")
    return [None if name == "all" else int(name) for name in names]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
