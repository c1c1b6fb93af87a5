"""What the documents say: commands parse, Python runs, links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT

import audiocls
from audiocls.cli import main
from audiocls.cli.options import make_recipe
from audiocls.data.synth import write_dataset
from audiocls.models import MODELS, count_parameters, resolve_architecture

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FIRST_STEPS = ROOT / "docs" / "guides" / "first-steps.md"
# Pages whose Python runs after the first steps, in their folder.
RUN = [FIRST_STEPS, ROOT / "README.md"]
RUN += [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "internals/store", "guides/training", "guides/predicting", "guides/deploying",
        "internals/new-architecture",
    )
]  # fmt: skip
API = ROOT / "docs" / "reference" / "api.md"


def blocks(document: Path, *languages: str) -> list[str]:
    """The fenced blocks of a document in these languages."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text("utf-8"), re.M | re.S)
    return [text for language, text in fences if language in languages]


def calls(document: Path) -> list[list[str]]:
    """The arguments of every call of `audiocls` in the shell blocks of a document."""
    found = []
    for text in blocks(document, "bash", "console"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars="|>;&")
            words.whitespace_split = True
            tokens = list(words)
            for i, word in enumerate(tokens):
                if word == "audiocls":
                    end = next(
                        (j for j in range(i, len(tokens)) if set(tokens[j]) <= {*"|>;&"}), None
                    )
                    found.append(tokens[i + 1 : end])
    return found


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=path.name) for path in paths]


CALLS = [
    pytest.param(args, id=f"{d.name}: {' '.join(args)}") for d in DOCUMENTS for args in calls(d)
]


@pytest.mark.parametrize("args", CALLS)
def test_every_call_is_understood(args: list[str]) -> None:
    with main.make_context("audiocls", list(args)) as context:
        name, command, rest = main.resolve_command(context, list(args))
        assert isinstance(command, click.Command)
        given = command.make_context(name, rest, parent=context).params
    if name in ("train", "compare"):
        options = {k: v for k, v in given.items() if k in make_recipe("modern", {}).to_dict()}
        make_recipe(given["preset"], options)
        models = given.get("model") or (given.get("models") or "best").replace(
            "all", ",".join(MODELS)
        )
        # `linear` is a head on another model.
        assert all(resolve_architecture(name) for name in models.split(",") if name != "linear")


def test_there_is_no_indented_code() -> None:
    for document in DOCUMENTS:
        text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)
        assert not re.search(r"\n\n    (?=\S)", text), f"{document.name}: a block without fences"


@pytest.mark.parametrize("document", named(DOCUMENTS))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", named(DOCUMENTS))
def test_python_compiles_and_its_names_exist(document: Path) -> None:
    for text in blocks(document, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for name in node.names:
                    if not hasattr(module, name.name):
                        importlib.import_module(f"{node.module}.{name.name}")
            elif isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)


@pytest.fixture(scope="module")
def first_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands of the first steps were called, with little training."""
    folder = tmp_path_factory.mktemp("first_steps")
    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, name in enumerate(("recordings", "other-recordings")):
            write_dataset(name, clips_per_class=9, n_classes=3, seed=seed)
        shutil.copy(next(Path("other-recordings").rglob("synthetic-*_*.wav")), "new.wav")
        deploying = calls(ROOT / "docs" / "guides" / "deploying.md")
        exports = [args for args in deploying if args[0] == "export"]
        for args in calls(FIRST_STEPS) + exports:
            short = ["--epochs", "2"] if args[0] == "train" else []
            done = runner.invoke(main, [*args, *short])
            assert done.exit_code == 0, f"{args}: {done.output}"
    return folder


@pytest.mark.parametrize("document", named(RUN))
def test_python_runs_after_the_first_steps(
    document: Path, first_steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(first_steps)
    for text in blocks(document, "python"):
        exec(compile(text, document.name, "exec"), {})


def test_the_reference_has_every_public_name_with_a_docstring() -> None:
    names = re.findall(r"^::: audiocls\.(\S+)$", API.read_text("utf-8"), re.M)
    assert set(audiocls.__all__) <= set(names)
    for name in names:
        home, _, last = f"audiocls.{name}".rpartition(".")
        assert getattr(importlib.import_module(home), last).__doc__, name


@pytest.mark.parametrize("document", named([ROOT / "CONTRIBUTING.md"]))
def test_files_that_are_named_exist(document: Path) -> None:
    for path in re.findall(r"`([\w.]+/[\w./]+)`", document.read_text("utf-8")):
        built = path.startswith("target/") or "_native" in path
        assert built or (ROOT / path).exists(), path


def test_the_layers_are_those_of_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = [layer.replace("audiocls.", "") for layer in contract["contracts"][0]["layers"]]
    page = ROOT / "docs" / "internals" / "architecture.md"
    assert "\n".join(layers) + "\n" in blocks(page, "text")


def test_what_is_cited_is_this_version() -> None:
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {audiocls.__version__}\n" in cited


def test_every_model_has_its_row() -> None:
    choosing = (ROOT / "docs" / "guides" / "choosing.md").read_text("utf-8")
    for name in MODELS:
        with torch.device("meta"):
            mel = count_parameters(audiocls.build_model(name, 14, (44, 128)))
        row = re.search(rf"^\| `{name}`.*$", choosing, re.M)
        assert row is not None, name
        assert f"| {mel:,} |" in row[0], name
