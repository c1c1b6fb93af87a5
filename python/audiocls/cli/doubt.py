"""`audiocls doubt`: labels that held-out models doubt."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, StorePath, say, say_next
from audiocls.cli.options import add_recipe_options, make_recipe

if TYPE_CHECKING:
    from audiocls.training.fitting.predictions import PredictionRow

SHOWN = 10


@click.command("doubt", cls=Command)
@click.argument("features", type=StorePath(), metavar="FEATURES")
@click.option(
    "--model",
    metavar="NAME",
    help="statistics, a forest on mean and deviation of every feature, takes seconds. Or a model "
    "as for train, which is trained once a fold.  [default: statistics; with --init linear]",
)
@click.option("--init", metavar="MODEL", help="Begin with a trained model, as for train.")
@click.option("--feature", metavar="NAME", help="The preset to compute from a store of samples.")
@click.option(
    "--folds", default=5, show_default=True, help="Number of parts that are held out in turn."
)
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What is held out together; as for train.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of folds, weights and draws.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/doubt"),
    show_default=True,
    metavar="DIR",
    help="Folder of doubts.csv, doubts.html and the trained folds, which are kept.",
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

    The most doubtful stand first. A model that was trained without a recording and its group judges
    it. The label is doubted if the model is surer of another class than it commonly is of that
    class (confident learning). Some doubts are mistakes of the model: listen to them on the page.

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
        document = {
            "recordings": found.n_recordings,
            "accuracy": found.accuracy,
            "doubts": [_to_dict(row, row.path in found.doubted) for row in found.rows],
        }
        click.echo(json.dumps(document, indent=1, ensure_ascii=True))
        return
    for row in found.rows[:SHOWN]:
        say(f"{row.path}: {row.label}, probably {row.predicted} ({row.probability:.2f})")
    say(
        f"{len(found.doubted)} of {found.n_recordings} labels are doubted; the models disagree "
        f"with {len(found.rows)}, the least probable labels first"
    )
    say(f"table: {found.table}")
    say(f"page:  {found.page}")
    say_next("extract DATA …   (again, once labels are mended)")


def _to_dict(row: PredictionRow, doubted: bool) -> dict[str, Any]:
    return {
        "path": row.path,
        "label": row.label,
        "suggested": row.predicted,
        "label_probability": row.label_probability,
        "suggested_probability": row.probability,
        "doubted": doubted,
        "group": row.group,
    }
