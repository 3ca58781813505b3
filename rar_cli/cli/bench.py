"""`rar bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rar_cli.cli.guard import guarded
from rar_cli.cli.options import (
    DeviceOption,
    Dtype,
    DtypeOption,
    QuietOption,
    SelfEnsembleOption,
    TileOption,
    WeightsOption,
)
from rar_cli.cli.printing import print_bench
from rar_cli.types import TILE_PX


def bench_command(
    suite: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE|FOLDER]",
            help="mid, singles, stacked, cdd11, noise, clean or grey with --data; or a folder: of degraded/ and "
            "reference/, or of clean pictures (suite mid). Default: the shipped samples.",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Clean pictures that a SUITE is made from.")] = None,
    degraded: Annotated[Path | None, typer.Option(help="Degraded pictures, paired with --reference.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Their clean references, by name.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the whole result as JSON.", metavar="FILE.json")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write one page to look at every picture.", metavar="FILE.html")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Draw rounds, time and bars as PNG and SVG.", metavar="DIR")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Run OpenCV and scikit-image peers too.")] = False,
    policies: Annotated[
        bool, typer.Option("--policies", help="Run two simple policies too: everything at once, or not at all.")
    ] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Any command as a peer; may repeat.", metavar="'NAME=CMD {in} {out}'"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most pictures per suite, evenly chosen.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the synthesis.", min=0)] = 0,
    max_rounds: Annotated[int, typer.Option(help="Most rounds per picture.", min=1, max=64)] = 4,
    self_ensemble: SelfEnsembleOption = False,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = Dtype.AUTO,
    tile: TileOption = TILE_PX,
    quiet: QuietOption = False,
) -> None:
    """Measure restoration on pairs, with figures that a second run repeats; last line: JSON."""
    with guarded():
        from rar_cli.bench import require as require_extra

        require_extra()
        from rar_cli.bench.plots import KINDS, plot, require
        from rar_cli.jobs.bench import BenchRequest, run_bench
        from rar_cli.jobs.naming.names import BENCH, REPORT, Claim, check, check_plots
        from rar_cli.jobs.request import Request

        if plots is not None:
            require()
            check_plots(plots, [f"{name}.{kind}" for name in ("rounds", "bars", "time") for kind in KINDS])
        claims = ((out, "--out", BENCH), (report, "--report", REPORT))
        check([Claim(path, option, kind) for path, option, kind in claims if path is not None])
        request = BenchRequest(
            suite, data, degraded, reference, peers, tuple(peer or ()), limit, seed, max_rounds, report, policies
        )
        model = Request(weights=weights, device=device, dtype=dtype, tile_px=tile, self_ensemble=self_ensemble)
        result = run_bench(request, model)
        if plots is not None:
            plot(result, plots)
        print_bench(result, out, quiet)
        if not result["complete"]:
            raise typer.Exit(1)
