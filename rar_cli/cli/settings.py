"""Settings that apply where the command line says nothing: RAR_* variables, rar.toml, [tool.rar] of pyproject.toml.

A key is an option's long name (`max-rounds = 2`). It applies to every command that has the option. In a table
(`[restore]`) it applies to one command. The nearest file counts, from the working folder upwards.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

from rar_cli.errors import UsageError

PREFIX = "RAR_"
MOST_BYTES = 1 << 24
"""Of a file of settings."""

NOT_AN_OPTION = {"RAR_WEIGHTS"}
"""Where downloaded weights lie; a command's weights are RAR_RESTORE_WEIGHTS, RAR_ASSESS_WEIGHTS ..."""

Names = dict[str, dict[str, str]]
"""command -> long option without dashes -> the parameter's name."""


@dataclass
class Settings:
    """values: command -> parameter -> value, as click's default_map takes them. said: "where: key = value"."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, command: str) -> dict[str, str]:
        """What applies to a command: parameter -> the setting and where it comes from."""
        return {parameter: text for (owner, parameter), text in self.said.items() if owner == command}

    def put(self, command: str, parameter: str, value: Any, said: str) -> None:
        """What comes later wins."""
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
            option.removeprefix("--"): str(parameter.name)
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
            table = _read(here / "pyproject.toml").get("tool", {}).get("rar")
            if table is not None:
                return here / "pyproject.toml", table
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
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for key, value in table.items():
        if key not in tables:
            owners = [command for command in names if key in names[command]]
            _put(key, value, owners, str(path), names, settings)
    for command, options in tables.items():
        if command not in names:
            raise UsageError(f"{path}: [{command}] is no command; choose from {', '.join(names)}")
        for key, value in options.items():
            _put(key, value, [command] if key in names[command] else [], str(path), names, settings)


def _put(key: str, value: Any, owners: list[str], where: str, names: Names, settings: Settings) -> None:
    if not owners:
        known = sorted({option for options in names.values() for option in options})
        raise UsageError(f"{where}: {key} is no option; choose from {', '.join(known)}")
    for command in owners:
        given = ",".join(map(str, value)) if isinstance(value, list) and key in {"only", "keep"} else value
        settings.put(command, names[command][key], given, f"{where}: {key} = {given}")


def _from_environment(environment: Mapping[str, str], names: Names, settings: Settings) -> None:
    """RAR_MAX_ROUNDS for every command that has it, RAR_RESTORE_MAX_ROUNDS for one."""
    for command, options in names.items():
        for option, parameter in options.items():
            plain = option.replace("-", "_").upper()
            for name in (PREFIX + plain, f"{PREFIX}{command.replace('-', '_').upper()}_{plain}"):
                if name in environment and name not in NOT_AN_OPTION:
                    settings.put(command, parameter, environment[name], f"{name} = {environment[name]}")


def settings_here(group: TyperGroup) -> Settings:
    """Those of the working folder and the environment. Raises UsageError where that folder has gone."""
    try:
        folder = Path.cwd()
    except OSError as error:
        raise UsageError(f"the working folder cannot be used ({error.strerror}); change to another one") from error
    return settings_for(group, folder, os.environ)
