"""`audiocls similar`: the recordings that are most alike to one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocls.cli import Command, say, say_next
from audiocls.cli.predict import find_recordings
from audiocls.errors import DataError, explain_failure


@click.command("similar", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("query", metavar="QUERY")
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--top", type=click.IntRange(1), default=10, show_default=True, help="How many to show."
)
@click.option("--threads", type=click.IntRange(1), help="Number of threads.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def command(
    model: str, query: str, folder: str, top: int, threads: int | None, as_json: bool
) -> None:
    """Find the recordings in a folder that are most like one.

    Use it to find and label more of a sound. The number is a cosine: 1 is the same. It compares
    recordings with one query, and says nothing alone. The query itself is left out.

    \b
    Example:
      audiocls similar orchestra cello.wav unsorted/
      audiocls similar runs/mel-resnet-0 call.flac archive/ --top 50 --json
    """
    import numpy as np

    from audiocls.cli.progress import show_predictions
    from audiocls.inference.predict import Classifier
    from audiocls.inference.similar import find_nearest

    if Path(query).is_dir():
        raise DataError(f"{query}: is a folder; the query is one recording")
    others = [path for path in find_recordings((folder,)) if not _same(path, query)]
    if not others:
        raise DataError(f"{folder}: no other recordings than the query there")
    classifier = Classifier.load(model, threads)
    (heard,) = classifier.embeddings([query], threads)
    if isinstance(heard, Exception):
        raise heard
    rows, paths, failed = [], [], []
    with show_predictions(len(others)) as progress:
        for path, found in zip(others, classifier.embeddings(others, threads), strict=True):
            if isinstance(found, Exception):
                failed.append({"path": path, "error": explain_failure(path, found)})
            else:
                rows.append(found.whole)
                paths.append(path)
            progress(len(failed))
    for failure in failed:
        say("{path}: {error}".format(**failure), err=True)
    if not rows:
        raise DataError(f"none of {len(others)} recordings could be used")
    order, cosines = find_nearest(heard.whole, np.array(rows), top)
    if as_json:
        hits = [
            {"path": paths[i], "similarity": round(float(c), 6)}
            for i, c in zip(order, cosines, strict=True)
        ]
        document = {"query": query, "nearest": hits, "failed": failed}
        click.echo(json.dumps(document, ensure_ascii=True))
    else:
        for i, c in zip(order, cosines, strict=True):
            say(f"{c:.3f}  {paths[i]}")
        say_next(f"predict {model} RECORDING   (what is heard in one)")
    if failed:
        say(f"{len(failed)} of {len(others)} recordings failed", err=True)


def _same(path: str, other: str) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:
        return False
