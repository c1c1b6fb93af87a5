"""`audiocls demo`: a page on this machine, to drop recordings on a model."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import click

from audiocls.cli import Command, say
from audiocls.cli.options import PER_CLASS


@click.command("demo", cls=Command)
@click.argument("model", metavar="[MODEL]", default="orchestra")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7860,
    show_default=True,
    help="Port of the page; 0: any free one.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page.  [default: open it]")
@click.option("--hop-s", type=float, help="Seconds from clip to clip.  [default: as in training]")
@click.option(
    "--threshold",
    type=PER_CLASS,
    help="Below this certainty the label is `unknown`; 0: never. Of several labels: the "
    "probability from which on the model gives each.  [default: the model's own]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the page's address as JSON.")
def command(
    model: str,
    port: int,
    browser: bool,
    hop_s: float | None,
    threshold: Any,
    as_json: bool,
) -> None:
    """Open a page to drop recordings on.

    The page shows and plays what a model hears in each.

    MODEL is a run folder, its `model/` folder, or `orchestra`, the model in the box and the
    default. The page serves this machine alone, and asks no other for anything. Ctrl-C ends it and
    deletes what you dropped on it. Needs the extra `demo`.

    \b
    Example:
      audiocls demo runs/mel-resnet-0
      audiocls demo runs/mel-resnet-0 --hop-s 0.1 --port 0 --no-browser
    """
    import tempfile
    import webbrowser

    from audiocls.inference.predict import Classifier

    # What is wrong with them is said before seconds go into the page.
    classifier = Classifier.load(model)
    classifier.cut(hop_s)
    classifier.limits(threshold)

    def began(url: str) -> None:
        click.echo(json.dumps({"model": model, "url": url}) if as_json else f"{model}: {url}")
        sys.stdout.flush()
        say("Ctrl-C ends it", err=True)
        if browser:
            webbrowser.open(url)

    # As Ctrl-C: by way of what cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="audiocls-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        from audiocls.inference import demo

        with demo.open_socket(port) as listening:
            page = demo.build_page(classifier, model, hop_s, threshold)
            demo.serve(page, listening, began)
