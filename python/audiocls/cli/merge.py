"""`audiocls merge`: the parts that many machines made → one feature store."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocls.cli import Command, StorePath, say


@click.command("merge", cls=Command)
@click.argument("out", metavar="OUT", type=StorePath())
@click.argument("parts", metavar="[PART]...", nargs=-1, type=StorePath())
@click.option(
    "--accept-failures",
    is_flag=True,
    help="Finish the store even if a class lost all its recordings, or if most failed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def command(
    out: str | Path, parts: tuple[str | Path, ...], accept_failures: bool, as_json: bool
) -> None:
    """Join the parts that `extract --shard I/N` made into a store.

    The command joins all parts under OUT/parts, or the folders given. The store is byte for byte
    that of one run. First every part is checked. If one is missing, unfinished, damaged or of other
    settings, the command names it and merges nothing. After the merge you can remove OUT/parts. OUT
    and parts may be URLs, such as s3://bucket/features/mel.

    \b
    Example:
      audiocls extract recordings/ --feature mel --shard 1/2
      audiocls extract recordings/ --feature mel --shard 2/2
      audiocls merge features/mel
    """
    from audiocls.cli.progress import show_headers
    from audiocls.store.parts import merge

    with show_headers("files") as progress:
        store = merge(
            out,
            parts,
            accept_failures=accept_failures,
            progress=progress,
            notice=lambda text: say(f"note: {text}", err=True),
        )
    counts, failures = store.counts, store.path / "failures.csv"
    if as_json:
        summary = {
            "store": str(out),
            "feature": store.feature,
            "shape": store.about["shape"],
            "classes": store.classes,
            **counts,
            "failures": str(failures) if counts["failed"] else None,
        }
        click.echo(json.dumps(summary, ensure_ascii=True))
        return
    shape = " × ".join(map(str, store.about["shape"]))
    say(f"{out}: {shape} {store.about['dtype']}, {len(store.classes)} classes")
    if counts["failed"]:
        say(f"{counts['failed']} of {counts['recordings']} recordings failed: {failures}")
