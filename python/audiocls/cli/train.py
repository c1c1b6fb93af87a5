"""`audiocls train`: one model on one store."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocls.cli import Command


@click.command("train", cls=Command)
@click.option(
    "--model", required=True, metavar="NAME", help="cnn, newcnn, resnet, lstm or lstm-large."
)
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The feature store.  [default: the newest under features/]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder.  [default: runs/FEATURE-MODEL-SEED]",
)
@click.option("--epochs", default=30, show_default=True, help="Rounds over the training part.")
@click.option("--batch-size", default=64, show_default=True, help="Clips a step.")
@click.option("--lr", default=1e-3, show_default=True, help="Highest learning rate.")
@click.option(
    "--sampler",
    default="balanced",
    show_default=True,
    metavar="balanced|natural|sqrt",
    help="How often a class is drawn: equally, as it came, or in between.",
)
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What stays together in the split: a metadata column, or an expression searched in the "
    "path.  [default: column `group` if there is one, else recording]",
)
@click.option(
    "--fold",
    metavar="K/N",
    help="Test on fold K of N; K/logo: on the K-th group alone.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda")
@click.option("--seed", default=0, show_default=True, help="Of split, weights and draws.")
@click.option("--restart", is_flag=True, help="Replace a run that is already in the run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json on stdout.")
def command(
    model: str,
    features: Path | None,
    out: Path | None,
    epochs: int,
    batch_size: int,
    lr: float,
    sampler: str,
    group_by: str | None,
    fold: str | None,
    device: str,
    seed: int,
    restart: bool,
    as_json: bool,
) -> None:
    """Train a model on a feature store.

    Recordings are split into train, validation and test by group; the model is chosen on
    validation, and the test part is looked at once.

    \b
    Example:
      audiocls train --model resnet
      audiocls train --model lstm --features features/mfcc --epochs 10 --seed 1
      audiocls train --model cnn --group-by '([^/]+)/[^/]+?_([A-G]s?[0-9])_'
    """
    from audiocls import training
    from audiocls.cli.epochs import EpochLines

    settings = training.Settings(
        model, epochs, batch_size, lr, sampler, group_by, fold, device, seed
    )
    settings.validate()  # before the search for a store: wrong usage is said first
    features = features or training.newest_store()
    folder = out or Path("runs") / training.run_name(features.resolve().name, settings)
    with EpochLines(epochs) as lines:
        result = training.train(
            features,
            model,
            folder,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            sampler=sampler,
            group_by=group_by,
            fold=fold,
            device=device,
            seed=seed,
            restart=restart,
            progress=lines,
        )
    for warning in result["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    test, whole = result["test"], result["test_recording"]
    click.echo(
        f"{model} on {features.name}: {result['parameters']:,} parameters, "
        f"{result['samples_per_s']:,.0f} clips/s in training, "
        f"best epoch {result['chosen']['epoch']}"
    )
    click.echo(f"test, {test['n']} clips:        {_line(test)}")
    click.echo(f"test, {whole['n']} recordings:  {_line(whole)}")
    click.echo(f"run folder: {folder}")


def _line(part: dict[str, float]) -> str:
    return (
        f"accuracy {part['accuracy']:.3f}, balanced {part['balanced_accuracy']:.3f}, "
        f"macro-F1 {part['macro_f1']:.3f}"
    )
