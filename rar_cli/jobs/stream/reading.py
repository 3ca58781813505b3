"""Reading: jobs -> groups of pictures of one size, a bounded number ahead of the work."""

from __future__ import annotations

import io
import os
import queue
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from rar_cli.errors import ImageError
from rar_cli.jobs.logs.book import Standing
from rar_cli.jobs.naming.plan import Job, Shard
from rar_cli.jobs.naming.walk import kind_of
from rar_cli.pictures.decoding import picture_size, read_picture
from rar_cli.pictures.files import Stamp
from rar_cli.pictures.images import Picture, sha256
from rar_cli.pictures.remote import is_remote

CHUNK = 64
"""Jobs whose sizes are looked up together to form groups."""

GROUP_PIXELS = 1_000_000
"""Most pixels in one group of several pictures; larger pictures go alone."""

AHEAD = 2
"""Most groups read ahead."""

AHEAD_PIXELS = 32_000_000
"""Most pixels read ahead; a larger picture waits until it is alone."""

MOST_BYTES = 2**33
"""Of one file: more than the largest picture takes as floats without compression."""

BLOCK_BYTES = 2**20


@dataclass
class Item:
    """A job with what was read of it: a picture, or the error that stopped it.

    data, digest: the file's bytes and their SHA-256. stamp: permissions and time of the file they were read from.
    standing: how its output stands. If it is done, the picture is read only where its group needs it.
    hollow: bytes and pixels were dropped to save memory; they are read again when needed.
    """

    job: Job
    data: bytes = b""
    digest: str | None = None
    stamp: Stamp | None = None
    picture: Picture | None = None
    error: str | None = None
    standing: Standing = Standing.OPEN
    hollow: bool = False

    def bytes(self) -> bytes:
        """The file's bytes. Raises ImageError where it has changed since it was first read."""
        if self.data or self.job.source is None:
            return self.data
        data, _ = read_file(self.job.source, self.job.name)
        if sha256(data) != self.digest:
            raise ImageError(f"{self.job.name}: changed while it was restored; run the command again")
        return data

    def whole(self) -> Picture:
        """The picture with its pixels, of an item that has one."""
        assert self.picture is not None
        return read_picture(self.bytes(), self.job.name) if self.hollow else self.picture

    def give_up(self) -> None:
        """Drop bytes and pixels of the picture, to save the memory of a very large one."""
        if self.picture is not None and not self.hollow:
            self.picture, self.hollow = self.picture.hollow, True
            self.data = b"" if self.job.source is not None else self.data


Group = list[Item]

Judge = Callable[[Job, str], Standing]
"""How the output of a job stands, given the SHA-256 of its input's bytes."""


def read_groups(groups: Iterable[Sequence[Job]], judge: Judge) -> Iterator[Group]:
    """Groups of one size with their pictures read.

    Where a part of a group was done by a run that was killed, its pictures are read all the same:
    the others get the bytes that they would have had in an unbroken run.
    """
    for group in groups:
        loaded = [_load(job, judge) for job in group]
        items = [_decode(item) if item.standing is Standing.OPEN else item for item in loaded]
        if any(item.picture is not None for item in items):
            items = [item if item.standing is Standing.OPEN else _decode(item) for item in items]
        yield items


def groups_of(jobs: Sequence[Job], batch_size: int, shard: Shard = Shard()) -> Iterator[list[Job]]:
    """The groups of a plan, or those of one shard of it.

    Groups are formed from the whole plan, before anything is skipped or shared out, so that an output has the same
    bytes however often a run was killed and into how many shards it was cut. A group belongs to the shard of its
    first picture's name. Pictures that go alone, which most photographs do, so belong to a shard by their own name.
    """
    for first in range(0, len(jobs), CHUNK):
        for group in group_by_size(jobs[first : first + CHUNK], batch_size):
            if shard.holds(group[0].relative):
                yield group


def group_by_size(jobs: Sequence[Job], batch_size: int) -> list[list[Job]]:
    """Groups of equal size, in the order of their first job; unreadable and large ones go alone."""
    groups: list[list[Job]] = []
    open_groups: dict[tuple[int, int], list[Job]] = {}
    for job in jobs:
        size = None if job.source is None or job.fault else picture_size(job.source)
        most = min(batch_size, GROUP_PIXELS // max(size[0] * size[1], 1)) if size else 1
        current = open_groups.get(size) if size else None
        if current is None or len(current) >= most:
            current = []
            groups.append(current)
            if size:
                open_groups[size] = current
        current.append(job)
    return groups


def read_file(path: Path, name: str) -> tuple[bytes, Stamp | None]:
    """(bytes, stamp) of a file; another file system has no stamp. Raises ImageError that begins with `name`."""
    try:
        if is_remote(path):
            with path.open("rb") as file:
                return read_stream(file, name), None
        with open(path, "rb", opener=_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise ImageError(f"{name}: is no file but {kind_of(about.st_mode)}; left alone")
            return read_stream(file, name, about.st_size), Stamp.of(about)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise ImageError(f"{name}: does not fit into memory") from error


def read_stream(file: IO[bytes], name: str, size: int = 0) -> bytes:
    """All bytes of a file. size: its length if known. Raises ImageError for more than `MOST_BYTES`."""
    whole = io.BytesIO()
    while size <= MOST_BYTES and (block := file.read(BLOCK_BYTES)):
        whole.write(block)
        size = max(size, whole.tell())
    if size > MOST_BYTES:
        raise ImageError(f"{name}: has more than {MOST_BYTES >> 30} GiB, which no picture needs; left alone")
    return whole.getvalue()


def _without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for the writer of a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _load(job: Job, judge: Judge) -> Item:
    """The bytes of a job's file, and how its output stands."""
    if job.fault is not None:
        return Item(job, error=job.fault)
    try:
        if job.source is None:
            data, stamp = read_stream(sys.stdin.buffer, job.name), None
        else:
            data, stamp = read_file(job.source, job.name)
    except ImageError as error:
        return Item(job, error=str(error))
    digest = sha256(data)
    return Item(job, data, digest if data else None, stamp, standing=judge(job, digest))


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
