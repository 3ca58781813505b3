"""Writing: outputs and their records, in order, on a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from rar_cli.errors import ImageError, UsageError
from rar_cli.report.record import PictureRecord

WAITING = 32
"""Most outputs waiting to be written."""

LARGE_PIXELS = 4_000_000
"""From here on, outputs wait one at a time."""

Write = Callable[[], PictureRecord]
"""Encodes and writes one output; returns its record."""


class Writer:
    """Writes outputs and closes their records on one thread, in the order they were put."""

    def __init__(self, close: Callable[[PictureRecord], None]) -> None:
        self.close = close
        self.queue: queue.Queue[tuple[PictureRecord, Write | None] | None] = queue.Queue(WAITING)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.fault: BaseException | None = None

    def put(self, record: PictureRecord, write: Write | None) -> None:
        """Hand over one picture; a large one waits until everything before it is written."""
        if self.fault is not None:
            raise self.fault
        if record.pixels > LARGE_PIXELS:
            self.queue.join()
        self.queue.put((record, write))

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            if self.fault is None:
                try:
                    self.close(_written(*item))
                except BaseException as error:
                    self.fault = error
            self.queue.task_done()

    def __enter__(self) -> Writer:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.queue.put(None)
        self.thread.join()
        if self.fault is not None and kind is None:
            raise self.fault


def _written(record: PictureRecord, write: Write | None) -> PictureRecord:
    """Write one picture and return its record. Raises errors that end the run: a full disk, no log, a closed pipe."""
    try:
        return record if write is None else write()
    except ImageError as error:
        whole = str(error).startswith((record.input, str(record.output)))
        return record.failed(str(error) if whole else f"{record.input}: {error}")
    except (UsageError, OSError):
        raise
    except Exception as error:  # any fault of one picture, so that the others go on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return record.failed(f"{record.input}: cannot be written ({reason})")
