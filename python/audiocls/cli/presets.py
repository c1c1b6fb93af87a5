"""`audiocls presets`: the table of feature presets."""

from __future__ import annotations

import click

from audiocls.cli import Command, say, say_next


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print every field of every preset as JSON.")
def command(as_json: bool) -> None:
    """List the feature presets and what each one equals.

    \b
    audiocls presets
    audiocls presets --json
    """
    import json

    from audiocls.engine.features import Extractor
    from audiocls.engine.spec import presets

    if as_json:
        click.echo(json.dumps({name: spec.to_dict() for name, spec in presets().items()}, indent=2))
        return
    row = "{:13} {:12} {:>8} {:>13} {:>6} {:>8} {:>12}"
    say(row.format("preset", "kind", "rate Hz", "frame / hop", "n_fft", "padding", "0.5 s gives"))
    for name, spec in presets().items():
        extractor = Extractor(spec, threads=1)
        shape = f"{extractor.n_frames(spec.sample_rate // 2)} × {extractor.n_features}"
        frame = f"{spec.frame_length} / {spec.hop_length}"
        cells = (name, spec.kind, spec.sample_rate, frame, spec.n_fft, spec.padding, shape)
        say(row.format(*cells))
    say_next("extract RECORDINGS/ --feature NAME")
