"""The options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from rar_cli.report.text import printable
from rar_cli.types import DEGRADATIONS

RUN = "Running"
FILES = "Files"

NAMES = ", ".join(DEGRADATIONS)
"""As help lists them."""


class Dtype(StrEnum):
    """Precision."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Format(StrEnum):
    """Of the outputs."""

    SAME = "same"
    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


class WithNames(TyperCommand):
    """A command that takes no empty text for a file or a folder: that is an unset variable, not the working folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As in Typer, with an error where an option of a file is empty."""
        options = {name for parameter in self.params if names_a_path(self, parameter) for name in parameter.opts}
        for before, word in zip(["", *args], args, strict=False):
            name = before if word == "" else word.removesuffix("=")
            if name in options and word in {"", f"{name}="} and not ctx.resilient_parsing:
                raise typer.BadParameter("is empty; name a file or a folder", ctx, None, name)
        return super().parse_args(ctx, args)


def names_a_path(command: Any, parameter: Any) -> bool:
    """Whether the values of an option are files or folders, as the command's function declares them."""
    hint = get_type_hints(command.callback).get(parameter.name)
    kinds = (hint, *get_args(hint))
    return any(Path in (kind, *get_args(kind)) for kind in kinds)


class WithOutput(WithNames):
    """A command of INPUT... OUTPUT, with a clear error if OUTPUT is missing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As in Typer, with a clearer message where OUTPUT is missing."""
        words = list(args)  # parsing empties the list
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            given = [word for word in words if not word.startswith("-")]
            if type(error).__name__ != "MissingParameter" or not given or ctx.resilient_parsing:
                raise
            typer.echo(f"rar: OUTPUT is missing: write `rar restore {given[0]} OUTPUT`, a file or a folder", err=True)
            raise typer.Exit(2) from error


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"  {line}" for line in lines)


def complete_names(incomplete: str) -> Iterator[str]:
    """Names of degradations, one after another with commas between them."""
    *before, begun = incomplete.split(",")
    for name in DEGRADATIONS:
        if name.startswith(begun) and name not in before:
            yield ",".join((*before, name))


def show_settings(context: typer.Context, verbose: bool) -> None:
    """With --verbose: each setting that applies, and where it comes from."""
    for line in (context.obj or []) if verbose else []:
        typer.echo(f"rar: setting {printable(line)}", err=True)


def value_source(context: Any, name: str) -> str:
    """Where the value of a parameter comes from: COMMANDLINE, DEFAULT_MAP for a setting, DEFAULT; "" if unknown."""
    return getattr(context.get_parameter_source(name), "name", "")


def without_settings_in_the_way(context: typer.Context, only: str | None, keep: str | None) -> tuple[str | None, ...]:
    """only, keep: one given on the command line overrides the other one from the settings."""
    of_settings = {name for name in ("only", "keep") if value_source(context, name) == "DEFAULT_MAP"}
    if only and keep and len(of_settings) == 1:
        return (None, keep) if "only" in of_settings else (only, None)
    return only, keep


OnlyOption = Annotated[
    str | None,
    typer.Option(
        "--only", help=f"Remove only these, comma-separated: {NAMES}.", metavar="NAMES", autocompletion=complete_names
    ),
]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep", help="Do not remove these, comma-separated. Names as for --only.", metavar="NAMES",
        autocompletion=complete_names,
    ),
]  # fmt: skip
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print the settings, weights, device and precision in use.")
]
Inputs = Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs, or - for stdin.")]
WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        help="Weights: a name, a folder, or owner/name on the hub.",
        rich_help_panel=RUN,
        metavar="NAME|PATH",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:0 or mps. Several, comma-separated, share the work.",
        rich_help_panel=RUN,
        metavar="DEVICE",
    ),
]
DtypeOption = Annotated[
    Dtype,
    typer.Option("--dtype", help="Precision. auto takes bfloat16 where the hardware has it.", rich_help_panel=RUN),
]
TileOption = Annotated[
    int,
    typer.Option(
        "--tile", help="Side of the tiles of large pictures, in pixels.", rich_help_panel=RUN, metavar="PX", min=1
    ),
]
SelfEnsembleOption = Annotated[
    bool, typer.Option("--self-ensemble", help="Average two views of the picture. Better, but half as fast.")
]
RecursiveOption = Annotated[
    bool, typer.Option("--recursive", "-r", help="Enter subfolders too.", rich_help_panel=FILES)
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", help="Skip names that match. May be repeated.", rich_help_panel=FILES, metavar="PATTERN"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON lines on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
