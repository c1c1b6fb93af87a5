"""`audiocls info`: what a data set, a feature store or a model contains."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, StorePath, say, say_next, use_option_names
from audiocls.cli.labels import add_labelling_options, format_options, refuse
from audiocls.errors import SettingError
from audiocls.files import make_printable
from audiocls.scores.measures import MEASURES, format_measure

if TYPE_CHECKING:
    from rich.table import Table

    from audiocls.data.labelling import Labelling
    from audiocls.store.summary import Summary

# Of a long list, the table shows the beginning; --json has everything.
_SHOWN = 10


@click.command("info", cls=Command)
@click.argument("path", type=StorePath())
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--plot",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw class balance and durations. Needs the extra `train`.",
)
@click.option(
    "--verify",
    "whole",
    is_flag=True,
    help="Read every byte of a store and compare its checksums. Exit with 1 if any differs.",
)
@add_labelling_options
def command(
    path: str | Path,
    as_json: bool,
    plot: Path | None,
    whole: bool,
    labelling: Labelling,
) -> None:
    """Show what a data set, a store or a model contains.

    It lists classes and their balance, failures, rates, groups and leaks.

    PATH is a data set, a feature store (a URL too), a run folder, its model, or `orchestra`, the
    model in the box. Of a data set the command reads only the headers.

    \b
    Example:
      audiocls info recordings/
      audiocls info ESC-50/ --table ESC-50/meta/esc50.csv
      audiocls info features/mel --plot balance.png
      audiocls info features/mel --verify
      audiocls info runs/mel-resnet-0
    """
    from audiocls.classifier.description import find_model
    from audiocls.cli.progress import show_headers
    from audiocls.store.place import is_store, local_copy
    from audiocls.store.summary import draw_summary, summarise

    path = local_copy(path)
    if is_store(path) or find_model(path):
        refuse(labelling, f"{path} has its labels")
    if whole:
        _verify(path, as_json)
        return
    if find_model(path):
        if plot is not None:
            rule = "a model has none; its run folder holds curves.png and confusion.png"
            raise SettingError("--plot", str(plot), rule)
        model = _describe(path)
        if as_json:
            click.echo(json.dumps(model, indent=1, ensure_ascii=True))
        else:
            _print_model(model)
            say_next(f"predict {path} RECORDING")
        return
    with show_headers() as progress:
        summary = summarise(path, progress, labelling)
    summary.notices = [use_option_names(notice) for notice in summary.notices]
    if plot is not None:
        draw_summary(summary, plot)
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=1, ensure_ascii=True))
    else:
        _print(summary)
        made = f"train --model best --features {path}"
        say_next(
            made if summary.decoded else f"extract {path} --feature mel{format_options(labelling)}"
        )


def _describe(path: Path) -> dict[str, Any]:
    """The contents of a run folder or its model.

    The metrics are None if the run was interrupted, or if only the model was kept.
    """
    from audiocls.classifier.description import model_folder, read_description
    from audiocls.classifier.weights import count_stored_parameters
    from audiocls.training.run import Result

    folder = model_folder(path)
    result = Result.read(folder.parent if folder == path else path)
    return {
        "path": str(path),
        "parameters": count_stored_parameters(path),
        **read_description(path).to_dict(),
        "metrics": result.to_dict() if result else None,
    }


def _verify(path: Path, as_json: bool) -> None:
    from audiocls.cli.progress import show_headers
    from audiocls.store.format import verify
    from audiocls.store.store import open_store

    if not (path / "store.json").is_file():
        open_store(path)  # says what it is instead
    with show_headers("files") as progress:
        damaged = verify(path, progress)
    if as_json:
        click.echo(json.dumps({"store": str(path), "damaged": damaged}, ensure_ascii=True))
    for name, wrong in damaged.items():
        say(f"{path / name} {wrong}", err=True)
    if damaged:
        say("the same `audiocls extract` makes again what is damaged", err=True)
        sys.exit(1)
    store = open_store(path)
    if store.about["version"] == 1:
        say(f"{path}: is of version 1, without checksums: only looked at", err=True)
    elif not as_json:
        say(f"{path}: every byte is as it was written")


def _print_model(model: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    spec, (frames, features) = model["spec"], model["input_shape"]
    lines = [
        f"{model['architecture']}: {model['parameters']:,} parameters",
        f"takes {frames} frames × {features} features ({spec['kind']} at {spec['sample_rate']} Hz) "
        f"of {model['clip_s']:g} s, every {model['hop_s']:g} s",
        *(["began with " + model["init"]["model"]] if model["init"] else []),
        "made by " + ", ".join(f"{name} {version}" for name, version in model["versions"].items()),
        f"{len(model['classes'])} classes: {', '.join(model['classes'])}",
    ]
    for line in lines:
        console.print(Text(make_printable(line)))
    if model.get("task") == "several":
        said = zip(model["classes"], model["thresholds"] or (), strict=False)
        text = ", ".join(f"{make_printable(name)} {threshold:.2f}" for name, threshold in said)
        console.print(Text(f"several labels a clip, each from its probability on: {text}"))
    metrics = model["metrics"]
    if metrics is None:
        console.print("no metrics.json: the run was not finished, or only its model was kept")
        return
    console.print()
    parts = Table(box=None, header_style="bold")
    measures = MEASURES[metrics["task"]]
    for name in ("part", *measures.part.values(), "examples"):
        parts.add_column(name, justify="left" if name == "part" else "right")
    for part in ("train", "val", "test", "test_recording"):
        m = metrics[part]
        scores = [format_measure(m[key]) for key in measures.part]
        parts.add_row(part.replace("_", ", by "), *scores, f"{m['n']:,}")
    console.print(parts)
    console.print()
    classes = Table(box=None, header_style="bold")
    for name in ("class, test part", "clips", *measures.per_class.values()):
        classes.add_column(name, justify="left" if name.startswith("class") else "right")
    for label, m in metrics["test"]["per_class"].items():
        scores = [format_measure(m[key]) for key in measures.per_class]
        classes.add_row(Text(make_printable(label)), f"{m['n']:,}", *scores)
    console.print(classes)
    for warning in metrics["warnings"]:
        console.print(Text(make_printable(f"note: {warning}")))


def _print(summary: Summary) -> None:
    from rich.console import Console
    from rich.text import Text

    # A label or path may hold anything: Text, so that brackets in it are no markup.
    console = Console(highlight=False, soft_wrap=True)
    console.print(_class_table(summary))

    def line(text: str = "") -> None:
        console.print(Text(make_printable(text)))

    _print_counts(summary, line)
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
        line(
            "only headers were read: damage, silence and duplicates are known once the data set is "
            "extracted"
        )


def _class_table(summary: Summary) -> Table:
    """A row for each class."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    table.add_column("class")
    known = ("clips", "seconds") if summary.decoded else ("seconds",)
    annotated = any(c.events for c in summary.classes)
    known = ("stretches", *known) if annotated else known
    for name in ("recordings", "failed", "groups", *known):
        table.add_column(name, justify="right")
    for c in summary.classes:
        cells = [c.recordings, c.failed or "", c.groups]
        cells += [c.events] if annotated else []
        cells += [c.clips] if summary.decoded else []
        cells += [f"{c.seconds:.1f}"]
        table.add_row(Text(make_printable(c.label) or "(no label)"), *map(str, cells))
    return table


def _print_counts(summary: Summary, line: Callable[[str], None]) -> None:
    """A line for each number of the whole, and for each notice."""
    what = "clips" if summary.decoded else "recordings"
    line("")
    line(f"{len(summary.classes)} classes; the largest has {summary.imbalance:.1f} × the {what}")
    line(f"{summary.recordings} recordings, {summary.failed} failed, {summary.skipped} skipped")
    if summary.decoded:
        line(f"{summary.feature}: {' × '.join(map(str, summary.shape))}")
    line(f"{sum(summary.durations_s):.1f} s of audio")
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
        line(f"note: {notice}")


def _print_list(title: str, items: list[str], line: Callable[[str], None]) -> None:
    if items:
        line("")
        line(f"{len(items)} {title}:")
        for item in items[:_SHOWN]:
            line(f"  {make_printable(item)}")
        if len(items) > _SHOWN:
            line(f"  … {len(items) - _SHOWN} more: --json lists them all")


def _listed(counts: dict[str, int], unit: str = "") -> str:
    return ", ".join(f"{key} {unit}".rstrip() + f" ({n})" for key, n in counts.items())
