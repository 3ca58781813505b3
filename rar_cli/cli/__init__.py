"""The command line: parse, call one function, print, choose the exit code. No torch until needed."""

from __future__ import annotations

import os
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from rar_cli.cli import assess, bench, restore, train, weights
from rar_cli.cli.guard import guarded, ready_streams
from rar_cli.cli.options import WithNames, WithOutput, examples
from rar_cli.cli.settings import VALUE_ERROR, settings_here
from rar_cli.report.text import printable
from rar_cli.version import __version__


class Commands(TyperGroup):
    """The commands. Errors of a command line are printable text, whatever was given."""

    def make_context(self, *given: Any, **options: Any) -> Any:
        ready_streams()
        try:
            return super().make_context(*given, **options)
        except Exception as error:
            _make_plain(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            _make_plain(error)
            raise


def _make_plain(error: Any) -> None:
    """Make the message of an error of click or typer printable."""
    if isinstance(message := getattr(error, "message", None), str):
        error.message = printable(message.removeprefix(VALUE_ERROR))


app = typer.Typer(
    cls=Commands,
    name="rar",
    help="Restore degraded photographs, whole folders at a time.",
    epilog=examples(
        "rar restore photo.jpg better.jpg",
        "rar restore scans restored --recursive --report look.html",
        "rar assess photo.jpg --explain",
    )
    + "\n\nExit codes: 0 all done; 1 some pictures failed; 2 could not run; 130 interrupted.",
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
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Restore, assess, repeat."""
    if "OMP_WAIT_POLICY" not in os.environ:  # read once, when torch is loaded
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    with guarded():
        settings = settings_here(cast(TyperGroup, context.command))
    context.default_map = settings.values
    context.obj = settings.of(context.invoked_subcommand or "")


app.command(
    name="restore",
    cls=WithOutput,
    epilog=examples(
        "rar restore photo.jpg better.jpg",
        "rar restore scans restored --recursive --report look.html",
        "rar restore in out --only rain,haze",
        "rar restore in out --keep noise --format png",
        "cat photo.jpg | rar restore - - > better.jpg",
    ),
)(restore.restore_command)
app.command(
    name="assess",
    cls=WithNames,
    epilog=examples(
        "rar assess photo.jpg --explain", "rar assess scans --recursive --json", "rar assess in --fail-under 60"
    ),
)(assess.assess_command)
app.command(
    name="bench",
    cls=WithNames,
    epilog=examples("rar bench", "rar bench stacked --data photographs", "rar bench --degraded bad --reference good"),
)(bench.bench_command)
app.command(
    name="train",
    cls=WithNames,
    epilog=examples(
        "rar train --data photographs --out mine --hours 2",
        "rar train --data photographs --out mine --resume",
        "rar train --config rar-l --dry-run",
    ),
)(train.train_command)
app.command(
    name="download-weights",
    cls=WithNames,
    epilog=examples("rar download-weights --list", "rar download-weights rar-l", "rar download-weights rar-s --verify"),
)(weights.download_command)
