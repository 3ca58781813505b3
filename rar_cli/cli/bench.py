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
from rar_cli.errors import UsageError
from rar_cli.types import TILE_PX


def bench_command(
    suite: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE|FOLDER]",
            help="A suite, made from --data: mid, singles, stacked, cdd11, noise, clean or grey. Or a folder: with "
            "degraded/ and reference/, or of clean pictures for the suite mid. Default: the shipped samples.",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of clean pictures to make the suite from.")] = None,
    degraded: Annotated[Path | None, typer.Option(help="Folder of degraded pictures, paired with --reference.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Folder of their clean references, of the same names.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the whole result as JSON.", metavar="FILE.json")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page that shows every picture.", metavar="FILE.html")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Plot rounds, time and bars as PNG and SVG.", metavar="DIR")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Also run methods of OpenCV and scikit-image.")] = False,
    policies: Annotated[
        bool,
        typer.Option(
            "--policies",
            help="Also run two simple policies. One removes everything, one accepts or removes everything.",
        ),
    ] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Also run this command on every picture. May be repeated.", metavar="'NAME=CMD {in} {out}'"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Largest number of pictures per suite, evenly chosen.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthesis.", min=0)] = 0,
    max_rounds: Annotated[int, typer.Option(help="Largest number of rounds per picture.", min=1, max=64)] = 4,
    self_ensemble: SelfEnsembleOption = False,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = Dtype.AUTO,
    tile: TileOption = TILE_PX,
    quiet: QuietOption = False,
) -> None:
    """Measure restoration on pairs of pictures. The last line of the output is JSON."""
    with guarded():
        from rar_cli.bench import require as require_extra

        require_extra()
        from rar_cli.bench.plots import KINDS, plot, require
        from rar_cli.jobs.bench import BenchRequest, run_bench
        from rar_cli.jobs.naming.names import BENCH, REPORT, Claim, check, check_plots
        from rar_cli.jobs.request import Request

        if suite == "":
            raise UsageError("SUITE is empty; name a suite or a folder, or leave it out for the samples")
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
