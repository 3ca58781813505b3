"""A stream of files: read ahead -> restore -> write and log, in order, with bounded memory.

Groups of pictures of one size are formed from the plan alone, before anything is skipped, so the
bytes of an output depend neither on timing nor on where an earlier run was killed.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from rar_cli.engine import Engine, Outcome, restore
from rar_cli.errors import ImageError, UsageError
from rar_cli.images import (
    Picture,
    encode_picture,
    image_to_picture,
    picture_to_image,
    read_picture,
    sha256,
    write_bytes,
)
from rar_cli.log import Record, RoundLog, read_log
from rar_cli.plan import Job
from rar_cli.types import Restoration, StopPolicy
from rar_cli.version import __version__
from rar_cli.weights import Weights

CHUNK = 64
"""Jobs whose sizes are looked up together to form groups."""

GROUP_PIXELS = 1_000_000
"""Most pixels in one group of several pictures; larger pictures go alone."""

AHEAD = 2
"""Groups read ahead, and groups waiting to be written."""


@dataclass(frozen=True)
class Options:
    """What changes the bytes of an output, beside input and weights."""

    policy: StopPolicy
    remove_mask: tuple[float, ...] | None = None
    quality: int | None = None
    provenance: bool = True
    save_rounds: bool = False
    batch_size: int = 16

    def fingerprint(self, engine: Engine, weights: Weights) -> str:
        """Hash of everything that decides an output, given the input's bytes and the job's format."""
        about = {
            "policy": vars(self.policy), "mask": self.remove_mask, "quality": self.quality,
            "provenance": self.provenance, "rounds": self.save_rounds, "times": engine.times,
            "tile": engine.tile_px, "dtype": str(engine.dtype), "weights": weights.sha256,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Item:
    """A job with what was read of it: a picture, or the error that stopped it."""

    job: Job
    data: bytes = b""
    picture: Picture | None = None
    error: str | None = None


@dataclass
class Summary:
    """Counts of a run. interrupted: the signal that ended it early, if any."""

    restored: int = 0
    accepted: int = 0
    skipped: int = 0
    failed: int = 0
    rounds: int = 0
    pixels: int = 0
    seconds: float = 0.0
    interrupted: int | None = None
    records: list[Record] = field(default_factory=list)

    def count(self, record: Record) -> None:
        """Take one record into account."""
        name = str(record["status"])
        setattr(self, name, getattr(self, name) + 1)
        if name != "skipped":
            self.rounds += max(len(record["rounds"]) - 1, 0)
            self.pixels += (record["width"] or 0) * (record["height"] or 0)


@dataclass
class Stop:
    """Raised from a signal handler; the run finishes the group in hand and leaves."""

    signal: int | None = None


Observer = Callable[[Record], None]


def run(
    jobs: Sequence[Job],
    engine: Engine,
    weights: Weights,
    options: Options,
    log: RoundLog | None,
    done: dict[str, Record],
    observe: Observer,
    stop: Stop,
) -> Summary:
    """Do the jobs; `observe` gets one record per picture, in order, on the writer's thread."""
    fingerprint = options.fingerprint(engine, weights)
    summary = Summary()
    started = time.perf_counter()

    def finish(record: Record) -> None:
        if log is not None and record["status"] != "skipped":
            log.write(record)
        summary.count(record)
        observe(record)

    with _Thread(_read_groups(jobs, options, fingerprint, done), stop) as reader, _Writer(finish) as writer:
        for group in reader:
            for record, write in _restore_group(group, engine, weights, options, fingerprint):
                writer.put(record, write)
            if stop.signal is not None:
                break
    summary.seconds = time.perf_counter() - started
    summary.interrupted = stop.signal
    return summary


def done_before(logs: Sequence[Path]) -> dict[str, Record]:
    """output -> its last record, from the logs of earlier runs."""
    return {str(r.get("output")): r for log in logs for r in read_log(log) if r.get("status") != "failed"}


# --- reading ------------------------------------------------------------------------------------

Group = list[Item]


def _read_groups(jobs: Sequence[Job], options: Options, fingerprint: str, done: dict[str, Record]) -> Iterator[Group]:
    for first in range(0, len(jobs), CHUNK):
        for group in group_by_size(jobs[first : first + CHUNK], options.batch_size):
            items = [_read(job) for job in group]
            # A group is either wholly done or done again as a whole, so that bytes never depend
            # on which of its pictures a killed run had finished.
            if all(_is_done(item, fingerprint, done) for item in items):
                items = [replace(item, picture=None, error="skipped") for item in items]
            yield items


def group_by_size(jobs: Sequence[Job], batch_size: int) -> list[list[Job]]:
    """Groups of equal size, in the order of their first job; unreadable and large ones go alone."""
    groups: list[list[Job]] = []
    open_groups: dict[tuple[int, int], list[Job]] = {}
    for job in jobs:
        size = _peek(job)
        most = min(batch_size, GROUP_PIXELS // max(size[0] * size[1], 1)) if size else 1
        current = open_groups.get(size) if size else None
        if current is None or len(current) >= most:
            current = []
            groups.append(current)
            if size:
                open_groups[size] = current
        current.append(job)
    return groups


def _peek(job: Job) -> tuple[int, int] | None:
    """(height, width) from the header alone, None where there is none to read."""
    if job.source is None:
        return None
    try:
        with Image.open(job.source) as image:
            turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8}
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # Pillow raises many kinds; the reader reports this file properly
        return None


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


def _is_done(item: Item, fingerprint: str, done: dict[str, Record]) -> bool:
    record = done.get(item.job.output)
    if record is None or item.job.target is None or item.error is not None:
        return False
    same = record.get("options_sha256") == fingerprint and record.get("input_sha256") == sha256(item.data)
    try:
        return same and item.job.target.stat().st_size == record.get("output_bytes")
    except OSError:
        return False


class _Thread:
    """Runs an iterator on a thread of its own, a bounded number of items ahead."""

    def __init__(self, source: Iterator[Group], stop: Stop) -> None:
        self.source, self.stop = source, stop
        self.queue: queue.Queue[Group | BaseException | None] = queue.Queue(AHEAD)
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        try:
            for group in self.source:
                self._put(group)
                if self.closed.is_set():
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

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
            yield item

    def __exit__(self, *_: object) -> None:
        self.closed.set()


# --- computing ----------------------------------------------------------------------------------

Write = Callable[[], tuple[int, tuple[str, ...]]]
"""Encodes and writes one output; returns (bytes written, warnings)."""


def _restore_group(
    group: Group, engine: Engine, weights: Weights, options: Options, fingerprint: str
) -> Iterator[tuple[Record, Write | None]]:
    """One record per item, in order, each with what is still to be written."""
    ready = [item for item in group if item.picture is not None]
    started = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    fault: str | None = None
    if ready:
        try:
            images = torch.cat([picture_to_image(item.picture) for item in ready if item.picture])
            if engine.device.type == "cuda":
                images = images.pin_memory()
            mask = None if options.remove_mask is None else torch.tensor(options.remove_mask)
            found = restore(engine, images, options.policy, mask, options.save_rounds)
            outcomes = {item.job.output: outcome for item, outcome in zip(ready, found, strict=True)}
        except (RuntimeError, MemoryError) as error:
            fault = " ".join(str(error).split())[:300] or type(error).__name__
    seconds = (time.perf_counter() - started) / max(len(ready), 1)
    for item in group:
        record = _blank(item, weights, fingerprint)
        outcome = outcomes.get(item.job.output)
        if outcome is not None and item.picture is not None:
            _describe(record, outcome.restoration, seconds)
            yield record, _writing(item, outcome, options, weights)
        elif item.error == "skipped":
            yield {**record, "status": "skipped", "error": None}, None
        else:
            reason = item.error or f"{item.job.name}: restoring failed ({fault}); try a smaller --tile"
            yield {**record, "status": "failed", "error": reason}, None


def _blank(item: Item, weights: Weights, fingerprint: str) -> Record:
    height, width = item.picture.size if item.picture else (None, None)
    return {
        "input": item.job.name, "output": item.job.output, "status": "failed", "stop": None,
        "best_round": None, "score_before": None, "score_after": None, "rounds": [],
        "width": width, "height": height, "seconds": 0.0, "weights": weights.name,
        "weights_sha256": weights.sha256, "version": __version__, "error": None, "warnings": [],
        "input_sha256": sha256(item.data) if item.data else None, "options_sha256": fingerprint,
        "output_bytes": None,
    }  # fmt: skip


def _describe(record: Record, restoration: Restoration, seconds: float) -> None:
    """Fill in what the loop found."""
    record["status"] = "accepted" if restoration.best_round == 0 else "restored"
    record["stop"] = restoration.stop.value
    record["best_round"] = restoration.best_round
    record["score_before"] = round(restoration.score_before, 2)
    record["score_after"] = round(restoration.score_after, 2)
    record["seconds"] = round(seconds, 4)
    record["rounds"] = [
        {
            "round": r.index, "score": round(r.score, 2), "verdict": r.verdict.value, "reason": r.reason,
            "degradations": {d.value: round(s, 3) for d, s in r.severities.items()},
            "seconds": round(r.seconds, 4),
        }
        for r in restoration.trace
    ]  # fmt: skip


def _writing(item: Item, outcome: Outcome, options: Options, weights: Weights) -> Write:
    """What the writer's thread is to do for one picture."""
    job, picture = item.job, item.picture
    assert picture is not None
    kind = job.format or picture.format

    def write() -> tuple[int, tuple[str, ...]]:
        best = outcome.restoration.best_round
        if outcome.image is None and kind == picture.format:
            warnings: tuple[str, ...] = ()
            data = item.data  # accepted as it is: the very bytes
        else:
            data, warnings = encode_picture(
                _finished(picture, outcome.image, best, options, weights), kind, options.quality
            )
        if job.target is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            write_bytes(data, job.target)
            for number, image in enumerate(outcome.images, 1):
                beside = job.target.with_name(f"{job.target.stem}.round{number}.png")
                write_bytes(encode_picture(image_to_picture(image, picture), "PNG")[0], beside)
        return len(data), warnings

    return write


def _finished(picture: Picture, image: Tensor | None, best_round: int, options: Options, weights: Weights) -> Picture:
    if image is None:
        return picture
    restored = image_to_picture(image, picture)
    if not options.provenance:
        return restored
    word = "round" if best_round == 1 else "rounds"
    text = f"rar {__version__} ({weights.name} {weights.sha256[:8]}, {best_round} {word})"
    return replace(restored, metadata=picture.metadata.with_provenance(text))


# --- writing ------------------------------------------------------------------------------------


class _Writer:
    """Writes outputs and reports records on one thread, in the order they were put."""

    def __init__(self, finish: Observer) -> None:
        self.finish = finish
        self.queue: queue.Queue[tuple[Record, Write | None] | None] = queue.Queue(AHEAD * 16)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.fault: BaseException | None = None

    def put(self, record: Record, write: Write | None) -> None:
        if self.fault is not None:
            raise self.fault
        self.queue.put((record, write))

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            if self.fault is not None:
                continue
            try:
                self._one(*item)
            except BaseException as error:
                self.fault = error

    def _one(self, record: Record, write: Write | None) -> None:
        if write is not None:
            try:
                record["output_bytes"], warnings = write()
                record["warnings"] = list(warnings)
            except ImageError as error:
                reason = str(error) if str(error).startswith(record["output"]) else f"{record['input']}: {error}"
                record.update(status="failed", error=reason)
        self.finish(record)

    def __enter__(self) -> _Writer:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.queue.put(None)
        self.thread.join()
        if self.fault is not None and kind is None:
            if isinstance(self.fault, OSError):
                raise UsageError(f"the log cannot be written ({self.fault.strerror})") from self.fault
            raise self.fault
