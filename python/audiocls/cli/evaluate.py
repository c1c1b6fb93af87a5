"""`audiocls evaluate`: a saved model on labelled recordings that it has never seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, next_step
from audiocls.cli.labels import labelling_options, refuse
from audiocls.errors import DataError, SettingError

if TYPE_CHECKING:
    from audiocls.data.labelling import Labelling


@click.command("evaluate", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="[DATA]", required=False)
@click.option("--features", metavar="DIR", help="A feature store, instead of DATA.")
@click.option(
    "--unknown",
    is_flag=True,
    help="Recordings with labels that the model does not know count, too: `unknown` is right.",
)
@click.option(
    "--threshold",
    type=float,
    help="The certainty below which an answer is `unknown`.  [default: the model's own]",
)
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What is one piece of evidence, for the interval; as for train.",
)
@click.option("--mistakes", type=click.IntRange(0), default=10, show_default=True)
@click.option(
    "--confusion",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw which classes are taken for which. Needs the extra `train`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@labelling_options
def command(
    model: str,
    data: str | None,
    features: str | None,
    unknown: bool,
    threshold: float | None,
    group_by: str | None,
    mistakes: int,
    confusion: Path | None,
    as_json: bool,
    labelling: Labelling,
) -> None:
    """Measure a model on new recordings, or on a feature store.

    DATA is a data set as for `audiocls extract`, or a feature store. Classes are matched by name;
    labels that the model does not know are named and left out, and `unknown` is no answer: the
    scores say how well it tells its classes apart, a line how often it would rather not say. With
    --unknown the scores count both. The interval holds the score of 95 in 100 draws of the groups.

    \b
    Example:
      audiocls evaluate runs/mel-resnet-0 other-recordings/
      audiocls evaluate runs/mel-resnet-0 birds/ --table labels.csv --columns label=species
      audiocls evaluate runs/mel-resnet-0 other-recordings/ --unknown --threshold 0.6
      audiocls evaluate runs/mel-resnet-0 --features features/mel-other --confusion matrix.png
    """
    from audiocls.data.grouping import groups_of
    from audiocls.inference.evaluate import evaluate, of_recordings, of_store, opened
    from audiocls.inference.predict import Classifier
    from audiocls.store.store import Store

    if (data is None) == (features is None):
        raise SettingError("DATA", data, "give recordings or --features, one of the two")
    if confusion is not None:
        from audiocls.scores import plots
    classifier = Classifier.load(model)
    source = opened(data or features or "", labelling)
    if isinstance(source, Store):
        refuse(labelling, f"{data or features} has its labels")
    if not source.recordings:
        raise DataError(f"{data}: no recordings there")
    groups = groups_of(source.recordings, group_by)
    judge = of_store(classifier, source) if isinstance(source, Store) else of_recordings(
        classifier, source
    )  # fmt: skip
    from audiocls.classifier.description import model_folder
    from audiocls.classifier.heard import heard_among
    from audiocls.cli.progress import prediction_progress

    files = [None] * len(source.recordings) if isinstance(source, Store) else source.files
    heard = heard_among(model_folder(classifier.path), source.recordings, files)
    if heard:
        n, of = len(heard), len(source.recordings)
        text = f"{n} of {of} recordings trained this model: its score on them is no evidence"
        click.echo(f"warning: {text} ({heard[0].path}{', …' if n > 1 else ''})", err=True)

    judged = []
    failed = 0
    with prediction_progress(len(source.recordings)) as progress:
        for recording, p in judge:
            failed += isinstance(p, str)
            judged.append((recording, p))
            progress(failed)
    result = evaluate(
        classifier, judged, groups, unknown=unknown, threshold=threshold, mistakes=mistakes
    )
    result["heard"] = [r.path for r in heard]
    if confusion is not None:
        scores = result["recording"]
        confusion.write_bytes(plots.confusion(scores["confusion"], result["classes"]))
    if as_json:
        click.echo(json.dumps(result, indent=1, ensure_ascii=True))
    else:
        _print(result)
        next_step(f"export {model} --out model.onnx   (for other programs)")
    sys.stdout.flush()


def _print(result: dict[str, Any]) -> None:
    from audiocls.classifier.answers import UNKNOWN

    whole, clips = result["recording"], result["clip"]
    for name, n in result["unknown_labels"].items():
        counted = "counted as unknown" if UNKNOWN in result["classes"] else "left out"
        what = "labelled" if name == UNKNOWN else "the model does not know"
        click.echo(f"{what} {name!r}: {n} recordings {counted}", err=True)
    for row in result["failed"][:10]:
        click.echo(f"{row['path']}: failed: {row['error']}", err=True)
    if len(result["failed"]) > 10:
        click.echo(f"… {len(result['failed'])} failed: --json lists them all", err=True)
    low, high = whole["interval"]["balanced_accuracy"]
    click.echo(f"{whole['n']} recordings in {result['groups']} groups: {_line(whole)}")
    click.echo(f"  95 % interval of the balanced accuracy over groups: {low:.3f} to {high:.3f}")
    click.echo(f"{clips['n']} clips: {_line(clips)}")
    if answered := result["answered"]:
        click.echo(_answered(answered))
    click.echo(f"\n{'class':24} {'recordings':>10} {'recall':>7} {'precision':>9}  taken for")
    for i, (name, scores) in enumerate(whole["per_class"].items()):
        if not scores["n"]:
            continue
        row = [(n, j) for j, n in enumerate(whole["confusion"][i]) if n and j != i]
        taken = ", ".join(f"{result['classes'][j]} {n}" for n, j in sorted(row, reverse=True)[:3])
        recall, precision = (
            "–" if scores[key] is None else f"{scores[key]:.3f}" for key in ("recall", "precision")
        )
        click.echo(f"{name:24} {scores['n']:10} {recall:>7} {precision:>9}  {taken}".rstrip())
    if result["mistakes"]:
        click.echo("\nsurest mistakes:")
    for m in result["mistakes"]:
        click.echo(f"  {m['path']}: {m['predicted']} {m['probability']:.3f}, is {m['label']}")


def _answered(answered: dict[str, float | None]) -> str:
    line = f"at the threshold {answered['threshold']:.2f} "
    if answered["share"] is None:
        return line + "there is no recording of a known class"
    line += f"{answered['share']:.1%} of the recordings of known classes are answered"
    if answered["accuracy"] is None:
        return line
    return line + f", {answered['accuracy']:.1%} of these right"


def _line(scores: dict[str, Any]) -> str:
    return (
        f"accuracy {scores['accuracy']:.3f}, balanced {scores['balanced_accuracy']:.3f}, "
        f"macro-F1 {scores['macro_f1']:.3f}"
    )
