"""One file from a server or a folder: bounded in bytes and in time, continued where it broke off, checked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from rar_cli.errors import WeightsError
from rar_cli.weights.connection import CHUNK, STALE, TIMEOUT_S, Fault, answered, body, length_of
from rar_cli.weights.manifest import fault_of, file_sha256

TRIES = 5
"""Attempts per file where the network or the server fails for a while."""

LEAST_S = 300.0
"""Time that any file may take in all; a small one may take no more."""

SLOWEST = 50_000
"""Bytes per second that a longer file must reach on average."""

WAIT_S = 1.0
"""Before the second attempt; doubled for each further one."""

OnBytes = Callable[[str, int, int], None]
"""Called during a download with (file, bytes so far, bytes in all)."""


@dataclass(frozen=True)
class Remote:
    """One file to fetch. place: its URL, or its path. sha256, size: None where the source does not say."""

    place: str | Path
    sha256: str | None = None
    size: int | None = None
    token: str | None = None


def fetch(remote: Remote, path: Path, on_bytes: OnBytes | None) -> None:
    """Fetch one file: `.part`, continued where it broke off, checked, renamed. Raises WeightsError, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    until = time.monotonic() + LEAST_S + (remote.size or 0) / SLOWEST
    wait = WAIT_S
    for attempt in range(TRIES):
        try:
            _attempt(remote, part, until, on_bytes)
            break
        except Fault as fault:
            if fault.code == STALE:
                part.unlink(missing_ok=True)  # it is of another file
            if time.monotonic() >= until:
                _give_up(remote, f"it takes too long; {fault}")
            if not fault.again or attempt == TRIES - 1:
                _give_up(remote, str(fault))
        time.sleep(min(wait, max(until - time.monotonic(), 0.0)))
        wait *= 2
    _check(remote, part)
    os.replace(part, path)


def read_small(place: str | Path, most: int) -> bytes:
    """A file of at most `most` bytes in memory. Raises WeightsError."""
    data = bytearray()
    try:
        with _opened(Remote(place), 0, time.monotonic() + TIMEOUT_S) as (_, length, chunks):
            for chunk in chunks:
                data += chunk
                if len(data) > most:
                    raise Fault(f"it is longer than {most} bytes")
            if len(data) < (length or 0):
                raise Fault(f"broke off after {len(data)} of {length} bytes")
    except Fault as fault:
        raise WeightsError(f"{place}: cannot be read ({fault}); check --from and the network") from fault
    return bytes(data)


def _attempt(remote: Remote, part: Path, until: float, on_bytes: OnBytes | None) -> None:
    """Append to `part` what it lacks. Raises Fault where the body ends early or goes on too long."""
    done = part.stat().st_size if part.exists() else 0
    if remote.size is not None and done >= remote.size:
        return  # whole, or wrong: the check that follows says which
    with _opened(remote, done, until) as (resumed, length, chunks):
        done = done if resumed else 0
        total = remote.size if remote.size is not None else (None if length is None else done + length)
        if total is None:
            raise Fault("the server does not say how long it is", again=False)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in chunks:
                done += len(chunk)
                if done > total:
                    file.truncate(0)
                    raise Fault(f"the body is longer than the {total} bytes that were promised", again=False)
                file.write(chunk)
                if on_bytes is not None:
                    on_bytes(part.name.removesuffix(".part"), done, total)
    if done < total:
        raise Fault(f"broke off after {done} of {total} bytes")


Opened = tuple[bool, int | None, Iterator[bytes]]
"""(whether it goes on from where it was to, bytes that follow if they are known, the bytes)."""


@contextmanager
def _opened(remote: Remote, first: int, until: float) -> Iterator[Opened]:
    """The bytes of a file from `first` on, or from 0 where the source cannot skip. Raises Fault."""
    if isinstance(remote.place, str):
        with answered(remote.place, remote.token, first, until) as answer:
            yield bool(first) and answer.status == 206, length_of(answer), body(answer, until)
        return
    try:
        if not remote.place.is_file():  # a pipe would never end
            raise FileNotFoundError(2, "no such file")
        file = remote.place.open("rb")
    except OSError as error:
        raise Fault(error.strerror or error, again=False) from error
    with file:
        yield False, os.fstat(file.fileno()).st_size, iter(partial(file.read, CHUNK), b"")


def _check(remote: Remote, part: Path) -> None:
    size = part.stat().st_size if remote.size is None else remote.size
    fault = fault_of(part, {"bytes": size, "sha256": remote.sha256 or file_sha256(part)})
    if fault is not None:
        part.unlink(missing_ok=True)
        reason = f"{fault}: the bytes are wrong and were removed"
        raise WeightsError(f"{remote.place}: {reason}; try again or another --from")


def _give_up(remote: Remote, reason: str) -> NoReturn:
    raise WeightsError(f"{remote.place}: cannot be fetched ({reason}); run the command again to go on, or try --from")
