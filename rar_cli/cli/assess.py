"""`rar assess`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rar_cli.cli.guard import guarded, signals
from rar_cli.cli.options import (
    DeviceOption,
    Dtype,
    DtypeOption,
    ExcludeOption,
    Inputs,
    JsonOption,
    QuietOption,
    RecursiveOption,
    TileOption,
    VerboseOption,
    WeightsOption,
    show_settings,
)
from rar_cli.cli.printing import print_assessment, print_engine, say_leftovers
from rar_cli.types import TILE_PX


def assess_command(
    context: typer.Context,
    inputs: Inputs,
    as_json: JsonOption = False,
    fail_under: Annotated[
        float | None, typer.Option(help="Exit with 1 if a score is lower.", min=0, max=100, metavar="SCORE")
    ] = None,
    accept: Annotated[
        float | None, typer.Option(help="A picture with this score is good enough. Default: no bound.", min=0, max=100)
    ] = None,
    recursive: RecursiveOption = False,
    exclude: ExcludeOption = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(help="For one picture: draw where something is wrong. Red is worst.", metavar="FILE"),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say in words what is wrong, and where it is worst.")
    ] = False,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = Dtype.AUTO,
    tile: TileOption = TILE_PX,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what is wrong with photographs. Score them from 0 to 100; higher is better."""
    with guarded():
        from rar_cli.jobs.naming.names import check_heatmap
        from rar_cli.jobs.naming.walk import Selection, find

        show_settings(context, verbose)
        selection = Selection(recursive, tuple(exclude or ()))
        files = [None] if inputs == ["-"] else list(find(inputs, selection))
        say_leftovers(selection.leftovers, quiet)
        drawn = (
            None if heatmap is None else check_heatmap(heatmap, [found.source if found else None for found in files])
        )
        from rar_cli.jobs.assess import assess_files, write_heatmap
        from rar_cli.jobs.request import Request

        request = Request(weights=weights, device=device, dtype=dtype, tile_px=tile, accept=accept)
        if verbose:
            print_engine(request)
        failed = low = False
        with signals() as stop:
            for record in assess_files(files, request, stop, explain):
                failed |= record.error is not None
                low |= fail_under is not None and record.score is not None and record.score < fail_under
                print_assessment(record, as_json, quiet, request.choice)
        if stop.signal is not None:
            raise typer.Exit(128 + stop.signal)
        if heatmap is not None and drawn is not None and not failed:
            write_heatmap(drawn, heatmap, request)
        if failed or low:
            raise typer.Exit(1)
