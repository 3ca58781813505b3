"""`--watch`: find new pictures below the inputs, once they are complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rar_cli.errors import UsageError
from rar_cli.jobs.naming.plan import Job

Planner = Callable[[], Sequence[Job]]

State = tuple[int, int]
"""Bytes and time of change (ns) of a file."""

TICK_S = 0.1


class Watch:
    """Each call waits one interval and returns the jobs whose files have stopped changing."""

    def __init__(self, planner: Planner, interval_s: float, warn: Callable[[str], None]) -> None:
        self.planner, self.interval_s, self.warn = planner, interval_s, warn
        self.last: dict[str, State] = {}
        self.handed_out: dict[str, State] = {}
        self.warned: set[str] = set()

    def __call__(self, stopped: Callable[[], bool]) -> list[Job]:
        """Jobs that are new since the last call; empty where there are none or `stopped()`."""
        until = time.monotonic() + self.interval_s
        while time.monotonic() < until:
            if stopped():
                return []
            time.sleep(TICK_S)
        now = {job.name: (job, state) for job in self._plan() if (state := _state(job)) is not None}
        ready = []
        for name, (job, state) in now.items():
            if self.last.get(name) == state and self.handed_out.get(name) != state:
                self.handed_out[name] = state
                ready.append(job)
        self.last = {name: state for name, (_, state) in now.items()}
        return ready

    def _plan(self) -> Sequence[Job]:
        """The plan as of now. An empty folder is no fault. Other faults are reported once, and the watch goes on."""
        try:
            jobs = self.planner()
        except UsageError as error:
            if "no pictures found" not in str(error):
                self._say(str(error))
            return []
        for job in jobs:
            self._say(job.fault)
        return jobs

    def _say(self, fault: str | None) -> None:
        if fault is not None and fault not in self.warned:
            self.warned.add(fault)
            self.warn(fault)


def _state(job: Job) -> State | None:
    if job.fault is not None:
        return None
    try:
        about = job.source.stat() if job.source is not None else None
    except OSError:
        return None
    return (about.st_size, about.st_mtime_ns) if about is not None and about.st_size else None
