"""Pace: megapixels done, megapixels in all, and the time that is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rar_cli.pictures.decoding import picture_size
from rar_cli.pictures.remote import is_remote

LOOKED_UP = 20_000
"""Most headers that are read for the total; the mean stands for the others."""


class Pace:
    """Counts pixels. The total is the sum of the sizes in the headers, and their mean for each of the rest.

    The remaining time rests on all pixels so far over the time they took, which settles as the run goes on.
    """

    def __init__(self, total: int, sources: Sequence[Path] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self.sources = [source for source in sources if not is_remote(source)][:LOOKED_UP]
        self.known_px = self.known = 0
        self.done = self.done_px = self.worked_px = 0
        self.begun: float | None = None
        self.spent_s = 0.0
        self.closed = threading.Event()

    def look_ahead(self) -> None:
        """Read sizes from headers on a thread of its own, beside the work."""
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        for source in self.sources:
            if self.closed.is_set():
                return
            size = picture_size(source)
            self.known_px += size[0] * size[1] if size else 0
            self.known += 1

    def begin(self) -> None:
        """The first picture begins. The time before, such as loading the model, does not count."""
        if self.begun is None:
            self.begun = self.clock()

    def rest(self) -> None:
        """No picture is in work. The time until `begin` does not count."""
        if self.begun is not None:
            self.spent_s += self.clock() - self.begun
            self.begun = None

    def add(self, pixels: int, worked: bool) -> None:
        """One picture is finished. worked: whether it took time, rather than being skipped."""
        self.done += 1
        self.done_px += pixels
        self.worked_px += pixels if worked else 0

    @property
    def total_px(self) -> float:
        """Pixels of all pictures, as far as is known."""
        known, pixels = (self.known, self.known_px) if self.known > self.done else (self.done, self.done_px)
        return pixels * max(self.total / known, 1.0) if known else 0.0

    @property
    def per_second(self) -> float:
        """Pixels a second so far; 0 before the first."""
        spent = self.spent_s + (0.0 if self.begun is None else self.clock() - self.begun)
        return self.worked_px / spent if spent > 0 else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the end; None as long as it is unknown."""
        if not self.per_second or not self.total_px:
            return None
        return max(self.total_px - self.done_px, 0.0) / self.per_second
