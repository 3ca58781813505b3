"""Reading: jobs -> groups of pictures of one size, a bounded way ahead of the work."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rar_cli.errors import ImageError
from rar_cli.images import Picture, picture_size, read_picture
from rar_cli.plan import Job

CHUNK = 64
"""Jobs whose sizes are looked up together to form groups."""

GROUP_PIXELS = 1_000_000
"""Most pixels in one group of several pictures; larger pictures go alone."""

AHEAD = 2
"""Most groups read ahead."""

AHEAD_PIXELS = 32_000_000
"""Most pixels read ahead; a larger picture waits until it is alone."""


SKIPPED = "skipped"
"""The error of an item that was done before."""


@dataclass(frozen=True)
class Item:
    """A job with what was read of it: a picture, or the error that stopped it."""

    job: Job
    data: bytes = b""
    picture: Picture | None = None
    error: str | None = None


Group = list[Item]


def read_groups(jobs: Sequence[Job], batch_size: int, is_done: Callable[[Item], bool]) -> Iterator[Group]:
    """Groups of one size with their pictures read; those wholly done before carry the error "skipped"."""
    for first in range(0, len(jobs), CHUNK):
        for group in group_by_size(jobs[first : first + CHUNK], batch_size):
            items = [_read(job) for job in group]
            # A group is either wholly done or done again as a whole, so that bytes never depend
            # on which of its pictures a killed run had finished.
            if all(is_done(item) for item in items):
                items = [replace(item, picture=None, error=SKIPPED) for item in items]
            yield items


def group_by_size(jobs: Sequence[Job], batch_size: int) -> list[list[Job]]:
    """Groups of equal size, in the order of their first job; unreadable and large ones go alone."""
    groups: list[list[Job]] = []
    open_groups: dict[tuple[int, int], list[Job]] = {}
    for job in jobs:
        size = None if job.source is None else picture_size(job.source)
        most = min(batch_size, GROUP_PIXELS // max(size[0] * size[1], 1)) if size else 1
        current = open_groups.get(size) if size else None
        if current is None or len(current) >= most:
            current = []
            groups.append(current)
            if size:
                open_groups[size] = current
        current.append(job)
    return groups


def _read(job: Job) -> Item:
    try:
        data = sys.stdin.buffer.read() if job.source is None else job.source.read_bytes()
    except OSError as error:
        return Item(job, error=f"{job.name}: cannot be read ({error.strerror})")
    try:
        return Item(job, data, read_picture(data, job.name))
    except ImageError as error:
        return Item(job, data, error=str(error))
    except MemoryError:
        return Item(job, data, error=f"{job.name}: does not fit into memory")


def _pixels(group: Group) -> int:
    return sum(item.picture.size[0] * item.picture.size[1] for item in group if item.picture)


class Ahead:
    """Runs an iterator on a thread of its own, a bounded number of items ahead."""

    def __init__(self, source: Iterator[Group]) -> None:
        self.source = source
        self.queue: queue.Queue[Group | BaseException | None] = queue.Queue(AHEAD)
        self.pixels = 0
        self.drained = threading.Condition()
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        try:
            for group in self.source:
                self._wait_for_room(group)
                self._put(group)
                if self.closed.is_set():
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _wait_for_room(self, group: Group) -> None:
        pixels = _pixels(group)
        with self.drained:
            while self.pixels and self.pixels + pixels > AHEAD_PIXELS and not self.closed.is_set():
                self.drained.wait(0.1)
            self.pixels += pixels

    def _put(self, item: Group | BaseException | None) -> None:
        while not self.closed.is_set():
            try:
                self.queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def __enter__(self) -> Iterator[Group]:
        self.thread.start()
        return self._items()

    def _items(self) -> Iterator[Group]:
        while (item := self.queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            pixels = _pixels(item)
            yield item
            with self.drained:  # the group has been worked on
                self.pixels -= pixels
                self.drained.notify()

    def __exit__(self, *_: object) -> None:
        self.closed.set()
