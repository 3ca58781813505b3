"""The lock of an output folder: one run at a time, or the shards of one division beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.plan import Shard
from rar_cli.pictures.files import sweep

NAME = re.compile(r"\.rar-\d+-of-(\d+)\.lock")


@contextmanager
def held(folder: Path, shard: Shard) -> Iterator[None]:
    """Hold an output folder; the lock of a killed run falls with its process.

    Shards of one division may work beside each other; an unsharded run, or shards of another division, may not.
    Raises UsageError where another run is at work there, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / f".rar-{shard.index}-of-{shard.count}.lock", timeout=0))
            for path in sorted(folder.glob(".rar-*-of-*.lock")):
                division = NAME.fullmatch(path.name)
                if division is not None and (int(division[1]) != shard.count):
                    with FileLock(path, timeout=0):
                        pass  # free: nobody of that division is at work
        except Timeout as error:
            raise UsageError(f"{folder}: another rar is at work there; wait for it or choose another OUTPUT") from error
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written ({error.strerror}); choose another OUTPUT") from error
        sweep(folder)
        try:
            yield
        finally:  # workers may have been killed while the run went on
            sweep(folder)
