"""The round log: one JSON line per picture. Logs of earlier runs say which outputs are done."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from rar_cli.errors import UsageError
from rar_cli.jobs.stream.sinks import There
from rar_cli.report.record import PictureRecord

NAME = "rounds.jsonl"

LINE_BYTES = 2**20
"""A longer line is no record; it is passed over without being held in memory."""


class RoundLog:
    """Appends records; a line that a kill left half-written is cut off first.

    A line is on disk before its output shows, so that no output is unknown to the log, wherever a run is killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._plain = True

    def __enter__(self) -> RoundLog:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self.path, flags, 0o666)
            self._plain = stat.S_ISREG(os.fstat(self._handle).st_mode)
            if self._plain:
                _cut_half_line(self._handle)
        except OSError as error:
            raise self._fault(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def write(self, record: PictureRecord) -> None:
        """Append one line and flush it to disk. Raises UsageError where that fails; the log then ends as before."""
        if self._handle is None:
            return
        line = (record.to_json() + "\n").encode()
        before = os.fstat(self._handle)
        if self._plain and not before.st_nlink:
            raise UsageError(f"{self.path}: the log has gone while rar was at work; run the command again")
        try:
            written = os.write(self._handle, line)
            while written < len(line):
                written += os.write(self._handle, line[written:])
            if self._plain:
                os.fsync(self._handle)
        except OSError as error:
            if self._plain:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, before.st_size)
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path}: the log cannot be written ({error.strerror}); make room or name another --log")


class Known:
    """Outputs that logs know, by their bytes. Folders and working directories do not count.

    made: rar wrote these very bytes. A copy of a photograph that was left alone is the user's bytes as well, so that
    for these the name of the file counts too. finished: of this input, with these options. Records of rar 0.1 and
    before have no SHA-256 of the output: of these, output path and size count instead.
    """

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._copied: set[tuple[str, str]] = set()
        self._finished: set[tuple[str, str, str]] = set()
        self._old: dict[str, tuple[int, str, str]] = {}

    @classmethod
    def read(cls, logs: Sequence[Path]) -> Known:
        """The outputs that some logs know; a missing log knows none."""
        known = cls()
        for path in logs:
            for record in read_log(path):
                known.add(record)
        return known

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record into account; failed ones made nothing."""
        keys = ("output", "input_sha256", "options_sha256")
        output, given, options = (str(record.get(key)) for key in keys)
        digest, size = record.get("output_sha256"), record.get("output_bytes")
        if record.get("status") == "failed":
            return
        if isinstance(digest, str) and digest:
            if digest == given:
                self._copied.add((digest, PurePath(output).name))
            else:
                self._made.add(digest)
            self._finished.add((digest, given, options))
        elif isinstance(size, int):
            self._old[output] = (size, given, options)

    def made(self, output: str, there: There) -> bool:
        """Whether rar wrote this file."""
        copied = (there.sha256, PurePath(output).name) in self._copied
        return copied or there.sha256 in self._made or self._old.get(output, (None,))[0] == there.size

    def finished(self, output: str, there: There, input_sha256: str, options_sha256: str) -> bool:
        """Whether this file is the output of that input under those options."""
        by_bytes = (there.sha256, input_sha256, options_sha256) in self._finished
        return by_bytes or self._old.get(output) == (there.size, input_sha256, options_sha256)


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole record of a log. Broken, too long or too deep lines are skipped; a missing log is empty."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return
        file = path.open("rb")
    except OSError:
        return
    with file:
        for line in _lines(file):
            if (record := _record_of(line)) is not None:
                yield record


def _record_of(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _lines(file: Any) -> Iterator[bytes]:
    while line := file.readline(LINE_BYTES):
        whole = line.endswith(b"\n") or len(line) < LINE_BYTES
        if whole:
            yield line
        while not whole:
            rest = file.readline(LINE_BYTES)
            whole = rest.endswith(b"\n") or len(rest) < LINE_BYTES


def _cut_half_line(handle: int) -> None:
    """End the file after its last whole line; only its end is read.

    A record without a line end, as some editors leave it, gets one.
    """
    end = size = os.fstat(handle).st_size
    while end:
        start = max(end - LINE_BYTES, 0)
        os.lseek(handle, start, os.SEEK_SET)
        at = os.read(handle, end - start).rfind(b"\n")
        if at >= 0 or not start:
            os.lseek(handle, start + at + 1, os.SEEK_SET)
            if _record_of(os.read(handle, LINE_BYTES)) is not None:
                os.write(handle, b"\n")
                return
            end = start + at + 1
            break
        end = start
    if end != size:
        os.ftruncate(handle, end)
        os.fsync(handle)
