"""`rar restore`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rar_cli.cli.guard import guarded, names_of, signals
from rar_cli.cli.options import (
    FILES,
    RUN,
    DeviceOption,
    Dtype,
    DtypeOption,
    ExcludeOption,
    Format,
    Inputs,
    JsonOption,
    KeepOption,
    OnlyOption,
    QuietOption,
    RecursiveOption,
    SelfEnsembleOption,
    TileOption,
    VerboseOption,
    WeightsOption,
    show_settings,
    without_settings_in_the_way,
)
from rar_cli.cli.printing import (
    console_for,
    print_engine,
    print_preview,
    print_summary,
    reporter_for,
    say_leftovers,
    say_losses,
    warn,
)
from rar_cli.types import TILE_PX, EngineKind, SolverKind

WATCH_S = 1.0
"""Seconds between two looks at a watched folder."""


def restore_command(
    context: typer.Context,
    inputs: Inputs,
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A folder. For one picture: a file, or - for stdout.")
    ],
    max_rounds: Annotated[int, typer.Option(help="Largest number of rounds per picture.", min=0, max=64)] = 4,
    accept: Annotated[
        float | None,
        typer.Option(help="A picture with this score is good enough. Default: no bound.", min=0, max=100),
    ] = None,
    only: OnlyOption = None,
    keep: KeepOption = None,
    strength: Annotated[
        float,
        typer.Option(help="How far to go. 100 is all of the way, 0 changes nothing.", min=0, max=100, metavar="0-100"),
    ] = 100.0,
    steps: Annotated[int, typer.Option(help="Solver steps per round.", min=1, max=100)] = 1,
    solver: Annotated[
        SolverKind, typer.Option(help="Solver of each step. heun is of second order.")
    ] = SolverKind.EULER,
    self_ensemble: SelfEnsembleOption = False,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = Dtype.AUTO,
    tile: TileOption = TILE_PX,
    batch_size: Annotated[
        int, typer.Option(help="Largest number of small pictures at once.", rich_help_panel=RUN, min=1)
    ] = 16,
    engine: Annotated[
        EngineKind, typer.Option(help="local, or ray for the workers of a Ray cluster.", rich_help_panel=RUN)
    ] = EngineKind.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of Ray workers. Default: one per GPU or per two cores.", rich_help_panel=RUN, min=1),
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Write a trace that shows where time goes.", rich_help_panel=RUN, metavar="FILE")
    ] = None,
    recursive: RecursiveOption = False,
    exclude: ExcludeOption = None,
    format: Annotated[
        Format, typer.Option(help="Format of the outputs; same is that of the input.", rich_help_panel=FILES)
    ] = Format.SAME,
    quality: Annotated[
        int | None,
        typer.Option(
            help="Quality of JPEG, WebP and AVIF. Default: 95, or finer for a finer JPEG.",
            rich_help_panel=FILES, min=1, max=100,
        ),
    ] = None,
    suffix: Annotated[
        str, typer.Option(help="Add this to each name, before its ending.", rich_help_panel=FILES, metavar="S")
    ] = "",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Redo finished pictures and replace existing files.", rich_help_panel=FILES),
    ] = False,
    shard: Annotated[
        str, typer.Option(help="Do only part I of N, for job arrays.", rich_help_panel=FILES, metavar="I/N")
    ] = "1/1",
    log: Annotated[
        Path | None, typer.Option(help="File of the round log. Default: OUTPUT/rounds.jsonl.", rich_help_panel=FILES)
    ] = None,
    save_rounds: Annotated[
        bool, typer.Option("--save-rounds", help="Also write the picture after each round.", rich_help_panel=FILES)
    ] = False,
    no_provenance: Annotated[
        bool,
        typer.Option("--no-provenance", help="Do not name rar in the metadata of the outputs.", rich_help_panel=FILES),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page that shows every picture.", metavar="FILE.html")
    ] = None,
    log_progress: Annotated[
        bool, typer.Option("--log-progress", help="Print a line of progress on stderr every minute.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for new files until interrupted. The model stays loaded.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done. Write nothing.")] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Restore photographs in rounds, for as long as a round helps."""
    with guarded():
        from rar_cli.jobs.naming.plan import Naming, Shard, plan
        from rar_cli.jobs.naming.target import Target
        from rar_cli.jobs.naming.walk import Selection
        from rar_cli.jobs.request import Request

        show_settings(context, verbose)
        only, keep = without_settings_in_the_way(context, only, keep)
        chosen, kept = names_of(only, "--only"), names_of(keep, "--keep")
        part = Shard.parse(shard)
        naming = Naming(format, suffix)
        selection = Selection(recursive, tuple(exclude or ()))
        target = Target.of(inputs, output, log)
        jobs = [] if watch else plan(inputs, output, naming, selection, target.ours)
        say_leftovers(selection.leftovers, quiet)
        request = Request(
            weights=weights, device=device, dtype=dtype, tile_px=tile, steps=steps, solver=solver.value,
            self_ensemble=self_ensemble,
            max_rounds=max_rounds, accept=accept, only=chosen, keep=kept, strength=strength, quality=quality,
            provenance=not no_provenance, save_rounds=save_rounds, batch_size=batch_size, overwrite=overwrite, log=log,
            report=report, shard=part, engine=engine, workers=workers, profile=profile,
        )  # fmt: skip
        if dry_run:
            print_preview(jobs, request, target, as_json)
            return
        if verbose:
            print_engine(request)
        from rar_cli.jobs.restore import Session
        from rar_cli.jobs.stream.watch import Watch

        again = partial(plan, inputs, output, naming, selection, target.ours)
        watcher = Watch(again, WATCH_S, warn) if watch else None
        with signals() as stop:
            plain = log_progress or (watch and not quiet and not sys.stderr.isatty())  # who waits wants to know it
            reporter = reporter_for(as_json, quiet, plain, jobs, to_stderr=output == "-")
            summary = Session(request, target, stop, reporter, watcher).run(jobs)
        if not quiet and not as_json:
            order = {job.output: place for place, job in enumerate(jobs)}
            summary.records.sort(key=lambda record: order.get(record.output, len(order)))
            print_summary(summary, console_for(stderr=output == "-"), request.choice, output, report)
        say_losses(reporter.losses, quiet)
        if summary.failed and quiet and summary.interrupted is None:
            warn(f"{summary.failed} of {summary.pictures} pictures failed")
        if code := summary.exit_code:
            raise typer.Exit(code)
