"""The reference pages, made from the program, and the speed page, from benches/results.json.

`make reference` writes them.

`tests/docs/test_reference.py` holds them to what this makes.
"""

from __future__ import annotations

import ast
import csv
import dataclasses
import importlib
import inspect
import json
import math
import re
import statistics
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

import audiocls
from audiocls.cli import COMMANDS, main
from audiocls.cli.labels import HEADING as LABELS
from audiocls.training.recipe import PRESETS, Recipe, field_types

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs"
RESULTS = ROOT / "benches" / "results.json"
SCIENCE = ROOT / "research" / "results"
# What the pages say of themselves.
MADE = "<!-- Made by docs/generate.py from the program. Do not edit it here. -->\n"

DATA_COMMANDS = ("synth", "info", "extract", "merge", "doubt", "presets", "completion")
# Text, our bars, the peers' bars.
SCHEMES = {"light": ("#1f2328", "#0969da", "#afb8c1"), "dark": ("#e6edf3", "#4493f8", "#6e7681")}

# Where limits are kept: what is limited, the constant, its file, and how its value reads.
LIMITS = (
    ("length of a recording, s", "MAX_SECONDS", "rust_features/src/decode.rs"),
    ("channels of a recording", "MAX_CHANNELS", "rust_features/src/decode.rs"),
    ("rate of a recording over that of the features, and the reverse", "MAX_RATIO",
     "rust_features/src/resample.rs"),
    ("chunks before the samples (WAV, AIFF, CAF)", "MAX_CHUNKS",
     "rust_features/src/decode/chunks.rs"),
    ("length of a clip, s", "LONGEST_S", "rust_features/src/cut.rs"),
    ("values of a clip", "MAX_CLIP_VALUES", "rust_features/src/dataset.rs"),
    ("bytes of results that wait for the disk", "BUDGET_BYTES", "rust_features/src/dataset.rs"),
    ("any size in a spec", "MAX_SIZE", "rust_features/src/spec.rs"),
    ("filters × bins of a spec", "MAX_CELLS", "rust_features/src/spec.rs"),
    ("recordings of a shard", "SHARD_RECORDINGS", "python/audiocls/store/planning.py"),
    ("bytes of a shard's recordings", "SHARD_BYTES", "python/audiocls/store/planning.py"),
    ("bytes of memory of the decoding child", "MEMORY_BYTES",
     "python/audiocls/engine/_fallback.py"),
    ("seconds of the decoding child", "SECONDS", "python/audiocls/engine/_fallback.py"),
    ("further seconds a megabyte of the file", "SECONDS_A_MB",
     "python/audiocls/engine/_fallback.py"),
    ("samples of the decoding child a byte", "SAMPLES_A_BYTE",
     "python/audiocls/engine/_fallback.py"),
    ("bytes of a recording in a cell of a table", "LARGEST_CELL",
     "python/audiocls/data/listing/table.py"),
    ("bytes of a JSON document", "LARGEST_DOCUMENT", "python/audiocls/files.py"),
    ("numbers of all results of a model's graph, a number of its input", "CELLS",
     "python/audiocls/classifier/operators.py"),
    ("products of a model's graph, a number of its input", "PRODUCTS",
     "python/audiocls/classifier/operators.py"),
    ("seconds of a user's expression on all paths, without 1 ms a path", "SEARCH_S",
     "python/audiocls/data/grouping.py"),
    ("bytes of an upload to the demo page", "LARGEST_UPLOAD",
     "python/audiocls/inference/own_pages.py"),
    ("parts of a store on a cluster", "MOST_PARTS", "python/audiocls/store/cluster.py"),
)  # fmt: skip

# Documents and the classes whose fields they hold.
DOCUMENTS = (
    ("model.json", "audiocls.classifier.description", "Description"),
    ("metrics.json", "audiocls.training.run", "Result"),
    ("predictions.csv, predictions_recording.csv", "audiocls.training.fitting.predictions",
     "PredictionRow"),
    ("recordings.csv of a store", "audiocls.data.recordings", "Recording"),
)  # fmt: skip
# Fields that stand elsewhere: in events.csv and failures.csv, and as columns of their own.
NO_COLUMNS = {("Recording", field) for field in ("events", "left_out", "extra")}


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    made = {
        "reference/data-commands.md": commands(
            "Commands for data", [name for name in COMMANDS if name in DATA_COMMANDS]
        ),
        "reference/model-commands.md": commands(
            "Commands for models", [name for name in COMMANDS if name not in DATA_COMMANDS]
        ),
        "reference/recipe.md": recipe(),
        "reference/presets.md": presets(),
        "reference/documents.md": documents(),
        "reference/limits.md": limits(),
        "evidence/speed.md": speed(),
        "evidence/results.md": results(),
    }
    return (
        {name: f"{MADE}\n{text.rstrip()}\n" for name, text in made.items()}
        | {f"speed-{scheme}.svg": bars(*colours) for scheme, colours in SCHEMES.items()}
        | {"accuracy.svg": accuracy_by_cost()}
    )


def commands(title: str, names: Sequence[str]) -> str:
    """Commands with their own options; those of the recipe have a page."""
    text = [f"# {title}", "Every command has `--help` with an example, and `--debug`."]
    if "train" in names:
        text.append("`train` and `compare` also take each [recipe field](recipe.md) as an option.")
    shared = {*field_types(Recipe), "debug"}
    with main.make_context("audiocls", []) as context:
        for name in names:
            command = main.get_command(context, name)
            assert isinstance(command, click.Command)
            own = click.Context(command, info_name=f"audiocls {name}", parent=None)
            usage = " ".join(command.collect_usage_pieces(own)).replace("[OPTIONS]", "").strip()
            text += [f"## audiocls {name}", f"`audiocls {name} {usage}`".replace(" `", "`")]
            text.append(first_paragraph(command.help or ""))
            rows, refers = [], False
            for param in command.params:
                record = param.get_help_record(own)
                if record is None or not record[1] or param.name in shared:
                    continue
                if getattr(param, "heading", "") == LABELS and name != "extract":
                    refers = True
                    continue
                rows.append((f"`{record[0]}`", " ".join(record[1].split())))
            if rows:
                text.append(table(("option", "does"), rows))
            if refers:
                text.append(
                    "The options that say where labels stand are those of "
                    "[extract](data-commands.md#audiocls-extract)."
                )
    return "\n\n".join(text)


def recipe() -> str:
    """Every field of a recipe, its default, and what presets change."""
    docs = field_docs(Recipe) | field_docs(importlib.import_module(
        "audiocls.engine.augmentation").Augmentation)  # fmt: skip
    values = {name: Recipe.preset(name).to_dict() for name in PRESETS}
    others = [name for name in PRESETS if name != "modern"]
    rows = []
    for field in field_types(Recipe):
        default = values["modern"][field]
        changed = [
            f"{name}: {shown(values[name][field])}"
            for name in others
            if values[name][field] != default
        ]
        rows.append((f"`{field}`", shown(default), "; ".join(changed), docs[field]))
    return "\n\n".join([
        "# Recipe fields",
        "Each field is an option of `train` and `compare` of the same name: `batch_size`, "
        f"`--batch-size`. The presets are {', '.join(f'`{n}`' for n in PRESETS)}.",
        table(("field", "default", "other presets", "what"), rows),
    ])  # fmt: skip


def presets() -> str:
    """Every feature preset: what differs from the default of each setting."""
    rows = []
    base = dataclasses.asdict(audiocls.FeatureSpec())
    for name, spec in audiocls.presets().items():
        own = {k: v for k, v in dataclasses.asdict(spec).items() if v != base[k]}
        shape = ""
        if spec.kind in ("mel", "mfcc"):
            extractor = audiocls.Extractor(spec)
            frames = extractor.n_frames(spec.sample_rate // 2)
            shape = f"{frames} × {extractor.n_features}"
        rows.append((f"`{name}`", shape, ", ".join(f"{k}={shown(v)}" for k, v in own.items())))
    settings = [(f"`{k}`", shown(v), field_docs(audiocls.FeatureSpec).get(k, "")) for k, v in
                base.items()]  # fmt: skip
    return "\n\n".join([
        "# Presets and settings of features",
        "Change any setting by `--set key=value`. A preset changes these defaults:",
        table(("preset", "0.5 s gives", "settings"), rows),
        "## Settings",
        table(("setting", "default", "what"), settings),
    ])  # fmt: skip


def documents() -> str:
    """The fields of the documents that the program writes."""
    text = ["# Fields of documents"]
    for title, module, name in DOCUMENTS:
        cls = getattr(importlib.import_module(module), name)
        rows = [
            (f"`{field}`", comment)
            for field, comment in field_comments(cls).items()
            if (cls.__name__, field) not in NO_COLUMNS
        ]
        text += [f"## {title}", table(("field", "what"), rows)]
    return "\n\n".join(text)


def limits() -> str:
    """What bounds what a stranger may send."""
    rows = []
    for what, constant, file in LIMITS:
        source = (ROOT / file).read_text("utf-8")
        found = re.search(rf"^(?:pub(?:\(\w+\))? )?(?:const )?{constant}\b[^=\n]*= ([^;#\n]+)",
                          source, re.M)  # fmt: skip
        assert found, f"{file}: no constant {constant}"
        value = number(found[1].strip())
        rows.append((what, f"{value:,}"))
    return "\n\n".join([
        "# Limits",
        "Nothing is allocated because a header claims a size. These limits hold everywhere:",
        table(("what", "at most"), rows),
    ])  # fmt: skip


def speed() -> str:
    """What `make bench` measured, by preset: the fastest peer and the reference."""
    results = json.loads(RESULTS.read_text("utf-8"))
    text = [
        "# Speed",
        "```bash\nmake bench         # measures everything on this page\n```",
        "`make bench` writes `benches/results.json`; this page is drawn from it. Contenders take "
        "turns in one process. Equal results are asserted before the clock starts. A ratio is the "
        "median over rounds of the peer's time divided by ours. Quote ratios: absolute figures "
        "move by tens of per cent from machine to machine. Each peer is in its fastest honest use.",
        "## Features, one core",
        measured_on(results["one-core"]),
        table(
            ("preset", "audiocls, clips/s", "fastest peer", "ratio", "what users call", "ratio"),
            [
                (f"`{name}`", ours, *fastest, *usual)
                for name, ours, fastest, usual in by_preset(results["one-core"]["rows"])
            ],
        ),
        "For the signal of ten minutes the rate is in seconds of sound a second.",
        "`precision=double` takes so many times as long: "
        + ", ".join(f"`{row[0]}` {row[3]}" for row in results["precision"]["rows"]) + ".",
        "## From files to features",
        f"{results['files']['note']}, MP3. {measured_on(results['files'])}",
        table(results["files"]["head"], results["files"]["rows"]),
        "## Training",
        "Against a `DataLoader` loop of equal model and batch, one core, clips a second. "
        + measured_on(results["training"]),
        table(results["training"]["head"], [
            row for row in results["training"]["rows"] if row[0] == "mel" and row[2] == "training"
        ]),
        "CUDA is not measured.",
    ]  # fmt: skip
    return "\n\n".join(text)


def measured_on(table: dict[str, Any]) -> str:
    """Machine, date and versions of a table."""
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    return f"{table['machine']}, {table['date']}; {versions}."


def by_preset(rows: list[list[str]]) -> Iterable[tuple[str, str, list[str], list[str]]]:
    """(set-up, our rate, the fastest peer and its ratio, what users call and its ratio)."""
    usual = (
        "librosa, clip by clip", "kaldi-native-fbank", "python_speech_features", "transformers",
    )  # fmt: skip
    for name in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == name]
        fastest = min(own, key=lambda row: float(row[4]))
        called = next((row for row in own if row[1].startswith(usual)), own[0])
        yield name, own[0][3], [fastest[1], fastest[4]], [called[1], called[4]]


def bars(text: str, ours: str, theirs: str) -> str:
    """The speed of each preset beside its peers, as SVG: the ratio to what users call."""
    rows = [
        (name, float(usual[1]), float(fastest[1]), fastest[0].rpartition(" ")[0])
        for name, _, fastest, usual in by_preset(
            json.loads(RESULTS.read_text("utf-8"))["one-core"]["rows"]
        )
        if "minutes" not in name
    ]
    width, left, step, top = 720, 130, 46, 40
    most = max(row[1] for row in rows)
    scale = (width - left - 150) / most
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + step * len(rows)}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img" '
        'aria-label="Clips a second on one core, as multiples of the library that users call">',
        f'<text x="{left}" y="20" fill="{text}">Times as fast as the library that users call, '
        "one core</text>",
    ]
    for i, (name, ratio, over_fastest, peer) in enumerate(rows):
        y = top + i * step
        peer_ratio = ratio / over_fastest
        lines += [
            f'<text x="{left - 8}" y="{y + 19}" text-anchor="end" fill="{text}">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{ratio * scale:.1f}" height="16" fill="{ours}"/>',
            f'<text x="{left + ratio * scale + 6:.1f}" y="{y + 13}" fill="{text}">'
            f"audiocls {ratio:.0f} ×</text>",
            f'<rect x="{left}" y="{y + 18}" width="{peer_ratio * scale:.1f}" height="16" '
            f'fill="{theirs}"/>',
            f'<text x="{left + peer_ratio * scale + 6:.1f}" y="{y + 31}" fill="{text}">'
            f"{peer} {peer_ratio:.1f} ×</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def rows_of(name: str) -> list[dict[str, str]]:
    """A table that a script of the laboratory wrote."""
    with (SCIENCE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def spread(row: dict[str, str], name: str) -> str:
    """Mean ± deviation."""
    return f"{row[name]} ± {row[f'{name}_sd']}" if row[f"{name}_sd"] else row[name]


def results() -> str:
    """The study's two questions, and what training gives today."""
    study = rows_of("study.csv")
    models = list(dict.fromkeys(row["model"].split()[0] for row in study))
    answers = []
    for model in models:
        cells = []
        for features in ("mel", "mfcc"):
            for recipe in ("study", "modern"):
                (row,) = (
                    r for r in study
                    if (r["recipe"], r["features"], r["model"].split()[0])
                    == (recipe, features, model)
                )  # fmt: skip
                note = " (20 epochs)" if "20" in row["model"] else ""
                cells.append(f"{spread(row, 'recordings')}{note}")
        answers.append((f"`{model}`", *cells))
    today = [
        (
            f"`{row['model']}`", f"`{row['options']}`", row["seeds"], spread(row, "clips"),
            spread(row, "recordings"), row["minutes"],
        )
        for row in rows_of("today.csv")
    ]  # fmt: skip
    text = RESULTS_TEXT.format(
        study=table(
            ("model", "`mel`, study", "`mel`, modern", "`mfcc`, study", "`mfcc`, modern"), answers
        ),
        today=table(
            ("model", "options", "seeds", "clips", "recordings", "minutes of one core"), today
        ),
        stores=table(("task, left out", "features", "samples"), stores()),
    )
    return text


def stores() -> list[tuple[str, ...]]:
    """A row a task: features against samples as the store that `train DATA` makes."""
    left_out = {
        "digits": "a voice",
        "drums": "a soundfont",
        "programs": "two soundfonts",
        "players": "a third of the players",
        "notes": "a sixth of the notes",
    }
    measured = rows_of("default_store.csv")
    found = []
    for task, part in left_out.items():
        cells = []
        for store in ("features", "samples"):
            own = [
                100 * float(row["balanced_recordings"]) for row in measured
                if (row["task"], row["store"]) == (task, store)
            ]  # fmt: skip
            cells.append(f"{statistics.fmean(own):.1f} ± {statistics.stdev(own):.1f}")
        found.append((f"{task}, {part}", *cells))
    return found


RESULTS_TEXT = """# Results

**Data.** The Philharmonia Orchestra's sample library: 14 instruments, 7,050 MP3 files of single
notes and short phrases, 762 bass clarinets against 58 banjos. Recordings of one pitch of one
instrument are near-duplicates, so the group is (instrument, pitch). Scores are balanced accuracy
in per cent, mean ± deviation over seeds. A seed draws the split, the weights and the order.

## The study's two questions

Is mel or MFCC better, and which network? The study reported 91.84 % for a ResNet on mel and 70.9 %
for its NewCNN; how it split is unknown. Here one clip a recording trains for 50 epochs, and whole
recordings are judged; audiocls 0.2.0, November 2026, one to three seeds:

```bash
audiocls compare --features mel,mfcc --models cnn,newcnn,resnet,lstm,lstm-large,crnn \\
    --recipe study --clips-per-recording 1 --group-by '([^/]+)/[^/]+?_([A-G]s?[0-9])_' --device cpu
```

{study}

With the study's recipe the answers are the study's: ResNet on mel is best, and mel serves it
better than MFCC. With its rate `cnn` never leaves the loss of guessing, and `newcnn` diverges on
`mfcc`. `--recipe modern` mends both. Scores by clip are in `research/results/study.csv`.

## What training gives today

All clips train on `mel`, pitches held out; audiocls 0.2.0, November 2026:

{today}

![Balanced accuracy by recording against multiply-adds of a clip](../accuracy.svg)

These scores hold for this orchestra's players, rooms and microphones. On other players'
recordings: [the model in the box](orchestra.md).

![Confusion of resnet on mel, per cent of the true class](../confusion-mel-resnet.png)

## Features or samples

Which store should `train DATA` make? Balanced accuracy of `best` by recording, 60 epochs, three
seeds (`research/study/default_store.py`):

{stores}

The seeds tell neither apart. Features train 10 % faster: they are the default.

## Other questions

- A split by single recordings flatters `lstm` on `mel` by five points.
- Of `modern`, shifts of bands and balanced sampling can be told from chance (`make ablation`).
- 288 of 25,268 clips hold no sound. No model can name them.

Longer tables, and what was tried: `research/notes/results.md`.
"""


def accuracy_by_cost() -> str:
    """Balanced accuracy by recording over the multiply-adds of a clip, on a logarithmic axis."""
    rows = rows_of("today.csv")
    width, height, left, bottom = 560, 300, 60, 50
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#57606a" role="img" '
        'aria-label="Accuracy against cost">',
        f'<text x="{left}" y="16">balanced accuracy by recording, %</text>',
        f'<text x="{width - 8}" y="{height - 8}" text-anchor="end">'
        "multiply-adds a clip, million</text>",
    ]

    def x(cost: float) -> float:
        return left + (math.log10(cost) + 0.5) / 3.2 * (width - left - 60)

    def y(score: float) -> float:
        return height - bottom - (score - 86) / 14 * (height - bottom - 30)

    for tick in (88, 92, 96, 100):
        lines.append(
            f'<line x1="{left}" x2="{width - 20}" y1="{y(tick):.0f}" y2="{y(tick):.0f}" '
            'stroke="#d0d7de"/>'
        )
        lines.append(f'<text x="{left - 8}" y="{y(tick) + 4:.0f}" text-anchor="end">{tick}</text>')
    for tick in (1, 10, 100):
        lines.append(
            f'<text x="{x(tick):.0f}" y="{height - bottom + 18}" text-anchor="middle">{tick}</text>'
        )
    for row in rows:
        at, score = x(float(row["multiply_adds_million"])), float(row["recordings"])
        error = float(row["recordings_sd"] or 0)
        lines += [
            f'<line x1="{at:.0f}" x2="{at:.0f}" y1="{y(score - error):.0f}" '
            f'y2="{y(min(100, score + error)):.0f}" stroke="#0969da"/>',
            f'<circle cx="{at:.0f}" cy="{y(score):.0f}" r="5" fill="#0969da"/>',
            f'<text x="{at + 9:.0f}" y="{y(score) + 4:.0f}">{row["model"]}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def number(expression: str) -> int | float:
    """The value of an expression of numbers, +, * and <<."""
    tree = ast.parse(expression.replace("_", ""), mode="eval").body

    def value(node: ast.AST) -> Any:
        match node:
            case ast.Constant(int(x)) | ast.Constant(float(x)):
                return x
            case ast.BinOp(left, ast.LShift(), right):
                return value(left) << value(right)
            case ast.BinOp(left, ast.Mult(), right):
                return value(left) * value(right)
            case ast.BinOp(left, ast.Pow(), right):
                return value(left) ** value(right)
        raise ValueError(expression)

    found = value(tree)
    return int(found) if float(found).is_integer() else found


def field_docs(cls: type) -> dict[str, str]:
    """The docstrings under the fields of a dataclass, on one line each."""
    from audiocls.cli.fields import read_field_docs as read

    return {name: " ".join(text.split()) for name, text in read(cls).items()}


def field_comments(cls: type) -> dict[str, str]:
    """The comment beside each field of a class, "" for none."""
    source = textwrap.dedent(inspect.getsource(cls))
    found = {}
    for line in source.splitlines():
        if match := re.match(r"    (\w+): [^#]+?(?:  # (.*))?$", line):
            found.setdefault(match[1], match[2] or "")
    return found


def first_paragraph(text: str) -> str:
    """The summary."""
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


def shown(value: Any) -> str:
    """A value as a table has it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return " ".join(f"{v:g}" for v in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


if __name__ == "__main__":
    for name, text in pages().items():
        (OUT / name).write_text(text, encoding="utf-8")
