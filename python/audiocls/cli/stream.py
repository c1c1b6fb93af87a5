"""`audiocls stream`: predictions of raw samples as they come."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from audiocls.cli import Command, say
from audiocls.cli.options import PER_CLASS

if TYPE_CHECKING:
    from audiocls.inference.prediction import Segment


@click.command("stream", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("source", metavar="[-|mic]", type=click.Choice(["-", "mic"]), default="-")
@click.option(
    "--rate", type=click.IntRange(1, 2**32 - 1), help="Sample rate in Hz.  [default: the model's]"
)
@click.option("--channels", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--sample-type",
    default="int16",
    show_default=True,
    metavar="int16|int32|float32",
    help="Type of a sample, little-endian.",
)
@click.option("--hop-s", type=float, help="Seconds from clip to clip.  [default: as in training]")
@click.option(
    "--threshold",
    type=PER_CLASS,
    help="Below this certainty the label is `unknown`; 0: never. Of several labels: the "
    "probability from which on the model gives each.  [default: the model's own]",
)
@click.option("--latency", is_flag=True, help="At the end print how long the clips took.")
@click.option("--threads", type=click.IntRange(1), help="Number of threads.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")
def command(
    model: str,
    source: str,
    rate: int | None,
    channels: int,
    sample_type: str,
    hop_s: float | None,
    threshold: Any,
    latency: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Name what is heard in a stream, as it comes.

    The command prints a line for each clip as soon as the clip is complete. A model of several
    labels prints a line for each label, or none.

    The samples come from a pipe, without a header, or with `mic` from the microphone. The answers
    are those of `audiocls predict` on the same samples.

    \b
    Example:
      ffmpeg -i radio.mp3 -f s16le -ac 1 -ar 44100 - | audiocls stream runs/mel-resnet-0
      audiocls stream runs/mel-resnet-0 mic --rate 48000 --hop-s 0.1
    """
    from audiocls.inference.predict import Classifier
    from audiocls.inference.stream import Stream, read_microphone, read_pcm

    classifier = Classifier.load(model, threads)
    stream = Stream(classifier, rate, hop_s, threshold)
    if source == "mic":
        pieces = read_microphone(rate or classifier.sample_rate, channels)
    else:
        pieces = read_pcm(sys.stdin.buffer, sample_type, channels)
    took_ms: list[float] = []
    try:
        for piece in pieces:
            began = time.perf_counter()
            n = 0
            for heard in stream.push(piece):
                _show(heard, as_json)
                n += 1
            if n and latency and len(took_ms) < 1_000_000:
                took_ms.append((time.perf_counter() - began) * 1000 / n)
        for heard in stream.finish():
            _show(heard, as_json)
    finally:
        if took_ms:
            took_ms.sort()
            p50, p99 = (took_ms[int(q * (len(took_ms) - 1))] for q in (0.5, 0.99))
            text = f"{len(took_ms)} times clips came: {p50:.2f} ms a clip, 99 % below {p99:.2f} ms"
            say(text, err=True)


def _show(heard: Segment, as_json: bool) -> None:
    """Writes a line at once."""
    line = f"{heard.start_s:9.2f} – {heard.end_s:9.2f} s  {heard.probability:.3f}  {heard.label}"
    say(json.dumps(asdict(heard)) if as_json else line)
    sys.stdout.flush()
