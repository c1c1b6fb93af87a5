"""`audiocls doubt`: labels that held-out models doubt."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from audiocls.cli import Command, StorePath, say, say_next
from audiocls.cli.options import add_recipe_options, make_recipe

SHOWN = 10


@click.command("doubt", cls=Command)
@click.argument("features", type=StorePath(), metavar="FEATURES")
@click.option(
    "--model",
    metavar="NAME",
    help="Who doubts: statistics, a forest on mean and deviation of every feature, in seconds; or "
    "a model as for train, which takes its time.  [default: statistics; with --init "
    "linear]",
)
@click.option("--init", metavar="MODEL", help="A trained model to begin with, as for train.")
@click.option(
    "--feature", metavar="NAME", help="Of a store of samples: the preset that is computed from it."
)
@click.option("--folds", default=5, show_default=True, help="Parts that are held out in turn.")
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What is held out together, as for train.",
)
@click.option("--seed", default=0, show_default=True, help="Of folds, weights and draws.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/doubt"),
    show_default=True,
    metavar="DIR",
    help="Where doubts.csv and doubts.html go, and trained folds, which are kept.",
)
@click.option("--restart", is_flag=True, help="Do finished folds again.")
@click.option("--json", "as_json", is_flag=True, help="Print the doubtful recordings as JSON.")
@add_recipe_options()
def command(
    features: str | Path,
    model: str | None,
    init: str | None,
    feature: str | None,
    folds: int,
    group_by: str | None,
    seed: int,
    device: str,
    out: Path,
    restart: bool,
    as_json: bool,
    preset: str | None,
    **options: Any,
) -> None:
    """List the labels that are probably wrong.

    The most doubtful stand first. Every recording is judged by a model that was trained without it
    and without its group. If that model is surer of another class than it commonly is of that
    class, the label is doubted (confident learning). Some are mistakes of the model: listen to
    them on the page.

    \b
    Example:
      audiocls doubt features/mel
      audiocls doubt features/own-mel-16k --init orchestra
      audiocls doubt features/mel --model best --epochs 10 --group-by player
    """
    from audiocls.cli.progress import CellLines
    from audiocls.compare.doubt import doubt
    from audiocls.training.start import Start

    start = None if init is None else Start.load(init)
    recipe = make_recipe(preset, options, begun=start is not None)
    with CellLines(recipe.epochs) as lines:
        found = doubt(
            features,
            model,
            init=start,
            feature=feature,
            recipe=recipe,
            folds=folds,
            group_by=group_by,
            seed=seed,
            device=device,
            out=out,
            restart=restart,
            announce=lambda number, of: lines.announce(f"fold {number}", number, of),
            command=shlex.join(["audiocls", *sys.argv[1:]]),
        )
    if as_json:
        rows = [
            {
                "path": row.path,
                "label": row.label,
                "suggested": row.predicted,
                "label_probability": row.label_probability,
                "suggested_probability": row.probability,
                "doubted": row.path in found.doubted,
                "group": row.group,
            }
            for row in found.rows
        ]
        document = {"recordings": found.n_recordings, "accuracy": found.accuracy, "doubts": rows}
        click.echo(json.dumps(document, indent=1, ensure_ascii=True))
        return
    for row in found.rows[:SHOWN]:
        say(f"{row.path}: {row.label}, probably {row.predicted} ({row.probability:.2f})")
    say(
        f"{len(found.doubted)} of {found.n_recordings} labels are doubted; of {len(found.rows)} "
        "the models say otherwise, the least probable labels first"
    )
    say(f"table: {found.table}")
    say(f"page:  {found.page}")
    say_next("extract DATA …   (again, once labels are mended)")
