"""Reading: jobs -> groups of pictures of one size, a bounded way ahead of the work."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rar_cli.errors import ImageError
from rar_cli.jobs.plan import Job
from rar_cli.pictures.decoding import picture_size, read_picture
from rar_cli.pictures.images import Picture, sha256

CHUNK = 64
"""Jobs whose sizes are looked up together to form groups."""

GROUP_PIXELS = 1_000_000
"""Most pixels in one group of several pictures; larger pictures go alone."""

AHEAD = 2
"""Most groups read ahead."""

AHEAD_PIXELS = 32_000_000
"""Most pixels read ahead; a larger picture waits until it is alone."""


@dataclass
class Item:
    """A job with what was read of it: a picture, or the error that stopped it.

    data, digest: the file's bytes and their SHA-256. done: an earlier run finished it; its picture is
    there only where its group needs it. hollow: bytes and pixels were given up, and are read anew
    where they are needed after all.
    """

    job: Job
    data: bytes = b""
    digest: str | None = None
    picture: Picture | None = None
    error: str | None = None
    done: bool = False
    hollow: bool = False

    def bytes(self) -> bytes:
        """The file's bytes. Raises ImageError where it has changed since it was first read."""
        if self.data or self.job.source is None:
            return self.data
        try:
            data = _file_bytes(self.job)
        except OSError as error:
            raise ImageError(f"{self.job.name}: cannot be read again ({error.strerror})") from error
        if sha256(data) != self.digest:
            raise ImageError(f"{self.job.name}: changed while it was restored; run the command again")
        return data

    def whole(self) -> Picture:
        """The picture with its pixels, of an item that has one."""
        assert self.picture is not None
        return read_picture(self.bytes(), self.job.name) if self.hollow else self.picture

    def give_up(self) -> None:
        """Keep all of the picture but bytes and pixels: what a very large one cannot afford."""
        if self.picture is not None and not self.hollow:
            self.picture, self.hollow = self.picture.hollow, True
            self.data = b"" if self.job.source is not None else self.data


Group = list[Item]

IsDone = Callable[[Job, str], bool]
"""Whether the output of a job stands from an earlier run over bytes of that SHA-256."""


def read_groups(jobs: Sequence[Job], batch_size: int, is_done: IsDone) -> Iterator[Group]:
    """Groups of one size with their pictures read.

    Where a part of a group was done by a run that was killed, its pictures are read all the same:
    the others get the bytes that they would have had in an unbroken run.
    """
    for first in range(0, len(jobs), CHUNK):
        for group in group_by_size(jobs[first : first + CHUNK], batch_size):
            items = [_load(job, is_done) for job in group]
            decoded = [item if item.done else _decode(item) for item in items]
            if any(item.picture is not None for item in decoded):
                decoded = [_decode(item) if item.done else item for item in decoded]
            yield decoded


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


def _load(job: Job, is_done: IsDone) -> Item:
    """The bytes of a job's file."""
    try:
        data = _file_bytes(job)
    except OSError as error:
        return Item(job, error=f"{job.name}: cannot be read ({error.strerror})")
    except MemoryError:
        return Item(job, error=f"{job.name}: does not fit into memory")
    digest = sha256(data)
    return Item(job, data, digest if data else None, done=is_done(job, digest))


def _file_bytes(job: Job) -> bytes:
    return sys.stdin.buffer.read() if job.source is None else job.source.read_bytes()


def _decode(item: Item) -> Item:
    """The picture in an item's bytes."""
    if item.error is not None:
        return item
    try:
        return replace(item, picture=read_picture(item.data, item.job.name))
    except ImageError as error:
        return replace(item, error=str(error))
    except MemoryError:
        return replace(item, error=f"{item.job.name}: does not fit into memory")


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
        self.thread.join()  # a thread still in a decoder's C++ code when Python ends would abort the process
