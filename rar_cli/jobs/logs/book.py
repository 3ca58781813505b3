"""The book of one run: outputs of earlier runs and of this one. It feeds the log, the counts and the display."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from rar_cli.jobs.logs.log import Known, RoundLog
from rar_cli.jobs.stream.sinks import There
from rar_cli.report.record import PictureRecord

Observer = Callable[[PictureRecord], None]


class Standing(Enum):
    """How an output stands before its picture is restored.

    OPEN: it is to be made. DONE: an earlier run made it. FOREIGN: something else stands there, and stays.
    """

    OPEN = "open"
    DONE = "done"
    FOREIGN = "foreign"


@dataclass
class Stop:
    """Set by a signal handler; the run then finishes its current group and ends."""

    signal: int | None = None


@dataclass
class Summary:
    """Counts of a run. interrupted: the signal that ended it early, if any."""

    restored: int = 0
    accepted: int = 0
    skipped: int = 0
    failed: int = 0
    rounds: int = 0
    pixels: int = 0
    seconds: float = 0.0
    interrupted: int | None = None
    records: list[PictureRecord] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """Number of pictures of the run."""
        return self.restored + self.accepted + self.skipped + self.failed

    @property
    def exit_code(self) -> int:
        """0 all done; 1 some failed; 128 and the signal where the run was interrupted."""
        return 128 + self.interrupted if self.interrupted is not None else int(self.failed > 0)

    def count(self, record: PictureRecord) -> None:
        """Take one record into account."""
        setattr(self, record.status, getattr(self, record.status) + 1)
        if record.status != "skipped":
            self.rounds += max(len(record.rounds) - 1, 0)
            self.pixels += record.pixels


class Book(Protocol):
    """Which outputs are done, and the records of new ones. The book itself may be in another process."""

    def standing(self, output: str, there: There, input_sha256: str, options_sha256: str) -> Standing:
        """How an output stands, given what is there under its name."""
        ...

    def replaces(self, output: str, there: There) -> bool:
        """Whether what is there may be replaced."""
        ...

    def announce(self, record: PictureRecord) -> None:
        """An output is about to show under its name. Raises where it must not."""
        ...

    def finish(self, record: PictureRecord) -> None:
        """Nothing more is done for a picture."""
        ...


class OwnBook:
    """The book of this process. Each output has its line in the log before it shows; threads may share it."""

    def __init__(self, known: Known, log: RoundLog | None, observe: Observer, overwrite: bool = False) -> None:
        self.known, self.log, self.observe, self.overwrite = known, log, observe, overwrite
        self.summary = Summary()
        self._lock = threading.Lock()

    def standing(self, output: str, there: There, input_sha256: str, options_sha256: str) -> Standing:
        """As the logs have it; with overwrite everything is open."""
        with self._lock:
            if self.overwrite:
                return Standing.OPEN
            if self.known.finished(output, there, input_sha256, options_sha256):
                return Standing.DONE
            return Standing.OPEN if self.known.made(output, there) else Standing.FOREIGN

    def replaces(self, output: str, there: There) -> bool:
        """Whether rar made the file; with overwrite, any file."""
        with self._lock:
            return self.overwrite or self.known.made(output, there)

    def announce(self, record: PictureRecord) -> None:
        """Log the output."""
        with self._lock:
            self._write(record)
            self.known.add(record.as_dict())

    def finish(self, record: PictureRecord) -> None:
        """Log a failure; count and show anything."""
        with self._lock:
            if record.status == "failed":
                self._write(record)
            self.summary.count(record)
            self.observe(record)

    def _write(self, record: PictureRecord) -> None:
        if self.log is not None:
            self.log.write(record)
