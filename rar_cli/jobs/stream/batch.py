"""A stream of files: read ahead -> restore -> write and log, in order, with bounded memory.

Pictures of one size form a group. The plan alone decides the groups, before anything is skipped. So the bytes of an
output depend neither on timing nor on where an earlier run was killed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from rar_cli.engine.engine import LARGE_PX, Engine, unit_range
from rar_cli.engine.restore import Outcome, restore
from rar_cli.jobs.logs.book import Standing, Stop
from rar_cli.jobs.naming.plan import Job
from rar_cli.jobs.stream.finishing import Finish
from rar_cli.jobs.stream.reading import Ahead, Group, Item, read_groups
from rar_cli.jobs.stream.sinks import FOREIGN
from rar_cli.jobs.stream.writing import Write, Writer
from rar_cli.loop.policy import Policy
from rar_cli.loop.rounds import Pass
from rar_cli.pictures.images import picture_to_image
from rar_cli.report.record import PictureRecord, Subject
from rar_cli.weights.manifest import Weights


@dataclass(frozen=True)
class Options:
    """What changes the bytes of an output, beside input, format and weights.

    devices: kinds of device that share the work, such as cpu or cuda. If there are several, any of them may restore a
    picture.
    """

    policy: Policy
    quality: int | None = None
    provenance: bool = True
    save_rounds: bool = False
    batch_size: int = 16
    devices: tuple[str, ...] = ("cpu",)

    def fingerprints(self, engine: Engine, weights: Weights) -> Callable[[str | None], str]:
        """Format of an output -> hash of everything that decides its bytes, given those of the input.

        The options count as the user gave them. A tile that shrinks later, for lack of memory, changes nothing here.
        """
        about = {
            **vars(self), "policy": self.policy.about(), "times": engine.times,
            "solver": engine.options.solver, "tile": engine.tile_px,
            "dtype": str(engine.dtype), "ensemble": engine.options.self_ensemble, "weights": weights.sha256,
        }  # fmt: skip

        @cache
        def fingerprint(kind: str | None) -> str:
            return hashlib.sha256(json.dumps({**about, "format": kind}, sort_keys=True).encode()).hexdigest()[:16]

        return fingerprint


@dataclass
class Run:
    """What stays the same over the jobs of one command.

    finish: writes each outcome; its sink and book are those of the run. on_pass: gets each round as it is judged.
    before_group: gets the names of the pictures that are restored next. after_group: called when they have been.
    """

    engine: Engine
    weights: Weights
    options: Options
    finish: Finish
    stop: Stop
    on_pass: Callable[[Pass], None] | None = None
    before_group: Callable[[Sequence[str]], None] | None = None
    after_group: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.fingerprint = self.options.fingerprints(self.engine, self.weights)

    def do(self, groups: Iterable[Sequence[Job]], ahead: bool = True) -> float:
        """Read, restore, write and log; returns the seconds once all started pictures are finished.

        ahead: read while other pictures are restored; not where a wait for standard input must end with the command.
        """
        started = time.perf_counter()
        read = read_groups(groups, self._standing)
        with Ahead(read) if ahead else nullcontext(read) as reader, Writer(self._close) as writer:
            self._restore_all(reader, writer)
        return time.perf_counter() - started

    def _restore_all(self, groups: Iterable[Group], writer: Writer) -> None:
        for group in groups:
            if self.before_group is not None:
                self.before_group([item.job.name for item in group])
            for record, write in self._restore(group):
                writer.put(record, write)
            if self.stop.signal is not None:
                break
            group.clear()  # large pictures are not held while the next ones are read
            if self.after_group is not None:
                self.after_group()

    def _standing(self, job: Job, digest: str) -> Standing:
        there = self.finish.sink.there(job.relative)
        if there is None:
            return Standing.OPEN
        return self.finish.book.standing(str(job.output), there, digest, self.fingerprint(job.format))

    def _close(self, record: PictureRecord) -> None:
        if self.finish.gallery is not None and record.status in {"failed", "skipped"}:
            self.finish.gallery.add_other(record.as_dict())
        self.finish.book.finish(record)

    def _restore(self, group: Group) -> Iterator[tuple[PictureRecord, Write | None]]:
        """One record per item, in order, each with the function that writes its output, or None."""
        ready = [item for item in group if item.picture is not None]
        started = time.perf_counter()
        outcomes: dict[int, Outcome | str] = {}
        for same in _by_size(ready):  # a header may lie, so a group may hold several sizes
            outcomes.update(zip(map(id, same), self._outcomes(same), strict=True))
        seconds = (time.perf_counter() - started) / max(len(ready), 1)
        for item in group:
            yield self._concluded(item, outcomes.get(id(item)), seconds)

    def _concluded(
        self, item: Item, outcome: Outcome | str | None, seconds: float
    ) -> tuple[PictureRecord, Write | None]:
        """An item's record, and the function that writes its output; None without an output."""
        blank = PictureRecord.of(self._subject(item))
        name = item.job.name
        if item.error is not None:
            return blank.failed(item.error), None
        if item.standing is Standing.DONE:
            return blank.skipped(), None
        if item.standing is Standing.FOREIGN:
            return blank.failed(f"{item.job.output}: {FOREIGN}"), None
        if not isinstance(outcome, Outcome):
            return blank.failed(f"{name}: restoring failed ({outcome}); try a smaller --tile"), None
        try:
            record = PictureRecord.of(self._subject(item), outcome.restoration, seconds)
        except ValueError as error:
            return blank.failed(f"{name}: {error}"), None
        return record, partial(self.finish, item, outcome, record)

    def _subject(self, item: Item) -> Subject:
        return Subject(
            input=item.job.name,
            output=item.job.output,
            size=item.picture.size if item.picture else None,
            weights=self.weights.name,
            weights_sha256=self.weights.sha256,
            input_sha256=item.digest,
            options_sha256=self.fingerprint(item.job.format),
        )

    def _outcomes(self, items: Sequence[Item]) -> Sequence[Outcome | str]:
        """An outcome for each picture, or what went wrong with it; where a batch fails, each one is tried alone."""
        try:
            return self._within_memory(items)
        except Exception as error:  # any fault of one picture, so that the others go on
            if len(items) > 1:
                return [outcome for item in items for outcome in self._outcomes([item])]
            return [f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"]

    def _within_memory(self, items: Sequence[Item]) -> tuple[Outcome, ...]:
        """Restore; where the memory does not suffice, again with half the batch, then with half the tile."""
        options = self.options
        while True:
            try:
                # Only `restore` holds the batch, so that it can free it once it is encoded.
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
