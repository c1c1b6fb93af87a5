"""`audiocls embed`: recordings as rows of numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from audiocls.cli import Command, say, say_next
from audiocls.cli.predict import find_recordings
from audiocls.errors import DataError, explain_failure


@click.command("embed", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.npy|.parquet",
    help="The file to write. Beside a .npy file a .csv says what its rows are.",
)
@click.option("--clips", is_flag=True, help="One row a clip, not a recording.")
@click.option("--threads", type=click.IntRange(1), help="Number of threads.  [default: all cores]")
@click.option("--strict", is_flag=True, help="Exit with 1 if any recording failed.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    model: str,
    paths: tuple[str, ...],
    out: Path,
    clips: bool,
    threads: int | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Write recordings as rows of numbers.

    Similar sounds have similar rows. Use them to search, to cluster, or to train another program.

    A row is the input of the network's last layer: the mean over a recording's clips, or with
    `--clips` each clip. PATH is a recording, a folder or a pattern, as for `predict`. The command
    leaves out and names a recording that it cannot use.

    \b
    Example:
      audiocls embed orchestra takes/ --out takes.npy
      audiocls embed runs/mel-resnet-0 takes/ --clips --out clips.parquet
    """
    import numpy as np

    from audiocls.cli.progress import show_predictions
    from audiocls.inference.predict import Classifier
    from audiocls.inference.similar import check_out, write_embeddings

    check_out(out)
    files = find_recordings(paths)
    classifier = Classifier.load(model, threads)
    rows, names, failed = [], [], []
    starts: list[float] = []
    with show_predictions(len(files)) as progress:
        for path, found in zip(files, classifier.embeddings(files, threads), strict=True):
            if isinstance(found, Exception):
                failed.append({"path": path, "error": explain_failure(path, found)})
            else:
                rows.append(found.clips if clips else found.whole[np.newaxis])
                names += [path] * len(rows[-1])
                starts += found.starts_s.tolist() if clips else [0.0]
            progress(len(failed))
    for failure in failed:
        say("{path}: {error}".format(**failure), err=True)
    if not rows:
        raise DataError(f"none of {len(files)} recordings could be used: nothing is written")
    embeddings = np.concatenate(rows)
    written = write_embeddings(out, embeddings, names, starts if clips else None)
    if as_json:
        document = {
            "files": [str(file) for file in written],
            "rows": len(embeddings),
            "size": embeddings.shape[1],
            "failed": failed,
        }
        click.echo(json.dumps(document, ensure_ascii=True))
    else:
        what = "clips" if clips else "recordings"
        say(
            f"{', '.join(map(str, written))}: {len(embeddings)} {what}, "
            f"{embeddings.shape[1]} numbers each"
        )
        say_next(f"similar {model} RECORDING FOLDER   (the recordings that are most alike)")
    if failed:
        say(f"{len(failed)} of {len(files)} recordings failed", err=True)
        if strict:
            sys.exit(1)
