"""A stream of files: read ahead -> restore -> write and log, in order, with bounded memory.

Groups of pictures of one size are formed from the plan alone, before anything is skipped, so the
bytes of an output depend neither on timing nor on where an earlier run was killed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from rar_cli.engine.engine import LARGE_PX, Engine, unit_range
from rar_cli.engine.restore import Outcome, restore
from rar_cli.jobs.log import RoundLog, read_log
from rar_cli.jobs.plan import Job
from rar_cli.jobs.reading import Ahead, Group, Item, read_groups
from rar_cli.jobs.writing import Write, Writer
from rar_cli.loop.policy import Policy
from rar_cli.loop.rounds import Pass
from rar_cli.pictures.encoding import encode_picture, write_bytes
from rar_cli.pictures.images import Picture, as_8_bit, image_to_picture, picture_to_image
from rar_cli.report.figures import rounds_strip
from rar_cli.report.gallery import Gallery
from rar_cli.report.record import Record, describe_restoration
from rar_cli.version import __version__
from rar_cli.weights.find import Weights


@dataclass(frozen=True)
class Options:
    """What changes the bytes of an output, beside input and weights."""

    policy: Policy
    quality: int | None = None
    provenance: bool = True
    save_rounds: bool = False
    batch_size: int = 16

    def fingerprint(self, engine: Engine, weights: Weights) -> str:
        """Hash of everything that decides an output, given the input's bytes and the job's format."""
        about = {
            "policy": self.policy.about(), "quality": self.quality,
            "provenance": self.provenance, "rounds": self.save_rounds, "times": engine.times,
            "tile": engine.tile_px, "dtype": str(engine.dtype), "ensemble": engine.options.self_ensemble,
            "weights": weights.sha256,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


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

    def add(self, other: Summary) -> None:
        """Take a later run of the same command into account."""
        for name in ("restored", "accepted", "skipped", "failed", "rounds", "pixels", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.interrupted = other.interrupted

    def count(self, record: Record) -> None:
        """Take one record into account."""
        name = str(record["status"])
        setattr(self, name, getattr(self, name) + 1)
        if name != "skipped":
            self.rounds += max(len(record["rounds"]) - 1, 0)
            self.pixels += (record["width"] or 0) * (record["height"] or 0)


@dataclass
class Stop:
    """Set by a signal handler; the run finishes the group in hand and leaves."""

    signal: int | None = None


Observer = Callable[[Record], None]


@dataclass
class Run:
    """What stays the same over the jobs of one command.

    done: output -> record of earlier runs. observe: gets one record per picture, in order, on the
    writer's thread. gallery: collects what the report shows. on_pass: told of each round as it is judged.
    after_group: called when a group of pictures has been restored.
    """

    engine: Engine
    weights: Weights
    options: Options
    log: RoundLog | None
    done: dict[str, Record]
    observe: Observer
    stop: Stop
    gallery: Gallery | None = None
    on_pass: Callable[[Pass], None] | None = None
    after_group: Callable[[], None] | None = None

    def records_of(self, jobs: Sequence[Job]) -> list[Record]:
        """Do a part of a plan whose records somebody else logs."""
        found: list[Record] = []
        replace(self, log=None, observe=found.append).do(jobs)
        return found

    def do(self, jobs: Sequence[Job]) -> Summary:
        """Read ahead, restore, write and log; returns once everything in hand is finished."""
        fingerprint = self.options.fingerprint(self.engine, self.weights)
        summary = Summary()
        started = time.perf_counter()

        def finish(record: Record) -> None:
            if self.gallery is not None and record["status"] in {"failed", "skipped"}:
                self.gallery.add_other(record)
            take(record, summary, self.log, self.observe)

        def is_done(job: Job, digest: str) -> bool:
            return _is_done(job, digest, fingerprint, self.done)

        groups = read_groups(jobs, self.options.batch_size, is_done)
        # One picture on standard input: there is nothing to read ahead, and a wait for it must end with the command.
        alone = any(job.source is None for job in jobs)
        with nullcontext(groups) if alone else Ahead(groups) as reader, Writer(finish) as writer:
            for group in reader:
                for record, write in self._restore(group, fingerprint):
                    writer.put(record, write)
                if self.stop.signal is not None:
                    break
                group.clear()  # large pictures are not held while the next ones are read
                if self.after_group is not None:
                    self.after_group()
        summary.seconds = time.perf_counter() - started
        summary.interrupted = self.stop.signal
        return summary

    def _restore(self, group: Group, fingerprint: str) -> Iterator[tuple[Record, Write | None]]:
        """One record per item, in order, each with what is still to be written."""
        ready = [item for item in group if item.picture is not None]
        started = time.perf_counter()
        found: dict[str, Outcome | str] = {}
        for same in _by_size(ready):  # headers lie: what was grouped may differ once it is read
            found.update(self._outcomes(same))
        seconds = (time.perf_counter() - started) / max(len(ready), 1)
        for item in group:
            record = blank(item, self.weights, fingerprint)
            outcome = found.get(item.job.output)
            if item.done:
                yield {**record, "status": "skipped"}, None
            elif isinstance(outcome, Outcome):
                describe_restoration(record, outcome.restoration, seconds)
                yield record, self._writing(item, outcome, record)
            else:
                reason = item.error or f"{item.job.name}: restoring failed ({outcome}); try a smaller --tile"
                yield {**record, "error": reason}, None

    def _outcomes(self, items: Sequence[Item]) -> dict[str, Outcome | str]:
        """output -> its outcome, or what went wrong with the batch."""
        try:
            results: Sequence[Outcome | str] = self._within_memory(items)
        except (RuntimeError, MemoryError) as error:
            results = [" ".join(str(error).split())[:300] or type(error).__name__] * len(items)
        return {item.job.output: result for item, result in zip(items, results, strict=True)}

    def _within_memory(self, items: Sequence[Item]) -> tuple[Outcome, ...]:
        """Restore; where the memory does not suffice, again with half the batch, then with half the tile."""
        options = self.options
        while True:
            try:
                # Only `restore` holds the batch, so that it can let go of it once it is encoded.
                return restore(self.engine, self._batch(items), options.policy, options.save_rounds, self.on_pass)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            if self.engine.device.type == "cuda":
                torch.cuda.empty_cache()
            if len(items) > 1:
                half = len(items) // 2
                return self._within_memory(items[:half]) + self._within_memory(items[half:])
            if not self.engine.shrink_tile():
                raise MemoryError(f"out of memory with the smallest tile of {self.engine.tile_px} px")

    def _batch(self, items: Sequence[Item]) -> Tensor:
        """Pictures of one size as one tensor; a very large one gives up its own pixels for it."""
        images = [picture_to_image(item.whole()) for item in items]
        for item in items:
            if item.picture is not None and item.picture.size[0] * item.picture.size[1] > LARGE_PX:
                item.give_up()
        batch = _one_batch(images)
        return batch.pin_memory() if self.engine.device.type == "cuda" else batch

    def _writing(self, item: Item, outcome: Outcome, record: Record) -> Write:
        """What the writer's thread is to do for one picture."""
        job, picture, options = item.job, item.picture, self.options
        assert picture is not None
        accepted = outcome.image is None
        kind = job.format or picture.format

        def write() -> tuple[int, tuple[str, ...]]:
            warnings: tuple[str, ...] = ()
            if accepted and kind == picture.format:
                finished, data = picture, item.bytes()  # accepted as it is: the very bytes
            else:
                finished = _finished(item.whole() if accepted else picture, outcome, options, self.weights)
                data, warnings = encode_picture(finished, kind, options.quality)
            if job.target is None:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                write_bytes(data, job.target)
            if job.target is None and self.gallery is None:
                return len(data), warnings
            rounds = [image_to_picture(image, picture) for image in outcome.images]
            if job.target is not None and rounds:
                _write_rounds(job.target, item.whole(), rounds, outcome)
            if self.gallery is not None:
                before = item.whole()
                small = [as_8_bit(p).pixels for p in (before, before if accepted else finished, *rounds)]
                self.gallery.add(record, small[0], small[1], small[2:])
            return len(data), warnings

        return write


def blank(item: Item, weights: Weights, fingerprint: str) -> Record:
    """The record of a picture before anything is known of its restoration."""
    height, width = item.picture.size if item.picture else (None, None)
    return {
        "input": item.job.name, "output": item.job.output, "status": "failed", "stop": None,
        "best_round": None, "score_before": None, "score_after": None, "rounds": [],
        "width": width, "height": height, "seconds": 0.0, "weights": weights.name,
        "weights_sha256": weights.sha256, "version": __version__, "error": None, "warnings": [],
        "input_sha256": item.digest, "options_sha256": fingerprint,
        "output_bytes": None,
    }  # fmt: skip


def take(record: Record, summary: Summary, log: RoundLog | None, observe: Observer) -> None:
    """A picture is finished: log it, count it, show it."""
    if log is not None and record["status"] != "skipped":
        log.write(record)
    summary.count(record)
    observe(record)


def done_before(logs: Sequence[Path]) -> dict[str, Record]:
    """output -> its last record, from the logs of earlier runs."""
    return {str(r.get("output")): r for log in logs for r in read_log(log) if r.get("status") != "failed"}


def _is_done(job: Job, digest: str, fingerprint: str, done: dict[str, Record]) -> bool:
    record = done.get(job.output)
    if record is None or job.target is None:
        return False
    same = record.get("options_sha256") == fingerprint and record.get("input_sha256") == digest
    try:
        return same and job.target.stat().st_size == record.get("output_bytes")
    except OSError:
        return False


def _by_size(items: Sequence[Item]) -> Iterator[list[Item]]:
    sizes: dict[tuple[int, int], list[Item]] = {}
    for item in items:
        assert item.picture is not None
        sizes.setdefault(item.picture.size, []).append(item)
    yield from sizes.values()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is a lack of memory, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def _one_batch(images: Sequence[Tensor]) -> Tensor:
    """One tensor of pictures of one size; a single one is not copied, mixed depths become float."""
    if len(images) == 1:
        return images[0]
    alike = len({image.dtype for image in images}) == 1
    return torch.cat([image if alike else unit_range(image) for image in images])


def _finished(picture: Picture, outcome: Outcome, options: Options, weights: Weights) -> Picture:
    if outcome.image is None:
        return picture
    restored = image_to_picture(outcome.image, picture)
    if not options.provenance:
        return restored
    best = outcome.restoration.best_round
    text = f"rar {__version__} ({weights.name} {weights.sha256[:8]}, {best} {'round' if best == 1 else 'rounds'})"
    return replace(restored, metadata=picture.metadata.with_provenance(text))


def _write_rounds(target: Path, picture: Picture, rounds: Sequence[Picture], outcome: Outcome) -> None:
    """Every round beside the output, and all of them in one labelled strip."""
    for number, image in enumerate(rounds, 1):
        write_bytes(encode_picture(image, "PNG")[0], target.with_name(f"{target.stem}.round{number}.png"))
    labels = [f"round {r.index}: {r.score:.0f} {r.verdict.value}" for r in outcome.restoration.trace]
    strip = rounds_strip([as_8_bit(p).pixels for p in (picture, *rounds)], labels)
    write_bytes(encode_picture(Picture(strip, "PNG"), "PNG")[0], target.with_name(f"{target.stem}.rounds.png"))
