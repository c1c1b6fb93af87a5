"""`audiocls extract`: recordings → a feature store."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, StorePath, say, say_next, say_note
from audiocls.cli.labels import add_labelling_options
from audiocls.errors import ChoiceError, SettingError

if TYPE_CHECKING:
    from audiocls.store.parts import Part
    from audiocls.store.store import Store

ENGINES = ("local", "ray")


@click.command("extract", cls=Command)
@click.argument("data", metavar="DATA", type=click.Path())  # a Path would change a URL
@click.option("--feature", default="mel", show_default=True, help="A preset of `audiocls presets`.")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Replace a field of the preset."
)
@click.option(
    "--out",
    metavar="DIR|URL",
    type=StorePath(),
    help="The store.  [default: features/FEATURE]. For a URL the command sends a local copy.",
)
@click.option(
    "--clip-s",
    type=float,
    help="Seconds of a clip; 0: one clip a recording, whole.  [default: 0.5; of samples 0]",
)
@click.option("--hop-s", default=0.5, show_default=True, help="Seconds from clip to clip.")
@click.option(
    "--short",
    default="pad",
    show_default=True,
    metavar="pad|repeat|drop",
    help="What to do with a recording shorter than one clip.",
)
@click.option(
    "--min-rms", default=0.0, show_default=True, help="Leave out quieter clips. Full scale is 1."
)
@click.option("--threads", type=int, help="Number of threads.  [default: all cores]")
@click.option(
    "--dtype",
    metavar="float32|float16|int16",
    help="Type of the store.  [default: float32; of samples int16]",
)
@click.option("--restart", is_flag=True, help="Make the store anew.")
@click.option(
    "--accept-failures",
    is_flag=True,
    help="Finish the store even if a class lost all its recordings, or if most failed.",
)
@click.option(
    "--inside-only",
    is_flag=True,
    help="Do not follow links or paths in tables that lead out of DATA.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Make only part I of N, in DIR/parts/I-of-N. `audiocls merge DIR` joins the parts.",
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    metavar="local|ray",
    help="Run on this machine, or on a Ray cluster of which it is a node.",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Head of the cluster.  [default: RAY_ADDRESS, else the cluster that runs here]",
)
@click.option("--strict", is_flag=True, help="Exit with 1 if any recording failed.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
@add_labelling_options
def command(
    data: str,
    feature: str,
    overrides: tuple[str, ...],
    out: str | Path | None,
    shard: str | None,
    engine: str,
    ray_address: str | None,
    strict: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Extract the features of all recordings in DATA into a store.

    DATA is a folder with one folder per class, a folder with metadata.csv, a CSV or JSON Lines
    manifest, a Parquet file, or the URL of a folder or manifest, such as s3://bucket/folder.

    failures.csv names the recordings that cannot be used; the rest go on. If all of a class or more
    than half of all fail, the store stays unfinished: the data may have gone away.

    After an interruption, run the same command: it goes on. It also repairs a damaged store. With
    --shard many machines share the work, each by making parts, in any order. With --engine ray a
    Ray cluster does the work.

    \b
    Example:
      audiocls extract recordings/ --feature mel
      audiocls extract recordings/ --feature mel --set n_mels=64 --out features/mel-64
      audiocls extract recordings/ --feature samples --set sample_rate=16000
      audiocls extract ESC-50/ --feature mel --table ESC-50/meta/esc50.csv
      audiocls extract digits/ --feature mel --label-by '^([0-9])_'
      audiocls extract forest/ --feature mel --annotations raven/ --background none
      audiocls extract recordings/ --feature mel --shard 3/8
      audiocls extract s3://bucket/recordings --feature mel --engine ray
      audiocls extract recordings/ --feature mel --out s3://bucket/features/mel
    """
    from audiocls.cli.progress import show_extraction
    from audiocls.engine.spec import FeatureSpec
    from audiocls.store.extraction import extract, extract_part
    from audiocls.store.parts import locate_part
    from audiocls.url import is_url

    _check_engine(engine, ray_address, shard)
    spec = FeatureSpec.preset(feature, **dict(map(_override, overrides)))
    out = out if out is not None else Path("features") / feature
    started = time.monotonic()
    with show_extraction() as progress:
        settings |= {
            "name": feature,
            "progress": progress,
            "notice": say_note,
        }
        made: Store | Part
        if engine == "ray":
            from audiocls.store.cluster import extract_on_cluster

            made = extract_on_cluster(data, spec, out, address=ray_address, **settings)
        elif shard:
            made = extract_part(data, spec, out, shard=_shard(shard), **settings)
        else:
            made = extract(data, spec, out, **settings)
    place: str | Path = made.path
    if is_url(out):
        place = locate_part(out, *_shard(shard)) if shard else out
    counts, failures = made.about["counts"], made.path / "failures.csv"
    if as_json:
        summary = _summary(made.about, failures)
        ends = {"seconds": round(time.monotonic() - started, 3)}
        where = {"store": str(out), "part": str(place) if shard else None}
        click.echo(json.dumps(where | summary | ends, ensure_ascii=True))
    else:
        _tell(place, made.about)
    if counts["failed"]:
        text = f"{counts['failed']} of {counts['recordings']} recordings failed: {failures}"
        say(text, err=as_json)
        if strict:
            sys.exit(1)
    if not as_json:
        step = f"merge {out}, once all parts are there" if shard else None
        say_next(step or f"train --model best --features {place}")


def _check_engine(engine: str, ray_address: str | None, shard: str | None) -> None:
    """Raises SettingError for options that do not go together."""
    if engine not in ENGINES:
        raise ChoiceError("engine", engine, ENGINES)
    if ray_address and engine != "ray":
        raise SettingError("ray_address", ray_address, "is for --engine ray")
    if shard and engine == "ray":
        raise SettingError("shard", shard, "--engine ray makes the parts itself")


def _summary(about: dict[str, Any], failures: Path) -> dict[str, Any]:
    """What a store or a part of one holds, for programs."""
    return {
        "feature": about["feature"],
        "shape": about["shape"],
        "classes": about["classes"],
        **about["counts"],
        "failures": str(failures) if about["counts"]["failed"] else None,
    }


def _tell(path: str | Path, about: dict[str, Any]) -> None:
    """What a store or a part of one holds, for people."""
    shape, counts = " × ".join(map(str, about["shape"])), about["counts"]
    say(f"{path}: {shape} {about['dtype']}, {len(about['classes'])} classes")
    if counts["silent_clips"]:
        say(f"{counts['silent_clips']} clips quieter than --min-rms left out")
    if counts["skipped"]:
        say(f"{counts['skipped']} recordings without a clip: see recordings.csv")


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise SettingError("shard", text, "must be I/N with 1 <= I <= N, such as 3/8")
    return int(number), int(of)


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SettingError("--set", text, "must be KEY=VALUE, such as n_mels=64")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value  # a word, such as log=natural
