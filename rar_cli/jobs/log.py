"""The round log: one JSON line per picture, appended and flushed; and what it says was done before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from rar_cli.errors import UsageError
from rar_cli.report.record import Record, to_json

NAME = "rounds.jsonl"


class RoundLog:
    """Appends records; a line that a kill left half-written is cut off first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> RoundLog:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _cut_half_line(self.path)
            self._file = self.path.open("ab")
        except OSError as error:
            raise UsageError(f"{self.path}: the log cannot be written ({error.strerror})") from error
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, record: Record) -> None:
        """Append one line and hand it to the system."""
        if self._file is not None:
            self._file.write((to_json(record) + "\n").encode())
            self._file.flush()


def read_log(path: Path) -> list[Record]:
    """Every whole line of a log; broken ones are passed over, a missing log is empty."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _cut_half_line(path: Path) -> None:
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            file.truncate(whole)
            os.fsync(file.fileno())
