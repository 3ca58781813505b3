"""The clock of a run: seconds over all its pieces, and which tasks are due."""

from __future__ import annotations

import time


class Clock:
    """hours: how long this piece of the run may take, all of it; None for no end. before: seconds that earlier pieces
    took."""

    def __init__(self, hours: float | None, before: float = 0.0) -> None:
        self.hours, self.before = hours, before
        self.start = time.monotonic()
        self.last: dict[str, float] = {}

    def seconds(self) -> float:
        """Of training, over all pieces."""
        return self.before + time.monotonic() - self.start

    def due(self, what: str, minutes: float) -> bool:
        """Whether so many minutes have passed since it was last due, or since the start."""
        now = time.monotonic()
        if now - self.last.setdefault(what, self.start) < minutes * 60:
            return False
        self.last[what] = now
        return True

    def fall(self, landing: float) -> float:
        """What is left, in [0, 1], of the share `landing` of the hours, at their end; 1 where there is no end."""
        if self.hours is None or not landing:
            return 1.0
        left = 1.0 - (time.monotonic() - self.start) / (self.hours * 3600)
        return min(max(left, 0.0) / landing, 1.0)

    def over(self) -> bool:
        """Whether the hours have passed."""
        return self.hours is not None and time.monotonic() - self.start > self.hours * 3600
