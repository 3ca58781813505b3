"""What commands print: results on stdout, the rest on stderr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rar_cli.report.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from rar_cli.jobs.naming.leftovers import Leftovers
    from rar_cli.jobs.naming.plan import Job
    from rar_cli.jobs.naming.target import Target
    from rar_cli.jobs.request import Request
    from rar_cli.report.record import AssessmentRecord
    from rar_cli.report.words import Choice
    from rar_cli.train.sizes import Sizes
    from rar_cli.weights.download import Holding
    from rar_cli.weights.manifest import Weights


LOSSES_SHOWN = 6
"""Most different losses in the line on stderr."""


def console_for(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=110)


def echo(text: str) -> None:
    """One line of a result, whatever stands in it."""
    typer.echo(printable(text))


def note(text: str) -> None:
    """One line on stderr, whatever stands in it; where nobody can read it, the work goes on."""
    with suppress(OSError):
        typer.echo(printable(text), err=True)


def warn(text: str) -> None:
    """A line on stderr that says who speaks."""
    note(f"rar: {text}")


def print_engine(request: Any) -> None:
    """With --verbose: which weights compute where, and how precisely."""
    from rar_cli.compute.convolutions import described
    from rar_cli.compute.device import pick_device, pick_dtype

    for name in request.device.split(","):
        device = pick_device(name)
        dtype = pick_dtype(request.dtype, device)
        precision = str(dtype).removeprefix("torch.")
        how = f", convolutions {described(dtype)}" if device.type == "cpu" else ""
        warn(f"weights {request.weights}, device {device}, precision {precision}{how}")


def say_leftovers(leftovers: Leftovers, quiet: bool) -> None:
    """What folders hold and rar leaves out, on stderr."""
    if str(leftovers) and not quiet:
        warn(str(leftovers))


def say_losses(losses: Counter[str], quiet: bool) -> None:
    """What of the pictures could not be kept, in one line on stderr."""
    listed = [f"{loss} ({count} {'picture' if count == 1 else 'pictures'})" for loss, count in losses.most_common()]
    more = [f"and {len(listed) - LOSSES_SHOWN} more, which the log names"] if len(listed) > LOSSES_SHOWN else []
    if listed and not quiet:
        warn(f"could not keep all: {'; '.join(listed[:LOSSES_SHOWN] + more)}")


def print_preview(jobs: Sequence[Job], request: Request, target: Target, as_json: bool) -> None:
    from rar_cli.jobs.preview import preview
    from rar_cli.report.record import to_json

    notes = {"open": "", "done": " (done)", "foreign": " (exists, unknown to the log)"}
    for job, standing in preview(jobs, request, target):
        if as_json:
            status = "failed" if job.fault else standing.value
            echo(to_json({"input": job.name, "output": job.output, "status": status, "error": job.fault}))
        elif job.fault:
            warn(job.fault)
        else:
            echo(f"{job.name} -> {job.output}{notes[standing.value]}")


def reporter_for(as_json: bool, quiet: bool, log_progress: bool, jobs: Sequence[Job], to_stderr: bool) -> Any:
    from rar_cli.jobs.pace import Pace
    from rar_cli.jobs.progress import Progress

    pace = Pace(len(jobs), [job.source for job in jobs if job.source is not None])
    return Progress(pace, as_json, quiet, log_progress, to_stderr)


def print_summary(summary: Any, console: Console, choice: Choice, output: str, report: Path | None) -> None:
    """The table, the counts, and where everything lies."""
    from rich.markup import escape

    from rar_cli.report.tables import table
    from rar_cli.report.words import summary_line, written_line

    table([record.as_dict() for record in summary.records], console, choice)
    counts = {name: getattr(summary, name) for name in ("restored", "accepted", "skipped", "failed")}
    line = summary_line(counts, summary.rounds, summary.pixels / 1e6, summary.seconds)
    console.print(line, highlight=False, style="red" if summary.failed else None)
    written = summary.restored + summary.accepted + summary.skipped
    if where := written_line(output if written else None, None if report is None else str(report)):
        console.print(escape(printable(where)), highlight=False, soft_wrap=True)


def print_bench(result: dict[str, Any], out: Path | None, quiet: bool) -> None:
    from rar_cli.pictures.files import write_bytes
    from rar_cli.report.record import to_json
    from rar_cli.report.tables import bench_digest, bench_table

    if out is not None:
        write_bytes((to_json(result) + "\n").encode(), out)
    if not quiet:
        bench_table(result, console_for())
    for summary in result["suites"]:
        for gap in summary["gaps"]:
            warn(f"{summary['suite']}: {gap}")
    echo(to_json(bench_digest(result)))


def print_assessment(record: AssessmentRecord, as_json: bool, quiet: bool, choice: Choice) -> None:
    from rar_cli.report.record import to_json
    from rar_cli.report.words import banded, follows

    if record.error is not None:
        warn(record.error)
    if as_json:
        echo(to_json(record.as_dict()))
    elif record.error is None and not quiet:
        said = follows(record.as_dict(), choice)
        echo(f"{record.input}: {banded(record.score or 0.0)}; {record.description}; {said}")
        if record.explanation is not None:
            echo(f"  {record.explanation}")


def print_holdings(holdings: Sequence[Holding], as_json: bool) -> None:
    from rar_cli.report.record import to_json
    from rar_cli.report.tables import holdings_table

    rows = [
        {
            "name": h.entry.name, "here": None if h.folder is None else str(h.folder), "megabytes": h.entry.megabytes,
            "licence": h.entry.licence, "origin": h.entry.origin, "about": h.entry.about,
        }
        for h in holdings
    ]  # fmt: skip
    if as_json:
        for row in rows:
            echo(to_json(row))
    else:
        holdings_table(rows, console_for())


def print_weights(weights: Weights, as_json: bool) -> None:
    from rar_cli.report.record import to_json

    about = {"name": weights.name, "folder": str(weights.folder), "sha256": weights.sha256}
    echo(to_json(about) if as_json else f"{weights.name}: whole, {weights.folder}")


def print_sizes(name: str, found: Sizes) -> None:
    from rar_cli.report.tables import sizes_table

    rows = [(p.name, p.parameters, p.trained, p.gib, p.gflops) for p in found.parts]
    sizes_table(rows, console_for())
    echo(f"{name}: to restore {found.inference_gib:.1f} GiB, {found.inference_gpu}")
    echo(f"{name}: to train {found.training_gib:.1f} GiB and activations, {found.training_gpu}")
    echo(f"{name}: a round that goes through pixels takes {found.disjoint_over_closed:.1f} times the FLOPs")
