"""Settings that apply where the command line says nothing: RAR_* variables, rar.toml, [tool.rar] of pyproject.toml.

A key is an option's long name (`max-rounds = 2`). It applies to every command that has the option. In a table
(`[restore]`) it applies to one command. The nearest file counts, from the working folder upwards.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from rar_cli.cli.options import names_a_path
from rar_cli.errors import UsageError

PREFIX = "RAR_"
MOST_BYTES = 1 << 24
"""Of a file of settings."""

NOT_AN_OPTION = {"RAR_WEIGHTS"}
"""Where downloaded weights lie; a command's weights are RAR_RESTORE_WEIGHTS, RAR_ASSESS_WEIGHTS ..."""

Names = dict[str, dict[str, "Option"]]
"""command -> long option without dashes -> the option."""

VALUE_ERROR = "Value error, "
"""What typer puts before the message of a choice."""

MOST_SHOWN = 60
"""Most letters of a wrong setting in a message."""


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    command: Any
    parameter: Any

    @property
    def kind(self) -> type:
        """The type of its values, as the command's function declares it: bool, int, float or list; else str."""
        hint = _hints(self.command.callback)[self.parameter.name]
        kinds = {get_origin(each) or each for each in (hint, *get_args(hint))}
        return next((kind for kind in (list, bool, int, float) if kind in kinds), str)

    def check(self, value: Any, setting: str) -> None:
        """Raise UsageError for a value that the option cannot have. setting: text for the message."""
        if value in ("", [""]) and names_a_path(self.command, self.parameter):
            raise UsageError(f"{setting.strip()} is empty; name a file or a folder")
        try:
            self.parameter.process_value(typer.Context(self.command), value)
        except typer.BadParameter as error:
            fault = " ".join(error.message.removeprefix(VALUE_ERROR).split())
            raise UsageError(f"{setting}: {fault}") from error


@cache
def _hints(function: Any) -> dict[str, Any]:
    return get_type_hints(function)


WANTED = {bool: "true or false", int: "a whole number", float: "a number", list: "a list of texts", str: "text"}
"""Kinds of values in words."""


@dataclass
class Settings:
    """values: command -> parameter -> value, as click's default_map takes them. said: "where: key = value"."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, command: str) -> list[str]:
        """The settings of a command, each with where it comes from."""
        return sorted(text for (owner, _), text in self.said.items() if owner == command)

    def put(self, command: str, option: Option, value: Any, said: str, where: str) -> None:
        """Check and take a value; a later one wins. where: the beginning of `said`. Raises UsageError."""
        option.check(value, said[: len(where) + MOST_SHOWN])
        parameter = str(option.parameter.name)
        self.values.setdefault(command, {})[parameter] = value
        self.said[command, parameter] = said


def settings_for(group: TyperGroup, folder: Path, environment: Mapping[str, str]) -> Settings:
    """All settings for the commands of a group. Raises UsageError for names that no command has."""
    names = _names(group)
    settings = Settings()
    found = _nearest(folder)
    if found is not None:
        path, table = found
        _from_table(table, path, names, settings)
    _from_environment(environment, names, settings)
    return settings


def _names(group: TyperGroup) -> Names:
    return {
        command: {
            option.removeprefix("--"): Option(members, parameter)
            for parameter in members.params
            for option in parameter.opts
            if option.startswith("--") and option != "--help"
        }
        for command, members in group.commands.items()
    }


def _nearest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The file that counts, and its table."""
    for here in (folder, *folder.parents):
        if (here / "rar.toml").is_file():
            return here / "rar.toml", _read(here / "rar.toml")
        if (here / "pyproject.toml").is_file():
            tool = _read(here / "pyproject.toml").get("tool")
            table = tool.get("rar") if isinstance(tool, dict) else None
            if isinstance(table, dict):
                return here / "pyproject.toml", table
            if table is not None:
                raise UsageError(f"{here / 'pyproject.toml'}: tool.rar is no table; write [tool.rar]")
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
        return tomllib.loads(text.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read as TOML ({' '.join(str(error).split())})") from error


def _from_table(table: Mapping[str, Any], path: Path, names: Names, settings: Settings) -> None:
    options = {option for each in names.values() for option in each}
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping) and key not in options}
    for key, value in table.items():
        if key in names and key not in tables:
            raise UsageError(f"{path}: {key} is a command; write a table: [{key}]")
        if key not in tables:
            _put(key, value, [command for command in names if key in names[command]], str(path), names, settings)
    for command, values in tables.items():
        if command not in names:
            raise UsageError(f"{path}: [{command}] is no command; choose from {', '.join(names)}")
        for key, value in values.items():
            _put(key, value, [command] if key in names[command] else [], str(path), names, settings)


def _put(key: str, value: Any, owners: list[str], where: str, names: Names, settings: Settings) -> None:
    if not owners:
        known = sorted({option for options in names.values() for option in options})
        raise UsageError(f"{where}: {key} is no option; choose from {', '.join(known)}")
    for command in owners:
        option = names[command][key]
        given = _typed(value, option.kind, key in {"only", "keep"})
        if given is None:
            wanted = WANTED[option.kind]
            raise UsageError(f"{where}: {key} = {value!r:.{MOST_SHOWN}} is of the wrong type; {wanted} is needed")
        settings.put(command, option, given, f"{where}: {key} = {given}", where)


def _typed(value: Any, kind: type, listed: bool) -> Any:
    """A value of a table as its option takes it; None where it is of another type. listed: may be a list of names."""
    texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind is list:
        return value if texts else [value] if isinstance(value, str) else None
    if listed and texts:
        return ",".join(value)
    right: tuple[type, ...] = (int, float) if kind is float else (kind,)
    return value if isinstance(value, right) and isinstance(value, bool) == (kind is bool) else None


def _from_environment(environment: Mapping[str, str], names: Names, settings: Settings) -> None:
    """RAR_MAX_ROUNDS for every command that has it, RAR_RESTORE_MAX_ROUNDS for one."""
    for command, options in names.items():
        for key, option in options.items():
            plain = key.replace("-", "_").upper()
            for name in (PREFIX + plain, f"{PREFIX}{command.replace('-', '_').upper()}_{plain}"):
                if name in environment and name not in NOT_AN_OPTION:
                    text = environment[name]
                    given = [text] if option.kind is list else text
                    settings.put(command, option, given, f"{name} = {text}", name)


def settings_here(group: TyperGroup) -> Settings:
    """Those of the working folder and the environment. Raises UsageError where that folder has gone."""
    try:
        folder = Path.cwd()
    except OSError as error:
        raise UsageError(f"the working folder cannot be used ({error.strerror}); change to another one") from error
    return settings_for(group, folder, os.environ)
