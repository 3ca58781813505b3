"""Writing: outputs and their records, in order, on a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from rar_cli.errors import ImageError, UsageError
from rar_cli.report.record import Record

WAITING = 32
"""Most outputs waiting to be written."""

LARGE_PIXELS = 4_000_000
"""From here on, outputs wait one at a time."""

Write = Callable[[], tuple[int, tuple[str, ...]]]
"""Encodes and writes one output; returns (bytes written, warnings)."""


class Writer:
    """Writes outputs and reports records on one thread, in the order they were put."""

    def __init__(self, finish: Callable[[Record], None]) -> None:
        self.finish = finish
        self.queue: queue.Queue[tuple[Record, Write | None] | None] = queue.Queue(WAITING)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.fault: BaseException | None = None

    def put(self, record: Record, write: Write | None) -> None:
        """Hand over one picture; a large one waits until everything before it is written."""
        if self.fault is not None:
            raise self.fault
        if (record["width"] or 0) * (record["height"] or 0) > LARGE_PIXELS:
            self.queue.join()
        self.queue.put((record, write))

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            if self.fault is None:
                try:
                    self._one(*item)
                except BaseException as error:
                    self.fault = error
            self.queue.task_done()

    def _one(self, record: Record, write: Write | None) -> None:
        if write is not None:
            try:
                record["output_bytes"], warnings = write()
                record["warnings"] = list(warnings)
            except ImageError as error:
                reason = str(error) if str(error).startswith(record["output"]) else f"{record['input']}: {error}"
                record.update(status="failed", error=reason)
        self.finish(record)

    def __enter__(self) -> Writer:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.queue.put(None)
        self.thread.join()
        if self.fault is not None and kind is None:
            if isinstance(self.fault, OSError):
                raise UsageError(f"the log cannot be written ({self.fault.strerror})") from self.fault
            raise self.fault
