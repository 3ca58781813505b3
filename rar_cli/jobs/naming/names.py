"""Names: every file that a run writes, checked before its first byte.

A name is refused if it is an input, an output or another file of the same run. It is also refused if a file of another
kind stands there: a log never replaces notes, a report never replaces a photograph.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.walk import ROUNDS_MARK
from rar_cli.pictures.files import PREFIX
from rar_cli.pictures.formats import FORMATS, WRITABLE
from rar_cli.pictures.remote import is_remote

if TYPE_CHECKING:
    from rar_cli.jobs.naming.plan import Job


@dataclass(frozen=True)
class Claim:
    """A file that a run is to write beside its outputs.

    option: that named it. own: its kind; an earlier file of that kind may be replaced, and no other.
    """

    path: Path
    option: str
    own: Kind


@dataclass(frozen=True)
class Kind:
    """A kind of file that rar writes. recognises: its first `head` bytes -> whether rar wrote it."""

    name: str
    recognises: Callable[[bytes], bool]
    picture: bool = False
    head: int = 4096


def _is_log(head: bytes) -> bool:
    """Empty, or JSON whose first line has the keys of a record; the head may end within it."""
    line = head.split(b"\n")[0].strip()
    return not head or line.startswith(b"{") and all(key in line for key in (b'"input"', b'"output"', b'"status"'))


def _is_report(head: bytes) -> bool:
    """A page that says so; the title is that of reports of rar 0.1."""
    marks = b'<meta name="generator" content="rar">', b"<title>rar: "
    return head.startswith(b"<!doctype html") and any(mark in head for mark in marks)


def _is_trace(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"schemaVersion"' in head


def _is_bench(head: bytes) -> bool:
    return head.startswith(b'{"schema"') and b'"weights_sha256"' in head


def _is_heatmap(head: bytes) -> bool:
    return HEATMAP.encode() in head


HEATMAP = "rar heat map"
"""Stands in the metadata of every heat map."""

LOG = Kind("a round log", _is_log, head=2**16)
REPORT = Kind("a report of rar", _is_report)
TRACE = Kind("a trace of rar", _is_trace)
BENCH = Kind("a result of rar bench", _is_bench)
HEAT = Kind("a heat map of rar", _is_heatmap, picture=True, head=2**28)
PLOT = Kind("a plot of rar bench", lambda head: b"atplotlib" in head, picture=True)


def check(claims: Sequence[Claim], inputs: Iterable[Path] = (), outputs: Iterable[Path] = ()) -> None:
    """Raise UsageError for the first claim that must not be written."""
    taken = {_identity(path): "an input" for path in inputs}
    taken |= {_identity(path): "an output" for path in outputs}
    for claim in claims:
        identity = _identity(claim.path)
        if identity in taken:
            raise UsageError(f"{claim.option} {claim.path}: is {taken[identity]} of this run; choose another name")
        taken[identity] = f"the file of {claim.option}"
        if not is_remote(claim.path):
            _check_place(claim)


def check_run(jobs: Sequence[Job], claims: Sequence[Claim], rounds: Path | None) -> None:
    """`check` for a plan. rounds: the folder of the round pictures, where they were asked for."""
    inputs = [job.source for job in jobs if job.source is not None]
    outputs = [job.target for job in jobs if job.target is not None]
    check(claims, inputs, outputs)
    if rounds is None or is_remote(rounds):
        return
    real = os.path.realpath(rounds)
    for path in (*inputs, *outputs, *(claim.path for claim in claims)):
        if os.path.realpath(path).startswith(real + os.sep):
            raise UsageError(f"--save-rounds: {path} lies in {rounds}, where round pictures go; rename that folder")
    if os.path.lexists(rounds) and not (rounds / ROUNDS_MARK).is_file():
        raise UsageError(f"--save-rounds: {rounds} was not made by rar; rename it or choose another OUTPUT")


def check_heatmap(target: Path, sources: Sequence[Path | None]) -> Path:
    """The one picture that a heat map is drawn of. Raises UsageError where there are others, or it has no place."""
    (source,) = sources if len(sources) == 1 else (None,)
    if source is None or FORMATS.get(target.suffix.lower()) not in WRITABLE:
        raise UsageError("--heatmap FILE: needs one picture as INPUT, and a picture's name as FILE")
    check([Claim(target, "--heatmap", HEAT)], [source])
    return source


def check_plots(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder of plots where a file of theirs would replace something that matplotlib did not draw."""
    _check_parent(folder, f"--plots {folder}")
    for name in names:
        path = folder / name
        if os.path.lexists(path) and not PLOT.recognises(_head(path, f"--plots {path}", PLOT.head)):
            raise UsageError(f"--plots {path}: exists and is not {PLOT.name}; choose another folder")


def check_empty(folder: Path, option: str, cure: str) -> None:
    """Refuse a folder that holds files."""
    _check_parent(folder, f"{option} {folder}")
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{option} {folder}: is not empty; {cure}")


def check_own(folder: Path, option: str, marks: Sequence[str]) -> None:
    """Refuse a folder that holds files, unless one of them shows an earlier run."""
    if not any(os.path.lexists(folder / mark) for mark in marks):
        check_empty(folder, option, f"it holds no {marks[0]} to go on with; choose another folder")


def _check_place(claim: Claim) -> None:
    label = f"{claim.option} {claim.path}"
    if claim.path.name.startswith(PREFIX):
        raise UsageError(f"{label}: rar keeps locks and unfinished files by such names; choose another name")
    if (claim.path.suffix.lower() in FORMATS) != claim.own.picture:
        raise UsageError(
            f"{label}: {claim.own.name} is {'a' if claim.own.picture else 'no'} picture; choose another name"
        )
    if not os.path.lexists(claim.path):
        _check_parent(claim.path.parent, label)
        return
    try:
        mode = os.stat(claim.path).st_mode
    except OSError as error:
        raise UsageError(f"{label}: cannot be written ({error.strerror})") from error
    if claim.own is LOG and stat.S_ISCHR(mode):
        return  # /dev/null, /dev/stderr
    if not stat.S_ISREG(mode) or not claim.own.recognises(_head(claim.path, label, claim.own.head)):
        raise UsageError(f"{label}: exists and is not {claim.own.name}; choose another name")
    if not os.access(claim.path, os.W_OK):
        raise UsageError(f"{label}: cannot be written (Permission denied)")


def _check_parent(folder: Path, label: str) -> None:
    """The nearest existing path above must be a folder, and writable."""
    here = Path(os.path.abspath(folder))
    while not os.path.lexists(here):
        here = here.parent
    if not here.is_dir() or not os.access(here, os.W_OK | os.X_OK):
        reason = "Permission denied" if here.is_dir() else "Not a directory"
        raise UsageError(f"{label}: cannot be written below {here} ({reason})")


def _head(path: Path, label: str, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise UsageError(f"{label}: cannot be read ({error.strerror})") from error


def _identity(path: Path) -> object:
    """Equal for two names of one file, whether it is there yet or not."""
    if is_remote(path):
        return str(path)
    try:
        about = os.stat(path)
        return about.st_dev, about.st_ino
    except OSError:
        return os.path.realpath(path)
