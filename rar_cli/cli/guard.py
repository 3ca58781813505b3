"""Around every command: errors as one line, signals that let the picture in hand finish, names parsed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer

from rar_cli.errors import RarError, UsageError

if TYPE_CHECKING:
    from rar_cli.jobs.book import Stop
    from rar_cli.types import Degradation


STDERR = 2
"""Its file descriptor."""


@contextmanager
def guarded() -> Iterator[None]:
    """Errors made on purpose become one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", module="PIL")  # of damaged files, which are reported properly
    try:
        yield
        sys.stdout.flush()
    except RarError as error:
        _say(str(error))
        raise typer.Exit(2) from error
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our pipe has left: no message on the way out
        raise typer.Exit(1) from None
    except OSError as error:  # standard output is full, for instance
        _forget(sys.stdout)
        _say(f"cannot go on ({error.strerror or error})")
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _say(text: str) -> None:
    """One line on stderr, if that takes it."""
    try:
        typer.echo(f"rar: {text}".encode("utf-8", "backslashreplace").decode(), err=True)
    except OSError:
        _forget(sys.stderr)


def _forget(stream: TextIO) -> None:
    """What a stream still holds goes nowhere, so that Python does not fail with it on the way out."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def signals() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks the run to finish what is in hand, and says so on a terminal; a second one
    ends it."""
    from rar_cli.jobs.book import Stop

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
