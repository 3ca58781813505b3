"""Progress of a training: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rar_cli.cli.printing import warn
from rar_cli.report.words import lasted

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_EVERY_S, LINE_EVERY_S = 0.5, 5.0


class StepBar:
    """Gets every photograph, then every step. Shows what is left of these, and of the hours where they are bounded."""

    def __init__(self, hours: float | None) -> None:
        self.hours, self.begun = hours, time.monotonic()
        self.last = self.begun
        self.terminal = sys.stderr.isatty()
        self.bar: tqdm[None] | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        if self.bar is None or total != self.bar.total or done < self.bar.n:  # other things are counted now
            self.close()
            self.bar = self._open(done, total)
        self.bar.set_description_str(f"train, {what}", refresh=False)
        if self.hours is not None:
            left = max(self.hours * 3600 - (time.monotonic() - self.begun), 0.0)
            self.bar.set_postfix_str(f"{lasted(left)} of the hours left", refresh=False)
        self.bar.update(done - self.bar.n)
        if not self.terminal and time.monotonic() - self.last >= LINE_EVERY_S:
            self.last = time.monotonic()
            warn(str(self.bar))

    def close(self) -> None:
        """Clear the terminal's line."""
        if self.bar is not None:
            self.bar.close()

    def _open(self, done: int, total: int) -> tqdm[None]:
        from tqdm import tqdm

        shown = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]{postfix}"
        return tqdm(
            total=total, initial=max(done - 1, 0), unit="", mininterval=BAR_EVERY_S, leave=False,
            file=sys.stderr if self.terminal else io.StringIO(), bar_format=None if self.terminal else shown,
        )  # fmt: skip


@contextmanager
def steps_shown(quiet: bool, hours: float | None) -> Iterator[Callable[[int, int, str], None] | None]:
    """What to call for every photograph and step; None where nothing is to be shown."""
    if quiet:
        yield None
        return
    bar = StepBar(hours)
    try:
        yield bar
    finally:
        bar.close()
