"""The command line: parse, call one function, print, choose the exit code. No torch until needed."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rar_cli.errors import RarError, UsageError
from rar_cli.options import (
    FILES,
    RUN,
    DeviceOption,
    DtypeOption,
    ExcludeOption,
    Inputs,
    JsonOption,
    QuietOption,
    RecursiveOption,
    TileOption,
    WeightsOption,
)
from rar_cli.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from rar_cli.batch import Stop
    from rar_cli.types import Degradation

app = typer.Typer(
    name="rar",
    help="Restore, assess, repeat: bring degraded photographs back, whole folders at a time.",
    epilog="Exit codes: 0 all done; 1 some pictures failed; 2 could not run; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WATCH_S = 1.0
"""Seconds between two looks at a watched folder."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"rar {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Restore, assess, repeat."""


@app.command(name="restore")
def restore_command(
    inputs: Inputs,
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A folder, or a file or - for one picture.")],
    max_rounds: Annotated[int, typer.Option(help="Most rounds per picture.", min=0, max=64)] = 4,
    accept: Annotated[
        float | None,
        typer.Option(help="Score from which a picture is good enough; default: as fitted.", min=0, max=100),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Remove just these, comma-separated.", metavar="NAMES")
    ] = None,
    keep: Annotated[str | None, typer.Option(help="Leave these alone.", metavar="NAMES")] = None,
    steps: Annotated[int, typer.Option(help="Solver steps per round.", min=1, max=100)] = 1,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    tile: TileOption = 768,
    batch_size: Annotated[
        int, typer.Option(help="Most small pictures at once.", rich_help_panel=RUN, min=1)
    ] = 16,
    recursive: RecursiveOption = False,
    exclude: ExcludeOption = None,
    format: Annotated[
        str, typer.Option(help="same, png, jpg, webp or tiff.", rich_help_panel=FILES, metavar="FORMAT")
    ] = "same",
    quality: Annotated[
        int | None,
        typer.Option(
            help="Of JPEG, WebP and AVIF; default: 95, finer where the input was.",
            rich_help_panel=FILES, min=1, max=100,
        ),
    ] = None,
    suffix: Annotated[
        str, typer.Option(help="Added to the name, before its ending.", rich_help_panel=FILES, metavar="S")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Redo what is done.", rich_help_panel=FILES)
    ] = False,
    shard: Annotated[
        str, typer.Option(help="Do part I of N, for job arrays.", rich_help_panel=FILES, metavar="I/N")
    ] = "1/1",
    log: Annotated[
        Path | None, typer.Option(help="Round log; default OUTPUT/rounds.jsonl.", rich_help_panel=FILES)
    ] = None,
    save_rounds: Annotated[
        bool, typer.Option("--save-rounds", help="Write every round's picture too.", rich_help_panel=FILES)
    ] = False,
    no_provenance: Annotated[
        bool, typer.Option("--no-provenance", help="Do not name rar in the output.", rich_help_panel=FILES)
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write one page to look at everything.", metavar="FILE.html")
    ] = None,
    log_progress: Annotated[
        bool, typer.Option("--log-progress", help="A plain progress line every minute on stderr.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on waiting for new files, model loaded, until interrupted.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:  # fmt: skip
    """Restore photographs: assess, restore, assess again, until good enough."""
    with _errors():
        from rar_cli.plan import Naming, Selection, Shard, plan

        chosen, kept = _names(only, "--only"), _names(keep, "--keep")
        part = Shard.parse(shard)
        naming = Naming(format, suffix)
        selection = Selection(recursive, tuple(exclude or ()), part)
        jobs = [] if watch else plan(inputs, output, naming, selection)
        if dry_run:
            for job in jobs:
                _print_job(job.name, job.output, as_json)
            return
        from rar_cli.session import Request, restore_jobs
        from rar_cli.watch import Watch

        request = Request(
            weights=weights, device=device, dtype=dtype, tile_px=tile, steps=steps, max_rounds=max_rounds,
            accept=accept, only=chosen, keep=kept, quality=quality, provenance=not no_provenance,
            save_rounds=save_rounds, batch_size=batch_size, overwrite=overwrite, log=log, report=report, shard=part,
        )  # fmt: skip
        console = _console(stderr=output == "-" or as_json)
        with _signals() as stop:
            watcher = Watch(lambda: plan(inputs, output, naming, selection), WATCH_S, _warn) if watch else None
            reporter = _reporter(as_json, quiet, log_progress, len(jobs), to_stderr=output == "-")
            summary = restore_jobs(jobs, output, request, stop, reporter, watcher)
        if not quiet and not as_json:
            _print_summary(summary, console)
        if summary.interrupted is not None:
            raise typer.Exit(128 + summary.interrupted)
        if summary.failed:
            if quiet:
                typer.echo(f"rar: {summary.failed} of {len(jobs)} pictures failed", err=True)
            raise typer.Exit(1)


@app.command(name="assess")
def assess_command(
    inputs: Inputs,
    as_json: JsonOption = False,
    fail_under: Annotated[
        float | None, typer.Option(help="Exit with 1 if any score is lower.", min=0, max=100, metavar="SCORE")
    ] = None,
    accept: Annotated[
        float | None, typer.Option(help="Score that counts as good enough; default: as fitted.", min=0, max=100)
    ] = None,
    recursive: RecursiveOption = False,
    exclude: ExcludeOption = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(help="Of one picture: write where something is wrong, red where it is worst.", metavar="FILE"),
    ] = None,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    tile: TileOption = 768,
    quiet: QuietOption = False,
) -> None:
    """Say what is wrong with photographs, and how good they are (0-100, higher is better)."""
    with _errors():
        from rar_cli.plan import Selection, find
        from rar_cli.session import Request, assess_files, write_heatmap

        selection = Selection(recursive, tuple(exclude or ()))
        files = [
            None if inputs == ["-"] else path
            for path, _ in ([(None, None)] if inputs == ["-"] else find(inputs, selection))
        ]
        request = Request(weights=weights, device=device, dtype=dtype, tile_px=tile, accept=accept)
        failed = low = False
        with _signals() as stop:
            for record in assess_files(files, request, stop):
                failed |= record["error"] is not None
                low |= fail_under is not None and record["score"] is not None and record["score"] < fail_under
                _print_assessment(record, as_json, quiet)
        if stop.signal is not None:
            raise typer.Exit(128 + stop.signal)
        if heatmap is not None and not failed:
            write_heatmap(files[0] if len(files) == 1 else None, heatmap, request)
        if failed or low:
            raise typer.Exit(1)


@app.command(name="bench")
def bench_command(
    suite: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE|FOLDER]",
            help="mid, singles, stacked, cdd11, noise or clean with --data; or a folder: of degraded/ and "
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
    peers: Annotated[bool, typer.Option("--peers", help="Run OpenCV and scikit-image peers too.")] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Any command as a peer; may repeat.", metavar="'NAME=CMD {in} {out}'"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most pictures per suite.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the synthesis.", min=0)] = 0,
    max_rounds: Annotated[int, typer.Option(help="Most rounds per picture.", min=1, max=64)] = 4,
    weights: WeightsOption = "rar-s",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    tile: TileOption = 768,
    quiet: QuietOption = False,
) -> None:
    """Measure restoration on pairs, with figures that a second run repeats; last line: JSON."""
    with _errors():
        from rar_cli.session import BenchRequest, Request, run_bench

        request = BenchRequest(
            suite, data, degraded, reference, peers, tuple(peer or ()), limit, seed, max_rounds, report
        )
        model = Request(weights=weights, device=device, dtype=dtype, tile_px=tile)
        result = run_bench(request, model)
        _print_bench(result, out, quiet)
        if not result["complete"]:
            raise typer.Exit(1)


@app.command()
def train(
    data: Annotated[list[Path], typer.Option(help="Folder of clean photographs; may repeat.")],
    config: Annotated[
        Path | None, typer.Option(help="The training config (TOML); default: the shipped model's.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where checkpoint, ledger and weights go.")] = Path("training"),
    valid: Annotated[list[Path] | None, typer.Option(help="Folder of photographs to validate on; may repeat.")] = None,
    warm_start: Annotated[str | None, typer.Option(help="Begin from these weights.", metavar="NAME|PATH")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT's checkpoint.")] = False,
    hours: Annotated[
        float | None, typer.Option(help="Stop after H hours, at a checkpoint.", metavar="H", min=0)
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train or fine-tune on your own photographs, resumable at any step."""
    with _errors():
        from rar_cli.train.config import load_config
        from rar_cli.train.run import TrainRequest
        from rar_cli.train.run import train as run_training
        from rar_cli.weights import find

        settings = load_config(config or Path(__file__).parent / "train" / "rar-s.toml")
        begin = find(warm_start).folder if warm_start else None
        request = TrainRequest(data, out, tuple(valid or ()), begin, resume, hours)
        say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
        typer.echo(run_training(settings, request, say))


# --- around every command -----------------------------------------------------------------------


@contextmanager
def _errors() -> Iterator[None]:
    """Errors made on purpose become one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which are reported properly
    try:
        yield
    except RarError as error:
        text = str(error).encode("utf-8", "backslashreplace").decode()
        typer.echo(f"rar: {text}", err=True)
        raise typer.Exit(2) from error
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our pipe has left: no message on the way out
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def _signals() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks the run to finish what is in hand; a second one ends it."""
    from rar_cli.batch import Stop

    stop = Stop()

    def ask(number: int, _: object) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _names(text: str | None, option: str) -> tuple[Degradation, ...]:
    """ "rain,haze" -> degradations; an unknown name's error lists the valid ones."""
    from rar_cli.types import Degradation

    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Degradation)]
    if unknown:
        raise UsageError(f"{option} {', '.join(unknown)}: unknown; choose from {', '.join(Degradation)}")
    if text is not None and not names:
        raise UsageError(f"{option}: names no degradation; choose from {', '.join(Degradation)}")
    return tuple(Degradation(name) for name in names)


# --- printing -----------------------------------------------------------------------------------


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=110)


def _warn(text: str) -> None:
    typer.echo(f"rar: {text}", err=True)


def _print_job(name: str, output: str, as_json: bool) -> None:
    from rar_cli.log import to_json

    typer.echo(to_json({"input": name, "output": output}) if as_json else f"{name} -> {output}")


def _reporter(as_json: bool, quiet: bool, log_progress: bool, total: int, to_stderr: bool) -> Any:
    from rar_cli.progress import Progress

    return Progress(total, as_json, quiet, log_progress, to_stderr)


def _print_summary(summary: Any, console: Console) -> None:
    from rar_cli.report import summary_line, table

    table(summary.records, console)
    counts = {name: getattr(summary, name) for name in ("restored", "accepted", "skipped", "failed")}
    console.print(summary_line(counts, summary.rounds, summary.pixels / 1e6, summary.seconds), highlight=False)


def _print_bench(result: dict[str, Any], out: Path | None, quiet: bool) -> None:
    from rar_cli.encoding import write_bytes
    from rar_cli.log import to_json
    from rar_cli.report import bench_digest, bench_table

    if out is not None:
        write_bytes((to_json(result) + "\n").encode(), out)
    if not quiet:
        bench_table(result, _console())
    for summary in result["suites"]:
        for gap in summary["gaps"]:
            typer.echo(f"rar: {summary['suite']}: {gap}", err=True)
    typer.echo(to_json(bench_digest(result)))


def _print_assessment(record: dict[str, Any], as_json: bool, quiet: bool) -> None:
    from rar_cli.log import to_json
    from rar_cli.report import printable

    if record["error"] is not None:
        typer.echo(f"rar: {printable(record['error'])}", err=True)
    if as_json:
        typer.echo(to_json(record))
    elif record["error"] is None and not quiet:
        name = printable(record["input"])
        typer.echo(f"{name}: {record['score']:.1f} ({record['verdict']}): {record['description']}")
