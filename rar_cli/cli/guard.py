"""What surrounds every command: errors become one line, a signal lets the current picture finish.

No traceback reaches a user. An unforeseen error is one line too, and asks for a report. `RAR_DEBUG=1` shows its
traceback.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

import typer

from rar_cli.cli.printing import warn
from rar_cli.errors import RarError, UsageError

if TYPE_CHECKING:
    from rar_cli.jobs.logs.book import Stop
    from rar_cli.types import Degradation


STDERR = 2
"""Its file descriptor."""

DEBUG = "RAR_DEBUG"
"""Environment variable that lets tracebacks through."""


def ready_streams() -> None:
    """Make the standard streams take whatever is printed.

    Closed ones lead nowhere: the next file that is opened would get their numbers, and what libraries print with it.
    Letters that an encoding lacks, as those of Windows do, are escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def guarded() -> Iterator[None]:
    """Every error becomes one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which are reported properly
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our pipe has left: no message on the way out
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        if os.environ.get(DEBUG) == "1" and not isinstance(error, RarError):
            raise
        warn(_one_line(error))
        _let_go_of_full_streams()
        raise typer.Exit(2) from error


def _one_line(error: Exception) -> str:
    """What a user reads of an error; of one that nobody foresaw, also what a report needs."""
    if isinstance(error, RarError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; try a smaller --tile or --batch-size"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if "rar_cli" in frame.filename][-1]
    where = f"{os.path.basename(last.filename)}:{last.lineno}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"this is a bug ({reason}, {where}); please report it with the command and the output under {DEBUG}=1"


def _let_go_of_full_streams() -> None:
    """Where a stream takes nothing more, as on a full disk, drop what it holds: Python would try again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def signals() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM lets the run finish the current picture, and a terminal shows that. A second one
    ends the run."""
    from rar_cli.jobs.logs.book import Stop

    stop, own = Stop(), os.getpid()

    def ask(number: int, _: object) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number
        # Not from what was forked, which hears a terminal's signals too; and past Python's buffers, which the signal
        # may have come in the middle of.
        if os.getpid() == own and os.isatty(STDERR):
            os.write(STDERR, b"\nrar: finishing what is in hand; press Ctrl-C again to end at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def names_of(text: str | None, option: str) -> tuple[Degradation, ...]:
    """ "rain,haze" -> degradations; an unknown name's error lists the valid ones."""
    from rar_cli.types import Degradation

    found = [name.strip() for name in (text or "").split(",") if name.strip()]
    unknown = [name for name in found if name not in set(Degradation)]
    if unknown:
        raise UsageError(f"{option} {', '.join(unknown)}: unknown; choose from {', '.join(Degradation)}")
    if text is not None and not found:
        raise UsageError(f"{option}: names no degradation; choose from {', '.join(Degradation)}")
    return tuple(Degradation(name) for name in found)
