"""`audiocls train`: one model on one store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, StorePath, say, say_next, say_note, warn
from audiocls.cli.labels import add_labelling_options, refuse
from audiocls.cli.options import add_recipe_options, make_recipe
from audiocls.errors import SettingError
from audiocls.models import ALIASES, MODELS
from audiocls.scores.measures import MEASURES

if TYPE_CHECKING:
    from audiocls.data.labelling import Labelling
    from audiocls.training import Start


@click.command("train", cls=Command)
@click.argument("data", metavar="[DATA]", required=False, type=click.Path())
@click.option(
    "--model",
    metavar="NAME",
    help=f"One of {', '.join(MODELS)}. best stands for {ALIASES['best']}. With --init also linear: "
    "a linear head alone, in seconds.  [default: with --init its architecture; with DATA best]",
)
@click.option(
    "--init",
    metavar="MODEL",
    help="Begin with a trained model, not with random weights: a run, `ears` or `orchestra`.",
)
@click.option(
    "--features",
    type=StorePath(),
    metavar="DIR|URL",
    help="A feature store, instead of DATA.  [default: the newest under features/]",
)
@click.option(
    "--store",
    "kind",
    default="features",
    show_default=True,
    metavar="features|samples",
    help="What to make of DATA. Features are the same in every epoch and train faster; from "
    "samples every epoch draws new, augmented windows.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder.  [default: runs/FEATURE-MODEL-SEED]",
)
@click.option(
    "--feature",
    metavar="NAME",
    help="The preset to compute from DATA or from a store of samples.  "
    "[default: mel, or mel-16k of samples at 16 kHz]",
)
@click.option(
    "--clip-s",
    type=float,
    help="Seconds of a clip, for DATA or a store of samples.  [default: 0.5, or that of --init]",
)
@click.option(
    "--hop-s",
    type=float,
    help="Seconds from clip to clip in validation and test, for DATA or a store of samples.  "
    "[default: 0.5, or that of --init]",
)
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What stays together in the split: a metadata column, or a regular expression that is "
    "searched in the path.  [default: column `group` if there is one, else recording]",
)
@click.option(
    "--fold",
    metavar="K/N",
    help="Test on fold K of N. K/logo tests on the K-th group alone.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of split, weights and draws.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda")
@click.option(
    "--memory-gb",
    type=float,
    help="Above this size read features from the store as they are needed.  "
    "[default: half of the free memory of the device]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the last finished epoch. A finished run goes on with more --epochs.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Replace a run that is in the run folder, and a store that has other settings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json on stdout.")
@add_labelling_options
@add_recipe_options()
def command(
    data: str | None,
    model: str | None,
    init: str | None,
    features: str | Path | None,
    kind: str,
    out: Path | None,
    feature: str | None,
    clip_s: float | None,
    hop_s: float | None,
    group_by: str | None,
    fold: str | None,
    seed: int,
    device: str,
    memory_gb: float | None,
    resume: bool,
    restart: bool,
    as_json: bool,
    preset: str | None,
    labelling: Labelling,
    **options: Any,
) -> None:
    """Train a model on recordings, or on a feature store.

    DATA is as for `audiocls extract`. The command makes its store under features/, or goes on with
    it. To look at the store first, use `audiocls extract`, then --features.

    The split into train, validation and test keeps groups together. Validation chooses the epoch;
    the test part serves once, at the end.

    If you have few recordings, begin with a trained model. The run keeps its features, clips and
    normalisation, and the head's weights of classes of the same name.

    \b
    Example:
      audiocls train recordings/
      audiocls train digits/ --label-by '^([0-9])_' --group-by '^[0-9]_([a-z]+)_'
      audiocls train --model resnet
      audiocls train --model lstm --features features/mfcc --epochs 10 --seed 1
      audiocls train --model cnn --group-by '([^/]+)/[^/]+?_([A-G]s?[0-9])_'
      audiocls train --model resnet --recipe study --resume
      audiocls train --init ears --features features/own-mel-16k
      audiocls train --init ears --model linear --features features/own-mel-16k
    """
    from audiocls import training
    from audiocls.cli.progress import EpochLines
    from audiocls.store.store import find_newest_store
    from audiocls.training.loop import make_trial, name_features, train_trial

    if data is None:
        refuse(labelling, "a store has its labels")
    elif features is not None:
        raise SettingError("features", str(features), "give DATA or a store, one of the two")
    elif model is None and init is None:
        model = "best"
    start = None if init is None else training.Start.load(init)
    recipe = make_recipe(preset, options, begun=start is not None)
    # Before the search for a store: wrong usage is said first.
    trial = make_trial(model, recipe, start, seed, group_by, fold)
    chosen = training.Device.pick(device, trial.recipe.precision)
    if data is not None:
        cut = {"clip_s": clip_s, "hop_s": hop_s}
        features = _prepare(
            data, kind, feature, start=start, restart=restart, labelling=labelling, **cut
        )
        if kind == "features":
            feature = clip_s = hop_s = None
    features = features or find_newest_store()
    trial = replace(trial, feature=name_features(features, feature))
    run = training.Run.at(out, trial)
    with EpochLines(trial.recipe.epochs) as lines:
        result = train_trial(
            trial,
            features,
            run,
            chosen,
            start=start,
            feature=feature,
            clip_s=clip_s,
            hop_s=hop_s,
            memory_gb=memory_gb,
            restart=restart,
            resume=resume,
            progress=lines if chosen.leads else None,
        ).to_dict()
    if chosen.leads:  # one process of several speaks
        _tell(result, trial.model, features, run.folder, start, as_json)


def _prepare(data: str, kind: str, feature: str | None, **settings: Any) -> Path:
    """Makes the store of DATA, or goes on with it, under a bar of its own."""
    from audiocls.cli.progress import show_extraction
    from audiocls.training.prepare import prepare_store

    with show_extraction() as progress:
        return prepare_store(data, kind, feature, progress=progress, notice=say_note, **settings)


def _tell(
    result: dict[str, Any],
    model: str,
    features: str | Path,
    folder: Path,
    start: Start | None,
    as_json: bool,
) -> None:
    """Shows what came of the training."""
    from audiocls.store.place import store_name

    for warning in result["warnings"]:
        warn(warning)
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    test, whole = result["test"], result["test_recording"]
    measures = MEASURES[result["task"]]
    say(
        f"{model} on {store_name(features)}: {result['parameters']:,} parameters, "
        f"{result['clips_per_s']:,.0f} clips/s in training, "
        f"best epoch {result['chosen']['epoch']}"
    )
    if start is not None:
        kept = start.known_among(result["classes"])
        known = f"knows {len(kept)} of {len(result['classes'])} classes" if kept else (
            "knows none of these classes: its head is new"
        )  # fmt: skip
        say(f"began with {start.name}, which {known}")
    say(f"test, {test['n']} clips:        {measures.line(test)}")
    say(f"test, {whole['n']} recordings:  {measures.line(whole)}")
    say(f"run folder: {folder}")
    say_next(f"predict {folder} RECORDING")
