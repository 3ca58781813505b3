"""Sinks: where finished pictures go. A folder, a store of objects, or standard output."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rar_cli.errors import ImageError, UsageError
from rar_cli.pictures.files import Stamp, write_bytes
from rar_cli.pictures.remote import is_remote

BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class There:
    """What stands under a name. sha256: of its bytes; "" where it is no file that can be read. size: in bytes."""

    sha256: str
    size: int


Replaces = Callable[[str, There], bool]
"""(an output as the user knows it, what stands there) -> whether that may be replaced."""


class Sink(Protocol):
    """Takes the bytes of finished pictures under names below its root."""

    def there(self, name: str) -> There | None:
        """What stands under a name; None where nothing does, or nobody could tell."""
        ...

    def put(self, name: str, data: bytes, stamp: Stamp | None, ready: Callable[[], None]) -> None:
        """Write one picture, whole or not at all.

        ready: called when the bytes are safe, before they show under their name; what it raises leaves the name as it
        was. Raises ImageError where this picture cannot be written, UsageError where none can.
        """
        ...


class StreamSink:
    """Standard output, for one picture. Raises UsageError where it is closed."""

    def __init__(self) -> None:
        if sys.stdout is None or getattr(sys.stdout, "name", "") == os.devnull:
            raise UsageError("standard output is closed; name a file as OUTPUT")

    def there(self, name: str) -> There | None:
        """Nothing: what was printed is gone."""
        return None

    def put(self, name: str, data: bytes, stamp: Stamp | None, ready: Callable[[], None]) -> None:
        """Print the bytes."""
        ready()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


class FolderSink:
    """A local folder. It is made at the start, and must stay: where it goes, the run ends."""

    def __init__(self, root: Path, replaces: Replaces) -> None:
        self.root, self.replaces = root, replaces
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.identity = _identity(root)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"{root}: cannot be written ({reason}); choose another OUTPUT") from error

    def there(self, name: str) -> There | None:
        """The file, read whole; a link to nothing, or a folder, is no file."""
        path = self.root / name
        if not os.path.lexists(path):
            return None
        try:
            return digest_of(path) if stat.S_ISREG(os.stat(path).st_mode) else There("", 0)
        except OSError:
            return There("", 0)

    def put(self, name: str, data: bytes, stamp: Stamp | None, ready: Callable[[], None]) -> None:
        """Write beside its place, look once more at what stands there, then rename; to a new name if it was none."""

        def look_again() -> bool:
            there = self.there(name)
            if there is not None and not self.replaces(str(self.root / name), there):
                raise ImageError(f"{self.root / name}: {FOREIGN}")
            ready()
            return there is not None

        self._refuse_another_root()
        write_bytes(data, self.root / name, stamp, look_again)

    def _refuse_another_root(self) -> None:
        try:
            same = _identity(self.root) == self.identity
        except OSError:
            same = False
        if not same:
            raise UsageError(f"{self.root}: the folder has gone while rar was at work; run the command again")


class StoreSink:
    """A folder of another file system (s3://, gs://, ...). An object shows once it is whole."""

    def __init__(self, root: Path, replaces: Replaces) -> None:
        self.root, self.replaces = root, replaces

    def there(self, name: str) -> There | None:
        """The object, read whole."""
        path = self.root / name
        try:
            return digest_of(path) if path.exists() else None
        except OSError:
            return There("", 0)

    def put(self, name: str, data: bytes, stamp: Stamp | None, ready: Callable[[], None]) -> None:
        """Write one object; stores keep neither permissions nor a time of change."""
        there = self.there(name)
        if there is not None and not self.replaces(str(self.root / name), there):
            raise ImageError(f"{self.root / name}: {FOREIGN}")

        def announce() -> bool:
            ready()
            return True

        write_bytes(data, self.root / name, ready=announce)


FOREIGN = "exists and no round log knows these bytes; use --overwrite or another OUTPUT"
"""Said of a file that rar did not make, changed since, or made without a log."""


def sink_for(root: Path | None, replaces: Replaces) -> Sink:
    """The sink for a root: a local folder, one of another file system, or None for standard output."""
    if root is None:
        return StreamSink()
    return StoreSink(root, replaces) if is_remote(root) else FolderSink(root, replaces)


def digest_of(path: Path) -> There:
    """What a file or an object is by its bytes. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return There(digest.hexdigest(), size)


def _identity(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino
