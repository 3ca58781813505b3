"""`rar train`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rar_cli.cli.guard import guarded, signals
from rar_cli.cli.options import QuietOption, value_source
from rar_cli.cli.printing import echo, note, print_sizes
from rar_cli.cli.steps import steps_shown
from rar_cli.errors import UsageError

if TYPE_CHECKING:
    from rar_cli.jobs.logs.book import Stop
    from rar_cli.train.data import OnEach


def train_command(
    context: typer.Context,
    data: Annotated[list[Path] | None, typer.Option(help="Folder of clean photographs. May be repeated.")] = None,
    config: Annotated[
        str, typer.Option(help="rar-s, rar-l, or a training config of your own (TOML).", metavar="NAME|FILE")
    ] = "rar-s",
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, ledger and weights.")] = Path("training"),
    valid: Annotated[
        list[Path] | None, typer.Option(help="Folder of photographs to validate on. May be repeated.")
    ] = None,
    warm_start: Annotated[str | None, typer.Option(help="Start from these weights.", metavar="NAME|PATH")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the checkpoint in --out.")] = False,
    hours: Annotated[
        float | None, typer.Option(help="Stop after H hours, at a checkpoint.", metavar="H", min=0)
    ] = None,
    gain: Annotated[
        bool,
        typer.Option("--gain", help="Refit the heads of gain of --warm-start. Tries plans and learns from them."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what --config needs: parameters, memory, FLOPs, GPU. Train nothing."),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Train or fine-tune on your own photographs. A run can stop and resume at any step."""
    with guarded():
        from rar_cli.jobs.naming.names import check_empty, check_own
        from rar_cli.train.config import load_config, shipped_config
        from rar_cli.train.run import TrainRequest
        from rar_cli.train.run import train as run_training
        from rar_cli.weights.find import find

        if gain:
            _refuse_without_use(context)
        settings = load_config(shipped_config(config))
        if dry_run:
            from rar_cli.train.sizes import sizes

            print_sizes(settings.name, sizes(settings))
            return
        if not data:
            raise UsageError("--data: give at least one folder of clean photographs")
        say: Callable[[str], None] = (lambda text: None) if quiet else note
        if gain:
            check_own(out, "--out", ("harvest",))
            _refit(data, valid or [], warm_start or "rar-s", out, hours, None if quiet else say)
            return
        first = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks for all
        if resume:
            check_own(out, "--out", ("checkpoint", "checkpoint.old", "training.jsonl"))
        elif first:
            check_empty(out, "--out", "go on with --resume, or choose another folder")
        begin = find(warm_start).folder if warm_start else None
        with _stoppable(quiet or not first, hours) as (interrupted, on_step):
            request = TrainRequest(data, out, tuple(valid or ()), begin, resume, hours, interrupted, on_step)
            echo(str(run_training(settings, request, say)))


IDLE_WITH_GAIN = {
    "config": "--config: --gain has no config; choose weights with --warm-start",
    "resume": "--resume: --gain goes on with what is in --out anyway; leave it out",
    "dry_run": "--dry-run: says what a config needs, and --gain has none; leave it out",
}
"""Parameters that do nothing beside `--gain`, and the error for each."""


def _refuse_without_use(context: typer.Context) -> None:
    """Raise UsageError for options without use on the command line. Settings serve every run, so they may have them."""
    for name, fault in IDLE_WITH_GAIN.items():
        if value_source(context, name) == "COMMANDLINE":
            raise UsageError(fault)


def _interrupted(stop: Stop) -> bool:
    return stop.signal is not None


@contextmanager
def _stoppable(quiet: bool, hours: float | None) -> Iterator[tuple[Callable[[], bool], OnEach | None]]:
    """Gives (whether a signal came, what to call as the work goes on). A signal has an exit code of its own."""
    with signals() as stop, steps_shown(quiet, hours) as on_each:
        try:
            yield partial(_interrupted, stop), on_each
        except KeyboardInterrupt:  # before there was anything to save, or by a second signal
            if stop.signal is None:
                raise
            note("rar: ended at once; nothing more is saved")
    if stop.signal is not None:
        raise typer.Exit(128 + stop.signal)


def _refit(
    data: list[Path], valid: list[Path], weights: str, out: Path, hours: float | None, say: Callable[[str], None] | None
) -> None:
    """`--gain`: a signal ends the harvest, and what there is of it is fitted. say: None is quiet."""
    from rar_cli.train.data import unseen
    from rar_cli.train.gain.refit import GainRequest, refit
    from rar_cli.weights.find import find

    with _stoppable(say is None, None) as (interrupted, on_each):
        long = 1.0 if hours is None else hours
        request = GainRequest(data, find(weights).folder, out, valid, long, interrupted, on_each or unseen)
        echo(str(refit(request, say or (lambda text: None))))
