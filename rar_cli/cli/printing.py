"""What commands print: results on stdout, the rest on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rar_cli.report.words import Choice
    from rar_cli.train.sizes import Sizes
    from rar_cli.weights.download import Holding
    from rar_cli.weights.find import Weights


def console_for(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=110)


def warn(text: str) -> None:
    typer.echo(f"rar: {text}", err=True)


def print_engine(request: Any) -> None:
    """With --verbose: which weights compute where, and how precisely."""
    from rar_cli.engine.engine import pick_device, pick_dtype

    for name in request.device.split(","):
        device = pick_device(name)
        precision = str(pick_dtype(request.dtype, device)).removeprefix("torch.")
        typer.echo(f"rar: weights {request.weights}, device {device}, precision {precision}", err=True)


def print_job(name: str, output: str, as_json: bool) -> None:
    from rar_cli.report.record import to_json

    typer.echo(to_json({"input": name, "output": output}) if as_json else f"{name} -> {output}")


def reporter_for(as_json: bool, quiet: bool, log_progress: bool, total: int, to_stderr: bool) -> Any:
    from rar_cli.jobs.progress import Progress

    return Progress(total, as_json, quiet, log_progress, to_stderr)


def print_summary(summary: Any, console: Console, choice: Choice, output: str, report: Path | None) -> None:
    """The table, the counts, and where everything lies."""
    from rar_cli.report.tables import table
    from rar_cli.report.words import printable, summary_line, written_line

    table(summary.records, console, choice)
    counts = {name: getattr(summary, name) for name in ("restored", "accepted", "skipped", "failed")}
    line = summary_line(counts, summary.rounds, summary.pixels / 1e6, summary.seconds)
    console.print(line, highlight=False, style="red" if summary.failed else None)
    written = summary.restored + summary.accepted + summary.skipped
    if where := written_line(output if written else None, None if report is None else str(report)):
        console.print(printable(where), highlight=False, soft_wrap=True)


def print_bench(result: dict[str, Any], out: Path | None, quiet: bool) -> None:
    from rar_cli.pictures.encoding import write_bytes
    from rar_cli.report.record import to_json
    from rar_cli.report.tables import bench_digest, bench_table

    if out is not None:
        write_bytes((to_json(result) + "\n").encode(), out)
    if not quiet:
        bench_table(result, console_for())
    for summary in result["suites"]:
        for gap in summary["gaps"]:
            typer.echo(f"rar: {summary['suite']}: {gap}", err=True)
    typer.echo(to_json(bench_digest(result)))


def print_assessment(record: dict[str, Any], as_json: bool, quiet: bool) -> None:
    from rar_cli.report.record import to_json
    from rar_cli.report.words import banded, printable

    if record["error"] is not None:
        typer.echo(f"rar: {printable(record['error'])}", err=True)
    if as_json:
        typer.echo(to_json(record))
    elif record["error"] is None and not quiet:
        name = printable(record["input"])
        follows = "good as it is" if record["verdict"] == "accept" else "worth restoring"
        typer.echo(f"{name}: {banded(record['score'])}; {record['description']}; {follows}")
        if "explanation" in record:
            typer.echo(f"  {record['explanation']}")


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
            typer.echo(to_json(row))
    else:
        holdings_table(rows, console_for())


def print_weights(weights: Weights, as_json: bool) -> None:
    from rar_cli.report.record import to_json

    about = {"name": weights.name, "folder": str(weights.folder), "sha256": weights.sha256}
    typer.echo(to_json(about) if as_json else f"{weights.name}: whole, {weights.folder}")


def print_sizes(name: str, found: Sizes) -> None:
    from rar_cli.report.tables import sizes_table

    rows = [(p.name, p.parameters, p.trained, p.gib, p.gflops) for p in found.parts]
    sizes_table(rows, console_for())
    typer.echo(f"{name}: to restore {found.inference_gib:.1f} GiB, {found.inference_gpu}")
    typer.echo(f"{name}: to train {found.training_gib:.1f} GiB and activations, {found.training_gpu}")
    typer.echo(f"{name}: a round that goes through pixels takes {found.disjoint_over_closed:.1f} times the FLOPs")
