"""The options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

RUN = "Running"
FILES = "Files"

Inputs = Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs, or - for stdin.")]
WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        help="Name or folder of weights, or owner/name of the hub.",
        rich_help_panel=RUN,
        metavar="NAME|PATH",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:0, mps; several, comma-separated, share the work.",
        rich_help_panel=RUN,
        metavar="DEVICE",
    ),
]
DtypeOption = Annotated[
    str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.", rich_help_panel=RUN, metavar="TYPE")
]
TileOption = Annotated[
    int, typer.Option("--tile", help="Side of the tiles of large pictures.", rich_help_panel=RUN, metavar="PX", min=1)
]
SelfEnsembleOption = Annotated[
    bool, typer.Option("--self-ensemble", help="Two views of the picture in every round: better, half as fast.")
]
RecursiveOption = Annotated[
    bool, typer.Option("--recursive", "-r", help="Enter folders below INPUT.", rich_help_panel=FILES)
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", help="Leave out names that match; may repeat.", rich_help_panel=FILES, metavar="PATTERN"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Only JSON on stdout, one line per picture.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
