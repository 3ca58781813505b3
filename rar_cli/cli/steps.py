"""Steps of training as they go: a bar on a terminal, a plain line every few seconds elsewhere."""

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
    """Gets every step. The remaining time is that of the steps or of the hours, whichever ends first."""

    def __init__(self, hours: float | None) -> None:
        self.hours, self.begun = hours, time.monotonic()
        self.last = self.begun
        self.terminal = sys.stderr.isatty()
        self.bar: tqdm[None] | None = None

    def __call__(self, step: int, total: int, stage: str) -> None:
        if self.bar is None:
            self.bar = self._open(step, total)
        self.bar.set_description_str(f"train, stage {stage}", refresh=False)
        if self.hours is not None:
            left = max(self.hours * 3600 - (time.monotonic() - self.begun), 0.0)
            self.bar.set_postfix_str(f"{lasted(left)} of the hours left", refresh=False)
        self.bar.update(step - self.bar.n)
        if not self.terminal and time.monotonic() - self.last >= LINE_EVERY_S:
            self.last = time.monotonic()
            warn(str(self.bar))

    def _open(self, step: int, total: int) -> tqdm[None]:
        from tqdm import tqdm

        shown = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]{postfix}"
        return tqdm(
            total=total, initial=step - 1, unit="step", mininterval=BAR_EVERY_S, leave=False,
            file=sys.stderr if self.terminal else io.StringIO(), bar_format=None if self.terminal else shown,
        )  # fmt: skip


@contextmanager
def steps_shown(quiet: bool, hours: float | None) -> Iterator[Callable[[int, int, str], None] | None]:
    """What to call after every step; None where nothing is to be shown."""
    if quiet:
        yield None
        return
    bar = StepBar(hours)
    try:
        yield bar
    finally:
        if bar.bar is not None:
            bar.bar.close()
