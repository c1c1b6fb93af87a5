"""`audiocls evaluate`: a saved model on labelled recordings that it has never seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, say_next, warn
from audiocls.cli.labels import add_labelling_options, refuse
from audiocls.cli.options import PER_CLASS
from audiocls.cli.scores import print_one, print_several
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
    type=PER_CLASS,
    help="The certainty below which an answer is `unknown`; of several labels, from which "
    "probability on each is said.  [default: the model's own]",
)
@click.option(
    "--smooth-s",
    type=float,
    default=0.0,
    help="Of several labels: smooth the clips by a median over so many seconds, for events.",
)
@click.option(
    "--least-s", type=PER_CLASS, help="Of several labels: leave out events that are shorter."
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
@add_labelling_options
def command(
    model: str,
    data: str | None,
    features: str | None,
    unknown: bool,
    threshold: Any,
    smooth_s: float,
    least_s: Any,
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
    Of several labels: average precision, AUROC, and F1 at the thresholds; of recordings with
    annotated events also how well the segments of `predict` find these.

    \b
    Example:
      audiocls evaluate runs/mel-resnet-0 other-recordings/
      audiocls evaluate runs/mel-resnet-0 birds/ --table labels.csv --columns label=species
      audiocls evaluate runs/mel-resnet-0 other-recordings/ --unknown --threshold 0.6
      audiocls evaluate runs/mel-resnet-0 --features features/mel-other --confusion matrix.png
      audiocls evaluate runs/marsh-lstm-0 marsh/ --annotations tables/ --smooth-s 0.5
    """
    from audiocls.data.grouping import groups_of
    from audiocls.inference.evaluate import judge_recordings, judge_store, open_source, score_one
    from audiocls.inference.evaluate_several import score_several
    from audiocls.inference.predict import Classifier
    from audiocls.store.store import Store

    if (data is None) == (features is None):
        raise SettingError("DATA", data, "give recordings or --features, one of the two")
    if confusion is not None:
        from audiocls.scores import plots
    classifier = Classifier.load(model)
    several = classifier.description.task == "several"
    limits = classifier.limits(threshold, smooth_s, least_s)
    if several and (unknown or confusion is not None):
        name = "--unknown" if unknown else "--confusion"
        raise SettingError(name, True, "is for a model of one label")
    source = open_source(data or features or "", labelling)
    if isinstance(source, Store):
        refuse(labelling, f"{data or features} has its labels")
    if not source.recordings:
        raise DataError(f"{data}: no recordings there")
    groups = groups_of(source.recordings, group_by)
    judge = judge_store(classifier, source) if isinstance(source, Store) else judge_recordings(
        classifier, source, labelling
    )  # fmt: skip
    from audiocls.classifier.description import model_folder
    from audiocls.classifier.heard import heard_among
    from audiocls.cli.progress import show_predictions

    files = [None] * len(source.recordings) if isinstance(source, Store) else source.files
    heard = heard_among(model_folder(classifier.path), source.recordings, files)
    if heard:
        n, of = len(heard), len(source.recordings)
        text = f"{n} of {of} recordings trained this model: its score on them is no evidence"
        warn(f"{text} ({heard[0].path}{', …' if n > 1 else ''})")

    judged = []
    failed = 0
    with show_predictions(len(source.recordings)) as progress:
        for recording, p in judge:
            failed += isinstance(p, str)
            judged.append((recording, p))
            progress(failed)
    # Of one with stretches, each is judged.
    group_of = dict(zip((r.id for r in source.recordings), groups, strict=True))
    groups = [group_of[recording.id] for recording, _ in judged]
    if several:
        result = score_several(
            classifier,
            judged,
            groups,
            limits=limits,
            separator=source.label_separator,
            background=labelling.background,
            mistakes=mistakes,
        )
    else:
        result = score_one(
            classifier, judged, groups, unknown=unknown, threshold=threshold, mistakes=mistakes
        )
    result["heard"] = [r.path for r in heard]
    if confusion is not None:
        scores = result["recording"]
        confusion.write_bytes(plots.confusion(scores["confusion"], result["classes"]))
    if as_json:
        click.echo(json.dumps(result, indent=1, ensure_ascii=True))
    else:
        (print_several if several else print_one)(result)
        say_next(f"export {model} --out model.onnx   (for other programs)")
    sys.stdout.flush()
