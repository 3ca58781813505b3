"""Settings of the wrong type or out of range: one line that names the setting, whatever the option."""

import re
import tomllib

import pytest
import typer
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.cli.settings import Option, Settings, _from_table, settings_for
from rar_cli.errors import UsageError

GROUP = typer.main.get_command(app)
VALUES = {
    bool: ["true"], int: ["1"], float: ["1", "1.5"], str: ['"a"'], list: ['["a"]', '"a"'],
    "no option's": ["[1]", "[[]]", '["a", 1]', "{a = 1}", "1979-05-27", "[true]"],
}  # fmt: skip
OPTIONS = [
    (command, parameter.opts[0].removeprefix("--"), Option(members, parameter))
    for command, members in GROUP.commands.items()
    for parameter in members.params
    if parameter.opts[0].startswith("--") and parameter.opts[0] != "--help"
]


@pytest.mark.parametrize("command", GROUP.commands)
def test_every_option_refuses_values_of_other_types(tmp_path, command):
    names, path = {command: {key: option for owner, key, option in OPTIONS if owner == command}}, tmp_path / "rar.toml"
    for key, option in names[command].items():
        right = [*VALUES[option.kind], *(['["a"]'] if key in {"only", "keep"} else [])]
        for value in dict.fromkeys(each for values in VALUES.values() for each in values if each not in right):
            with pytest.raises(UsageError, match=f"^{re.escape(f'{path}: {key} = ')}.* is of the wrong type; "):
                _from_table(tomllib.loads(f"[{command}]\n{key} = {value}\n"), path, names, Settings())


def test_kinds_are_those_that_the_commands_declare():
    kinds = {(command, key): option.kind for command, key, option in OPTIONS}
    assert kinds["restore", "suffix"] is kinds["restore", "log"] is kinds["restore", "dtype"] is str
    assert kinds["restore", "quality"] is kinds["restore", "tile"] is int
    assert kinds["restore", "accept"] is kinds["restore", "strength"] is float
    assert kinds["restore", "exclude"] is kinds["train", "data"] is list
    assert kinds["restore", "overwrite"] is bool


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tile = 0", "tile = 0: "),
        ("strength = nan", "strength = nan: "),
        ('format = "bmp"', "format = bmp: "),
        ("suffix = {a = 1}", "suffix = {'a': 1} is of the wrong type; text is needed"),
        ("restore = 3", "restore is a command; write a table: [restore]"),
        (f'suffix = ["{"a" * 1000}"]', "is of the wrong type; text is needed"),
    ],
)
def test_what_a_file_says_wrongly_is_one_line_that_names_it(tmp_path, text, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rar.toml").write_text(text)
    result = CliRunner().invoke(app, ["restore", ".", "out", "--dry-run"])
    assert result.exit_code == 2
    assert re.fullmatch(rf"rar: {re.escape(str(tmp_path / 'rar.toml'))}: .*\n", result.stderr)
    assert message in result.stderr
    assert len(result.stderr) < 400


@pytest.mark.parametrize(("name", "text"), [("TILE", "many"), ("OVERWRITE", "maybe"), ("FORMAT", "bmp"), ("STEPS", "")])
def test_what_the_environment_says_wrongly_is_one_line_that_names_it(tmp_path, name, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"RAR_{name}", text)
    result = CliRunner().invoke(app, ["restore", ".", "out", "--dry-run"])
    assert result.exit_code == 2
    assert re.fullmatch(rf"rar: RAR_{name} = {text}: .*\n", result.stderr)


@pytest.mark.parametrize("text", ["[tool]\nrar = 3", "[tool]\nrar = [1]"])
def test_a_tool_table_that_is_none_is_said(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match="rar is no table"):
        settings_for(GROUP, tmp_path, {})


def test_a_pyproject_whose_tool_is_no_table_has_no_settings(tmp_path):
    (tmp_path / "pyproject.toml").write_text("tool = 3")
    assert not settings_for(GROUP, tmp_path, {}).values


def test_an_option_that_may_repeat_takes_one_text(tmp_path):
    (tmp_path / "rar.toml").write_text('exclude = "*.tmp"\n')
    assert settings_for(GROUP, tmp_path, {}).values["restore"] == {"exclude": ["*.tmp"]}
    assert settings_for(GROUP, tmp_path, {"RAR_EXCLUDE": "b*"}).values["restore"] == {"exclude": ["b*"]}
