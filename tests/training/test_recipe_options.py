"""The command line's options are the fields of the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click
import pytest
from click.testing import CliRunner

from audiocls.cli import Command, compare, main, train
from audiocls.cli.fields import read_field_docs
from audiocls.cli.options import add_recipe_options, make_recipe
from audiocls.engine.augmentation import Augmentation
from audiocls.errors import SettingError
from audiocls.training import Recipe
from audiocls.training.recipe import Range, field_types


@dataclass(frozen=True, kw_only=True)
class Longer(Recipe):
    """A recipe with one field more."""

    echo_s: Annotated[float, Range(0, 3)] = 0.25
    """Length of the echo, in seconds."""
    echo_db: tuple[float, float] = (-6.0, 6.0)
    """Range of the echo."""
    louder: bool = False
    """Whether clips are made louder."""
    place: str | None = None
    """Where it is."""


def test_a_new_field_is_a_new_option() -> None:
    given = {}

    @click.command(cls=Command)
    @add_recipe_options(Longer)
    def command(preset: str, **options: object) -> None:
        given.update({k: v for k, v in options.items() if v is not None})

    shown = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "--echo-s FLOAT Length of the echo, in seconds. [default: 0.25]" in shown
    assert "--louder / --no-louder Whether clips are made louder. [default: off]" in shown
    assert "--echo-db FLOAT... Range of the echo. [default: -6.0 6.0]" in shown
    args = ["--echo-s", "1", "--echo-db", "-3", "0", "--louder", "--place", "hall"]
    done = CliRunner().invoke(command, args)
    assert done.exit_code == 0, done.output
    assert given == {"echo_s": 1.0, "echo_db": (-3.0, 0.0), "louder": True, "place": "hall"}
    with pytest.raises(SettingError, match=r"echo_s 4\.0 is invalid: must be >= 0 and <= 3"):
        Longer(echo_s=4.0)


@pytest.mark.parametrize("module", [train, compare])
def test_every_field_is_an_option_of_both_commands(module: object) -> None:
    options = {p.name: p for p in module.command.params}  # type: ignore[attr-defined]
    docs = read_field_docs(Augmentation) | read_field_docs(Recipe)
    for name in field_types(Recipe):
        option = options[name]
        assert option.opts[0] == "--" + name.replace("_", "-")
        assert option.default is None
        assert " ".join(docs[name].split()) in option.help


def test_the_study_is_shown_beside_the_default() -> None:
    shown = " ".join(CliRunner().invoke(main, ["train", "--help"]).output.split())
    assert f"[default: {Recipe().lr:g}; study: 0.01; finetune: 0.001]" in shown
    assert "--recipe modern|study|finetune|orchestra" in shown
    assert "[default: 5.0 40.0; orchestra: -5.0 40.0]" in shown


def test_options_go_over_the_preset() -> None:
    recipe = make_recipe("study", {"epochs": 3, "lr": None})
    assert (recipe.epochs, recipe.lr, recipe.batch_size) == (3, 0.01, 16)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--lr -1", "audiocls train: --lr -1.0 is invalid: must be > 0"),
        ("--batch-size 1", "--batch-size 1 is invalid"),
        ("--recipe stduy", "--recipe 'stduy' is invalid: did you mean 'study'?"),
        ("--optimizer sgd", "--optimizer 'sgd' is invalid: "),
        ("--time-mask 2", "--time-mask 2.0 is invalid: must be >= 0 and <= 1"),
    ],
)
def test_the_command_line_says_the_option(args: str, message: str) -> None:
    done = CliRunner().invoke(main, ["train", "--model", "lstm", *args.split()])
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("field", ["source", "noises", "impulses"])
def test_text_is_text(field: str) -> None:
    for value in (3, Path("sounds"), ["a"]):
        with pytest.raises(SettingError, match=f"{field} .* is invalid: must be text or none"):
            Recipe.preset(**{field: value})
    assert Recipe.preset(**{field: "sounds"}).to_dict()[field] == "sounds"
