"""The command line: parses, calls, prints. One command a file; nobody imports this package."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from audiocls.__main__ import INTERRUPTED
from audiocls.errors import AudioclsError, SettingError
from audiocls.files import make_printable

# In the order of a first session; `audiocls --help` lists them so.
COMMANDS = (
    "synth", "extract", "merge", "info", "train", "compare",
    "predict", "demo", "stream", "evaluate", "embed", "similar", "doubt", "export", "presets",
    "completion",
)  # fmt: skip

# Package → the extra that brings it: `pip install 'audiocls[EXTRA]'`.
EXTRAS = {
    "jinja2": "train",
    "matplotlib": "train",
    "onnx": "train",
    "onnxscript": "train",
    "psutil": "train",
    "safetensors": "train",
    "sklearn": "train",
    "torch": "train",
    "gradio": "demo",
    "sounddevice": "mic",
    "crowsetta": "annotations",
    "datasets": "datasets",
    "pyarrow": "datasets",
    "fsspec": "remote",
    "s3fs": "remote",
    "ray": "ray",
    "soundfile": "soundfile",
    "av": "av",
}


class Option(click.Option):
    """An option that `--help` shows under a heading of its own."""

    def __init__(self, *args: Any, heading: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class Command(click.Command):
    """A command with `--debug` that turns errors and warnings into one line each."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=lambda ctx, _param, value: ctx.meta.update({"debug": value}),
                help="Show the traceback of an error, and what is chosen on the way.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under their headings."""
        sections: dict[str, list[tuple[str, str]]] = {"": []}
        for param in self.get_params(ctx):
            # The text says what the arguments are.
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                sections.setdefault(getattr(param, "heading", ""), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading or "Options"):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error becomes a line on stderr and an exit code."""
        try:
            with warnings.catch_warnings():
                if ctx.meta.get("debug"):
                    logging.basicConfig(format="%(name)s: %(message)s")
                    logging.getLogger("audiocls").setLevel(logging.DEBUG)
                else:
                    warnings.showwarning = warn  # type: ignore[assignment]
                return super().invoke(ctx)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS or ctx.meta.get("debug"):
                raise
            need = f"needs {package}: pip install 'audiocls[{EXTRAS[package]}]'"
            say(f"audiocls {ctx.info_name} {need}", err=True)
            sys.exit(2)
        except (AudioclsError, OSError) as error:
            broken_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
            if broken_pipe or ctx.meta.get("debug"):
                raise  # click ends `audiocls info … | head` quietly
            text = str(error)
            if isinstance(error, OSError) and error.filename and error.strerror:
                text = f"{error.filename}: {error.strerror}"
            if isinstance(error, SettingError):
                text = str(SettingError(self._as_option(error.name), error.value, error.rule))
            say(f"audiocls {ctx.info_name}: {self.in_options(text)}", err=True)
            sys.exit(2 if isinstance(error, SettingError) else 1)

    def in_options(self, text: str) -> str:
        """A text of the library, which names settings by field, with --lr for `lr`."""
        return re.sub(r"`(\w+)`", lambda m: self._as_option(m[1], m[0]), text)

    def _as_option(self, field: str, otherwise: str | None = None) -> str:
        """The option of the setting `field`."""
        flag = "--" + field.replace("_", "-")
        if any(flag in p.opts for p in self.params):
            return flag
        return field if otherwise is None else otherwise


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the program with 130; a full disk that takes no --help is one line.

    click alone would say "Aborted!" and end it with 1, or show a traceback.
    """
    try:
        yield
    except OSError as error:
        ctx = click.get_current_context(silent=True)
        if error.errno != errno.ENOSPC or (ctx and ctx.meta.get("debug")):
            raise
        say(f"audiocls: {error.strerror}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        say(INTERRUPTED, err=True)
        sys.exit(130)


class _Commands(click.Group):
    """Imports a command's module when it is called, so that `--help` costs no torch."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _interruptible():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _interruptible():  # while a command is imported, too
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"no such command {name!r}: {hint}")
        try:
            command: click.Command = importlib.import_module(f"audiocls.cli.{name}").command
        except SettingError as error:  # of the environment: an unknown AUDIOCLS_ISA
            click.echo(f"audiocls {name}: {error}", err=True)
            ctx.exit(2)
        return command


class StorePath(click.ParamType[str | Path]):
    """A path, or a URL as it is: a Path would take one of its slashes."""

    name = "path"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | Path:
        """The value as a path, or as it is."""
        from audiocls.url import is_url

        return value if is_url(value) else Path(value)


def use_option_names(text: str) -> str:
    """A text of the library in the words of the running command: `lr` becomes --lr."""
    command = click.get_current_context().command
    return command.in_options(text) if isinstance(command, Command) else text


def say(text: str = "", err: bool = False) -> None:
    """Writes one line for people.

    A name or a label in it may come from a stranger: it is shown, and moves no cursor and sets no
    title. All output that is not JSON passes here, or through rich from `make_printable` text.
    """
    click.echo(make_printable(text), err=err)


def say_note(text: str) -> None:
    """Writes a note on the data as one line."""
    say(f"note: {use_option_names(text)}", err=True)


def warn(message: Warning | str, *_: Any) -> None:
    """Writes a warning as one line, without the line of code that gave it."""
    say(f"warning: {message}", err=True)


def say_next(command: str) -> None:
    """Writes the last line for people: what to do next. On stderr, as it is no result."""
    say(f"next: audiocls {command}", err=True)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="audiocls")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Audio classification from your own recordings.

    \b
    From a folder of recordings, one folder per class, to an answer:
    audiocls extract recordings/ --feature mel   recordings → features
    audiocls train --model best                  features → model
    audiocls predict runs/mel-compact-0 new.mp3  model → what is heard, when, how sure

    \b
    audiocls synth data/                         a small built-in data set, to try things on
    audiocls compare                             every feature × every model, one report page
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
