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
from audiocls.cli.progress import show_predictions
from audiocls.cli.scores import print_one, print_several
from audiocls.errors import DataError, SettingError

if TYPE_CHECKING:
    from audiocls.data.labelling import Labelling
    from audiocls.data.recordings import Listing
    from audiocls.inference.evaluate import Verdict
    from audiocls.inference.predict import Classifier
    from audiocls.store.store import Store


@click.command("evaluate", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="[DATA]", required=False)
@click.option("--features", metavar="DIR", help="A feature store, instead of DATA.")
@click.option(
    "--unknown",
    is_flag=True,
    help="Also score recordings of unknown classes. The right answer for them is `unknown`.",
)
@click.option(
    "--threshold",
    type=PER_CLASS,
    help="The certainty below which an answer is `unknown`. Of several labels: the probability "
    "from which on the model gives each.  [default: the model's own]",
)
@click.option(
    "--smooth-s",
    type=float,
    default=0.0,
    help="Of several labels: smooth by a median over so many seconds, for events.",
)
@click.option("--least-s", type=PER_CLASS, help="Of several labels: leave out shorter events.")
@click.option(
    "--group-by",
    metavar="recording|COLUMN|REGEX",
    help="What counts as one piece of evidence in the interval; as for train.",
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

    DATA is a data set as for `audiocls extract`, or a feature store. Classes are matched by name.
    The command names and leaves out labels that the model does not know. The scores ignore
    `unknown`: they say how well the model tells its classes apart. One line says how often it would
    answer `unknown`. With --unknown the scores count both. The interval holds the score of 95 in
    100 draws of the groups.

    A model of several labels gets average precision, AUROC, and F1 at its thresholds. If DATA has
    annotated events, the command also scores how well the segments of `predict` find them: F1 of
    events and of segments, and PSDS. Name the class that is no event by --background.

    \b
    Example:
      audiocls evaluate runs/mel-resnet-0 other-recordings/
      audiocls evaluate runs/mel-resnet-0 birds/ --table labels.csv --columns label=species
      audiocls evaluate runs/mel-resnet-0 other-recordings/ --unknown --threshold 0.6
      audiocls evaluate runs/mel-resnet-0 --features features/mel-other --confusion matrix.png
      audiocls evaluate runs/marsh-lstm-0 marsh/ --annotations tables/ --smooth-s 0.5
    """
    from audiocls.classifier.answers import UNKNOWN
    from audiocls.inference.evaluate import open_source, score_one
    from audiocls.inference.evaluate_events import judge_events
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
    judged, groups, heard = _judge(classifier, source, labelling, group_by)
    if several:
        result = score_several(
            classifier,
            judged,
            groups,
            limits=limits,
            separator=source.label_separator,
            mistakes=mistakes,
        )
    else:
        result = score_one(
            classifier, judged, groups, unknown=unknown, threshold=threshold, mistakes=mistakes
        )
    no_events = {labelling.background} | (set() if several else {UNKNOWN})
    events = [name for name in classifier.classes_ if name not in no_events]
    result["events"] = judge_events(judged, groups, events, limits)
    result["heard"] = heard
    if confusion is not None:
        scores = result["recording"]
        confusion.write_bytes(plots.draw_confusion(scores["confusion"], result["classes"]))
    if as_json:
        click.echo(json.dumps(result, indent=1, ensure_ascii=True))
    else:
        (print_several if several else print_one)(result)
        say_next(f"export {model} --out model.onnx   (for other programs)")
    sys.stdout.flush()


def _judge(
    classifier: Classifier, source: Store | Listing, labelling: Labelling, group_by: str | None
) -> tuple[list[Verdict], list[str], list[str]]:
    """What the model says of each recording, the groups of these, and the paths that trained it."""
    from audiocls.data.grouping import find_groups
    from audiocls.inference.evaluate import judge_listing, judge_store
    from audiocls.store.store import Store

    groups = find_groups(source.recordings, group_by)
    verdicts = judge_store(classifier, source) if isinstance(source, Store) else judge_listing(
        classifier, source, labelling
    )  # fmt: skip
    heard = _warn_of_heard(classifier, source)
    judged: list[Verdict] = []
    failed = 0
    with show_predictions(len(source.recordings)) as progress:
        for recording, answer in verdicts:
            failed += isinstance(answer, str)
            judged.append((recording, answer))
            progress(failed)
    return judged, groups, heard


def _warn_of_heard(classifier: Classifier, source: Store | Listing) -> list[str]:
    """Warns of recordings that trained the model, and returns their paths."""
    from audiocls.classifier.description import model_folder
    from audiocls.classifier.heard import find_heard
    from audiocls.store.store import Store

    files = [None] * len(source.recordings) if isinstance(source, Store) else source.files
    heard = find_heard(model_folder(classifier.path), source.recordings, files)
    if heard:
        n, of = len(heard), len(source.recordings)
        text = f"{n} of {of} recordings trained this model: its score on them is no evidence"
        warn(f"{text} ({heard[0].path}{', …' if n > 1 else ''})")
    return [r.path for r in heard]
