"""The command line: parse, call one function, print, choose the exit code. No torch until needed."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rar_cli.cli import assess, bench, restore, train, weights
from rar_cli.report.text import printable
from rar_cli.version import __version__


class Commands(TyperGroup):
    """The commands; what is wrong with a command line is said in printable text, whatever was given."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        try:
            return super().make_context(*given, **options)
        except Exception as error:
            _make_printable(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            _make_printable(error)
            raise


def _make_printable(error: Any) -> None:
    """The message of an error of click's, which typer may hold as its own."""
    if isinstance(message := getattr(error, "message", None), str):
        error.message = printable(message)


app = typer.Typer(
    cls=Commands,
    name="rar",
    help="Restore, assess, repeat: bring degraded photographs back, whole folders at a time.",
    epilog="Exit codes: 0 all done; 1 some pictures failed; 2 could not run; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SPINS = "5000"
"""What a waiting thread of GNU OpenMP spins before it sleeps. Its own 300,000 hold a core that somebody else may need:
beside another job on two cores, the samples took four times as long. Alone, the difference is near the noise."""


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
    if "OMP_WAIT_POLICY" not in os.environ:  # read once, when torch is loaded
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


app.command(name="restore")(restore.restore_command)
app.command(name="assess")(assess.assess_command)
app.command(name="bench")(bench.bench_command)
app.command(name="train")(train.train_command)
app.command(name="download-weights")(weights.download_command)
