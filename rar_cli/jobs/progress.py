"""Progress of a run on stderr: a live bar on a terminal, a plain line a minute if asked, else silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rar_cli.report.record import PictureRecord
from rar_cli.report.text import printable
from rar_cli.report.words import round_line
from rar_cli.types import Round

MOST_ROWS = 200
"""Most rows of the closing table; of a longer run it shows the failures alone."""

LINE_EVERY_S = 60.0


class Progress:
    """Gets each record as it is finished; prints JSON lines, moves the bar, keeps rows for the table."""

    def __init__(self, total: int, as_json: bool, quiet: bool, log_progress: bool, to_stderr: bool = False) -> None:
        self.total, self.as_json, self.quiet, self.to_stderr = total, as_json, quiet, to_stderr
        self.log_progress = log_progress
        self.records: list[PictureRecord] = []
        self.counts = {"restored": 0, "accepted": 0, "skipped": 0, "failed": 0}
        self.rounds = 0
        self.pixels = 0
        self.started = self.last_line = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not self.quiet and not self.log_progress:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[state]}"))
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task("restore", total=self.total, state="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, record: PictureRecord) -> None:
        self.counts[record.status] += 1
        self.rounds += max(len(record.rounds) - 1, 0)
        if record.status != "skipped":
            self.pixels += record.pixels
        if self.as_json:
            sys.stdout.write(record.to_json() + "\n")
            sys.stdout.flush()
        elif len(self.records) < MOST_ROWS and (record.status == "failed" or self.total <= MOST_ROWS):
            self.records.append(record)
        if record.error and (self.as_json or self.quiet):
            sys.stderr.write(f"rar: {printable(record.error)}\n")
        self._show()

    def expect(self, total: int) -> None:
        """So many pictures are to come."""
        self.total = total
        if self.bar is not None:
            self.bar.update(self.task, total=total)

    def show_round(self, this: Round) -> None:
        """One line per round of a picture that is restored alone: bars on a terminal, plain elsewhere."""
        if not self.quiet and not self.as_json:
            stream = sys.stderr if self.to_stderr else sys.stdout
            print(printable(round_line(this, bars=stream.isatty())), file=stream, flush=True)

    def _show(self) -> None:
        if self.bar is not None:
            self.bar.update(self.task, advance=1, state=self._state())
        elif self.log_progress and time.monotonic() - self.last_line >= LINE_EVERY_S:
            self.last_line = time.monotonic()
            print(f"rar: {sum(self.counts.values())}/{self.total} {self._state()}", file=sys.stderr, flush=True)

    def _state(self) -> str:
        pace = self.pixels / 1e6 / max(time.monotonic() - self.started, 1e-9)
        counts = ", ".join(f"{n} {name}" for name, n in self.counts.items() if n)
        return f"{pace:.2f} MP/s, {self.rounds} rounds, {counts}"


@contextmanager
def transfer(quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Bars for downloads on a terminal; elsewhere nothing, and None is given."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def told(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(printable(name), total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield told
