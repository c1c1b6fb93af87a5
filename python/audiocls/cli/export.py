"""`audiocls export`: a model as one ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocls.cli import Command, say, say_next


@click.command("export", cls=Command)
@click.argument("model", metavar="MODEL")
@click.option(
    "--out",
    required=True,
    metavar="FILE.onnx",
    type=click.Path(path_type=Path),
    help="The file to write.",
)
@click.option(
    "--weights",
    default="float32",
    show_default=True,
    metavar="float32|float16",
    help="float16 takes half the bytes; the file computes in float32.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the file's metadata as JSON.")
def command(model: str, out: Path, weights: str, as_json: bool) -> None:
    """Write a model as one ONNX file for other programs.

    Samples go in, probabilities come out; the features are inside.

    The metadata hold classes, rate and threshold. The command compares the file with the model
    before it writes it. Needs the extra `train`.

    \b
    Example:
      audiocls export runs/mel-resnet-0 --out instruments.onnx
      audiocls export runs/mel-resnet-0 --out small.onnx --weights float16
    """
    from audiocls.inference.export import export

    metadata = export(model, out, weights)
    if as_json:
        click.echo(json.dumps({"file": str(out), **metadata}, ensure_ascii=True))
        return
    size = out.stat().st_size / 1e6
    say(
        f"{out}: {size:.1f} MB, samples at {metadata['sample_rate']} Hz → "
        f"{len(metadata['classes'])} probabilities"
    )
    say_next(f"predict {model} RECORDING   (the same answers here)")
