"""The documents say what the code does."""

import re
import shlex
import tomllib
from dataclasses import fields

import click
import pytest
import typer.main

from rar_cli.cli import app
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.restorer import RestorerParams
from rar_cli.train.config import Crops, Stage, TrainConfig
from rar_cli.version import __version__
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.M | re.S)


def rar_lines():
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"\|\||&&|[|;]", line.split(" #")[0]):
                if part.strip().startswith("rar ") and part.split()[1] in COMMANDS:
                    yield shlex.split(part)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_readme(name):
    assert f"`rar {name}" in README
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert f"`{option}" in README, f"rar {name} {option}"


@pytest.mark.parametrize("words", list(rar_lines()), ids=" ".join)
def test_every_example_in_the_readme_parses(words):
    command = COMMANDS[words[1]]
    try:
        command.make_context(words[1], [w.split(">")[0] for w in words[2:] if not w.startswith(">")])
    except click.exceptions.UsageError as error:  # pragma: no cover
        raise AssertionError(f"{' '.join(words)}: {error.format_message()}") from error
    except SystemExit:
        raise AssertionError(" ".join(words)) from None


def test_the_changelog_knows_the_version():
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_file_tree_in_the_readme_names_every_module():
    for path in (ROOT / "rar_cli").glob("*.py"):
        if not path.name.startswith("__"):
            assert path.name in README, path.name


def test_nothing_committed_names_a_registry_or_this_machine():
    pattern = re.compile(r"(--index-url|--extra-index-url|pypi\.org/simple|file://)")
    for path in ROOT.rglob("*"):
        if path.suffix in {".md", ".toml", ".py", ".sh"} and ".venv" not in path.parts and path.name != "test_docs.py":
            assert not pattern.search(path.read_text()), path


def test_every_setting_of_training_in_the_readme_is_one():
    """Those of a run, of a stage, of its crops, and of the assessor and the restorer of the small model."""
    owners = {"": TrainConfig, "stage": Stage, "crops": Crops, "assessor": AssessorParams, "restorer": RestorerParams}
    rows = re.findall(r"^\| `(\w+) = ([^`]+)`(?: \((\w+)\))? \|", README, re.M)
    assert len(rows) >= 10
    for name, value, owner in rows:
        default = {field.name: field.default for field in fields(owners[owner])}[name]
        told = tomllib.loads(f"value = {value}")["value"]
        assert type(told) is type(default), name
        assert told != default, f"{name}: the README tells of what is so anyway"
