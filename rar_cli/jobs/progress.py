"""Progress of a run on stderr: a live bar on a terminal, a line a minute with --log-progress, else nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rar_cli.jobs.pace import Pace
from rar_cli.report.record import PictureRecord
from rar_cli.report.tables import shortened
from rar_cli.report.text import printable
from rar_cli.report.words import lasted, round_line
from rar_cli.types import Round

if TYPE_CHECKING:
    from rar_cli.weights.transfer import OnBytes

MOST_ROWS = 200
"""Most rows of the closing table; of a longer run it shows the failures alone."""

LINE_EVERY_S = 60.0

WAITING = "waiting for new files"

LOSSES_COUNTED = 1000
"""Most different losses that are counted. Only the log has further ones."""

NAME_WIDTH = 40
"""Most characters of a picture's name in the bar."""


class Progress:
    """Gets each record as it is finished; prints JSON lines, moves the bar, keeps rows for the table.

    losses: what could not be kept, each with its number of pictures.
    """

    def __init__(self, pace: Pace, as_json: bool, quiet: bool, log_progress: bool, to_stderr: bool = False) -> None:
        self.pace, self.as_json, self.quiet, self.to_stderr = pace, as_json, quiet, to_stderr
        self.log_progress = log_progress
        self.records: list[PictureRecord] = []
        self.losses: Counter[str] = Counter()
        self.counts = {"restored": 0, "accepted": 0, "skipped": 0, "failed": 0}
        self.now = "loading the model"
        self.last_line = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not self.quiet and not self.log_progress:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            console = Console(stderr=True)
            now = TextColumn("{task.description}", markup=False)
            columns = (BarColumn(bar_width=24), TextColumn("{task.fields[state]}", markup=False), now)
            self.bar = Bar(*columns, console=console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.now, total=None, state="")
        if self.bar is not None or self.log_progress:
            self.pace.look_ahead()
        if self.log_progress:
            self._line()
        return self

    def __exit__(self, *_: object) -> None:
        self.pace.closed.set()
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, record: PictureRecord) -> None:
        self.counts[record.status] += 1
        self.losses.update(loss for loss in record.warnings if loss in self.losses or len(self.losses) < LOSSES_COUNTED)
        self.pace.add(record.pixels, worked=record.status != "skipped")
        if self.as_json:
            sys.stdout.write(record.to_json() + "\n")
            sys.stdout.flush()
        elif len(self.records) < MOST_ROWS and (record.status == "failed" or self.pace.total <= MOST_ROWS):
            self.records.append(record)
        if record.error and (self.as_json or self.quiet):
            sys.stderr.write(f"rar: {printable(record.error)}\n")
        self._show()

    def expect(self, total: int) -> None:
        """So many pictures are to come."""
        self.pace.total = total

    def begin(self, names: Sequence[str]) -> None:
        """These pictures are restored next."""
        self.pace.begin()
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        self.now = f"{shortened(printable(names[0]), NAME_WIDTH)}{others}" if names else ""
        self._show()

    def rest(self) -> None:
        """The run waits for new files; a log says so once."""
        if self.now == WAITING:
            return
        self.pace.rest()
        self.now = WAITING
        if self.log_progress:
            self._line()
        self._show()

    def show_tile(self, done: int, total: int) -> None:
        """So many tiles of a large picture are done."""
        if self.bar is not None:
            self.bar.update(self.task, description=f"{self.now}, tile {done}/{total}")
        else:
            self._show()

    def show_round(self, this: Round) -> None:
        """One line per round of a picture that is restored alone: bars on a terminal, plain elsewhere."""
        if not self.quiet and not self.as_json:
            stream = sys.stderr if self.to_stderr else sys.stdout
            print(printable(round_line(this, bars=stream.isatty())), file=stream, flush=True)

    def _show(self) -> None:
        if self.bar is not None:
            total = self.pace.total_px or None
            self.bar.update(
                self.task, description=self.now, completed=self.pace.done_px, total=total, state=self.state()
            )
        elif self.log_progress and time.monotonic() - self.last_line >= LINE_EVERY_S:
            self._line()

    def _line(self) -> None:
        self.last_line = time.monotonic()
        print(f"rar: {self.state()}; {self.now}", file=sys.stderr, flush=True)

    def state(self) -> str:
        """ "3/40, 1.2 of 16 MP, 0.31 MP/s, 45 s left, 1 failed"."""
        pace, left = self.pace, self.pace.remaining_s
        parts = [f"{pace.done}/{pace.total}"]
        if pace.total_px:
            parts.append(f"{pace.done_px / 1e6:.1f} of {pace.total_px / 1e6:.1f} MP")
        if left is not None:
            parts += [f"{pace.per_second / 1e6:.2f} MP/s", f"{lasted(left)} left"]
        parts += [f"{self.counts['failed']} failed"] if self.counts["failed"] else []
        return ", ".join(parts)


@contextmanager
def transfer(quiet: bool) -> Iterator[OnBytes | None]:
    """Bars for downloads on a terminal; yields None elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def on_bytes(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(printable(name), total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield on_bytes
