"""Files: bytes -> disk, whole or not at all. Sweeps the half-written files of dead runs.

A temporary file is locked while its writer lives, so no other run takes it for a leftover.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rar_cli.errors import ImageError, UsageError
from rar_cli.pictures.remote import is_remote

fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
"""Locks of files; Windows has none, and needs none: a file that is open cannot be removed there."""

PREFIX, SUFFIX = ".rar-", ".part"
"""Of temporary files."""

RANDOM_BYTES = 8
"""Of their names, in between."""

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS}
"""Errors after which no other file can be written either."""

UNABLE = {errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
"""Errors of a file system that does not have what is asked for: FAT, network shares, some clusters."""


@dataclass(frozen=True)
class Stamp:
    """What a restored file keeps of the file it was made of: permissions and time of change.

    lost: what the file system did not take of it, in words.
    """

    mode: int
    modified_ns: int
    lost: list[str] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, about: os.stat_result) -> Stamp:
        """Permissions without set-user-ID, set-group-ID and sticky bits."""
        return cls(stat.S_IMODE(about.st_mode) & 0o777, about.st_mtime_ns)


def write_bytes(data: bytes, path: Path, stamp: Stamp | None = None, ready: Callable[[], bool] | None = None) -> None:
    """Write atomically: a temporary file in the same folder, flushed to disk, then renamed.

    stamp: permissions and time that the file gets; else the user's umask and now. ready: called when the bytes are
    safe, before they show under their name; whether they may replace what has that name. What it raises leaves the
    name as it was. Object stores show a file only once it is whole, so that nothing is renamed there. Raises ImageError
    where this file cannot be written, UsageError where no file can.
    """
    ready = ready or (lambda: True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_remote(path):
            ready()
            path.write_bytes(data)
        else:
            _write_locally(data, path, stamp, ready)
    except OSError as error:
        if error.errno in FULL:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); make room and run again") from error
        raise ImageError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_locally(data: bytes, path: Path, stamp: Stamp | None, ready: Callable[[], bool]) -> None:
    handle, temporary = _temporary(path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if fcntl is not None:
                with _where_possible():  # without locks, `sweep` finds none to take, and lets the file be
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(data)
            file.flush()
            _stamp(temporary, stamp)
            os.fsync(file.fileno())
            show = os.replace if ready() else _rename_to_new
            if fcntl is not None:
                show(temporary, path)  # while the lock is held
        if fcntl is None:
            show(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _rename_to_new(temporary: str, path: Path) -> None:
    """Rename to a name that nothing has, in one step where the file system can. Raises ImageError where it is taken."""
    appeared = ImageError(f"{path}: appeared while it was to be written, and stays; run the command again")
    try:
        if fcntl is None:
            os.rename(temporary, path)  # which replaces nothing on Windows
            return
        os.link(temporary, path)
    except FileExistsError as error:
        raise appeared from error
    except OSError as error:  # no hard links here: look, then rename
        if os.path.lexists(path):
            raise appeared from error
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _temporary(folder: Path) -> tuple[int, str]:
    """A new file that follows the user's umask: the system applies it, so that no thread sees it changed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        name = str(folder / f"{PREFIX}{secrets.token_hex(RANDOM_BYTES)}{SUFFIX}")
        with contextlib.suppress(FileExistsError):
            return os.open(name, flags, 0o666), name


def _stamp(temporary: str, stamp: Stamp | None) -> None:
    if stamp is None:
        return
    with _where_possible(stamp, "permissions not kept: the file system of the output takes none"):
        os.chmod(temporary, stamp.mode)
    with _where_possible(stamp, "time of change not kept: the file system of the output takes none"):
        os.utime(temporary, ns=(stamp.modified_ns, stamp.modified_ns))


@contextlib.contextmanager
def _where_possible(stamp: Stamp | None = None, loss: str = "") -> Iterator[None]:
    """Go on where a file system has no such thing, and note the loss."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        if stamp is not None:
            stamp.lost.append(loss)


def sweep(folder: Path, deep: bool = True) -> None:
    """Remove what killed runs left half-written in a folder; what a living one writes stays. deep: and below it."""
    find = folder.rglob if deep else folder.glob
    for leftover in find(f"{PREFIX}{'[0-9a-f]' * 2 * RANDOM_BYTES}{SUFFIX}"):
        with contextlib.suppress(OSError), _unused(leftover) as unused:
            if unused:
                leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Whether no living process writes a temporary file; it stays so for the while."""
    if fcntl is None:
        yield True
        return
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)
