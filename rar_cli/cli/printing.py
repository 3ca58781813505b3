"""What commands print: results on stdout, the rest on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rar_cli.jobs.plan import Job
    from rar_cli.jobs.request import Request
    from rar_cli.jobs.target import Target
    from rar_cli.report.record import AssessmentRecord
    from rar_cli.train.sizes import Sizes
    from rar_cli.weights.download import Holding
    from rar_cli.weights.find import Weights


def console_for(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=110)


def warn(text: str) -> None:
    typer.echo(f"rar: {text}", err=True)


def print_preview(jobs: Sequence[Job], request: Request, target: Target, as_json: bool) -> None:
    from rar_cli.jobs.preview import preview
    from rar_cli.report.record import to_json

    notes = {"open": "", "done": " (done)", "foreign": " (exists, was not made by rar)"}
    for job, standing in preview(jobs, request, target):
        if as_json:
            status = "failed" if job.fault else standing.value
            typer.echo(to_json({"input": job.name, "output": job.output, "status": status, "error": job.fault}))
        elif job.fault:
            warn(job.fault)
        else:
            typer.echo(f"{job.name} -> {job.output}{notes[standing.value]}")


def reporter_for(as_json: bool, quiet: bool, log_progress: bool, total: int, to_stderr: bool) -> Any:
    from rar_cli.jobs.progress import Progress

    return Progress(total, as_json, quiet, log_progress, to_stderr)


def print_summary(summary: Any, console: Console) -> None:
    from rar_cli.report.words import summary_line, table

    table([record.as_dict() for record in summary.records], console)
    counts = {name: getattr(summary, name) for name in ("restored", "accepted", "skipped", "failed")}
    console.print(summary_line(counts, summary.rounds, summary.pixels / 1e6, summary.seconds), highlight=False)


def print_bench(result: dict[str, Any], out: Path | None, quiet: bool) -> None:
    from rar_cli.pictures.files import write_bytes
    from rar_cli.report.record import to_json
    from rar_cli.report.words import bench_digest, bench_table

    if out is not None:
        write_bytes((to_json(result) + "\n").encode(), out)
    if not quiet:
        bench_table(result, console_for())
    for summary in result["suites"]:
        for gap in summary["gaps"]:
            typer.echo(f"rar: {summary['suite']}: {gap}", err=True)
    typer.echo(to_json(bench_digest(result)))


def print_assessment(record: AssessmentRecord, as_json: bool, quiet: bool) -> None:
    from rar_cli.report.record import to_json
    from rar_cli.report.words import printable

    if record.error is not None:
        typer.echo(f"rar: {printable(record.error)}", err=True)
    if as_json:
        typer.echo(to_json(record.as_dict()))
    elif record.error is None and not quiet:
        typer.echo(f"{printable(record.input)}: {record.score:.1f} ({record.verdict}): {record.description}")
        if record.explanation is not None:
            typer.echo(f"  {record.explanation}")


def print_holdings(holdings: Sequence[Holding], as_json: bool) -> None:
    from rar_cli.report.record import to_json
    from rar_cli.report.words import holdings_table

    rows = [
        {
            "name": h.entry.name, "here": None if h.folder is None else str(h.folder), "megabytes": h.entry.megabytes,
            "licence": h.entry.licence, "origin": h.entry.origin, "about": h.entry.about,
        }
        for h in holdings
    ]  # fmt: skip
    if as_json:
        for row in rows:
            typer.echo(to_json(row))
    else:
        holdings_table(rows, console_for())


def print_weights(weights: Weights, as_json: bool) -> None:
    from rar_cli.report.record import to_json

    about = {"name": weights.name, "folder": str(weights.folder), "sha256": weights.sha256}
    typer.echo(to_json(about) if as_json else f"{weights.name}: whole, {weights.folder}")


def print_sizes(name: str, found: Sizes) -> None:
    from rar_cli.report.words import sizes_table

    rows = [(p.name, p.parameters, p.trained, p.gib, p.gflops) for p in found.parts]
    sizes_table(rows, console_for())
    typer.echo(f"{name}: to restore {found.inference_gib:.1f} GiB, {found.inference_gpu}")
    typer.echo(f"{name}: to train {found.training_gib:.1f} GiB and activations, {found.training_gpu}")
    typer.echo(f"{name}: a round that goes through pixels takes {found.disjoint_over_closed:.1f} times the FLOPs")
