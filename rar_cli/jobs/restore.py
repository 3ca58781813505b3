"""`rar restore`: lock the folder, open the log, load the model, run the stream of pictures. Skips finished work."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from rar_cli.compute.device import pick_device
from rar_cli.compute.tiling import tiles_shown
from rar_cli.compute.tracing import profiled
from rar_cli.engine.engine import Engine
from rar_cli.errors import UsageError
from rar_cli.jobs.logs import lock, log
from rar_cli.jobs.logs.book import Book, OwnBook, Stop, Summary
from rar_cli.jobs.naming import names
from rar_cli.jobs.naming.plan import Job
from rar_cli.jobs.naming.target import Target
from rar_cli.jobs.request import Request, engine_of, weights_of
from rar_cli.jobs.stream.batch import Options, Run
from rar_cli.jobs.stream.finishing import Finish
from rar_cli.jobs.stream.reading import groups_of
from rar_cli.jobs.stream.sinks import sink_for
from rar_cli.jobs.stream.watch import Watch
from rar_cli.jobs.stream.workers import over_devices, over_ray
from rar_cli.pictures.files import sweep
from rar_cli.pictures.remote import is_remote
from rar_cli.report.gallery import MOST, Gallery
from rar_cli.report.record import PictureRecord
from rar_cli.types import EngineKind, Round
from rar_cli.weights.manifest import Weights


class Reporter(Protocol):
    """Shows a run as it goes. Keeps only the records that the closing table shows."""

    def __enter__(self) -> Reporter: ...

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, record: PictureRecord) -> None: ...

    def show_round(self, this: Round) -> None:
        """One round of a picture that is restored alone, as it happens."""
        ...

    def expect(self, total: int) -> None:
        """So many pictures are to come."""
        ...

    def begin(self, names: Sequence[str]) -> None:
        """These pictures are restored next."""
        ...

    def rest(self) -> None:
        """The run waits for new files."""
        ...

    def show_tile(self, done: int, total: int) -> None:
        """So many tiles of a large picture are done."""
        ...

    @property
    def records(self) -> list[PictureRecord]:
        """Records worth showing in the closing table."""
        ...


@dataclass
class Session:
    """One run of `rar restore`: what its parts share."""

    request: Request
    target: Target
    stop: Stop
    reporter: Reporter
    watch: Watch | None = None

    def run(self, jobs: Sequence[Job]) -> Summary:
        """Do the jobs of a plan, then what `watch` brings, until stopped. Raises UsageError, WeightsError."""
        request, target = self.request, self.target
        _ = request.bounds  # before anything slow: bad options fail at once
        names.check_run(jobs, target.claims(request), target.rounds if request.save_rounds else None)
        self._check_workers()
        weights = weights_of(request)
        with ExitStack() as stack:
            if target.folder is not None and not is_remote(target.folder):
                stack.enter_context(lock.held(target.folder, request.shard))
            elif target.root is not None and not is_remote(target.root):
                sweep(target.root, deep=False)  # of one file: its folder may hold anything below it
            path = target.log(request.log, request.shard)
            round_log = None if path is None else stack.enter_context(log.RoundLog(path))
            book = OwnBook(target.known, round_log, self.reporter, request.overwrite)
            stack.enter_context(self.reporter)
            if self._spread:
                self._share(jobs, book)
            else:
                self._do(jobs, weights, book)
        book.summary.interrupted = self.stop.signal
        book.summary.records = self.reporter.records
        return book.summary

    @property
    def _spread(self) -> bool:
        return "," in self.request.device or self.request.engine == EngineKind.RAY

    def _check_workers(self) -> None:
        request = self.request
        if request.engine not in list(EngineKind):
            raise UsageError(f"--engine {request.engine}: use {', '.join(EngineKind)}")
        single = self.target.folder is None or self.watch is not None
        if self._spread and (single or request.report or request.profile):
            raise UsageError("several workers: need a folder as OUTPUT, and go without --watch, --report and --profile")
        for device in request.device.split(",") if request.engine == EngineKind.LOCAL else ():
            pick_device(device)

    def _do(self, jobs: Sequence[Job], weights: Weights, book: OwnBook) -> None:
        """One worker, in this thread."""
        request, summary = self.request, book.summary
        gallery = self._gallery(len(jobs)) if request.report is not None else None
        run = make_run(request, self.target, book, self.stop, weights)
        run.finish.gallery = gallery
        run.before_group = self.reporter.begin
        if len(jobs) == 1 and self.watch is None:
            run.on_pass = lambda step: self.reporter.show_round(step.rounds[0])
        groups = groups_of(jobs, request.batch_size, request.shard)
        if request.shard.count > 1:
            groups = iter(mine := list(groups))
            self.reporter.expect(sum(len(group) for group in mine))
        with profiled(request.profile) as run.after_group, tiles_shown(self.reporter.show_tile):
            summary.seconds = run.do(groups, ahead=all(job.source is not None for job in jobs))
        expected = len(jobs)
        while self.watch is not None and self.stop.signal is None:
            self.reporter.rest()
            new = self.watch(lambda: self.stop.signal is not None)
            expected += len(new)
            self.reporter.expect(expected)
            summary.seconds += run.do(groups_of(new, request.batch_size, request.shard))
        if gallery is not None and request.report is not None:
            gallery.write(request.report, summary.seconds, summary.pixels / 1e6)

    def _gallery(self, count: int) -> Gallery:
        return Gallery(f"restored into {self.target.text}", count if self.watch is None else MOST, self.request.choice)

    def _share(self, jobs: Sequence[Job], book: OwnBook) -> None:
        """Several workers, over one book."""
        request = self.request
        if request.engine == EngineKind.RAY:
            make = partial(make_run, request, self.target)
            book.summary.seconds = over_ray(jobs, make, book, request, self.stop)
        else:
            runs = [
                make_run(replace(request, device=device), self.target, book, self.stop, kinds=kinds_of(request))
                for device in request.device.split(",")
            ]
            book.summary.seconds = over_devices(jobs, runs, request, self.stop)


def make_run(
    request: Request,
    target: Target,
    book: Book,
    stop: Stop,
    weights: Weights | None = None,
    kinds: tuple[str, ...] = (),
) -> Run:
    """Load the model and make ready; once per worker.

    weights: where this process has verified them. kinds: of device that share the work, where there are several.
    """
    weights = weights or weights_of(request)
    engine = engine_of(request, weights)
    options = options_of(request, engine, kinds)
    rounds = target.rounds_sink() if request.save_rounds else None
    finish = Finish(sink_for(target.root, book.replaces), book, request.quality, request.provenance, rounds)
    return Run(engine, weights, options, finish, stop)


def kinds_of(request: Request) -> tuple[str, ...]:
    """The kinds of device that share the work. Raises UsageError where one is not there."""
    return tuple(sorted({pick_device(device).type for device in request.device.split(",")}))


def options_of(request: Request, engine: Engine, kinds: tuple[str, ...] = ()) -> Options:
    """The options of a request that change the bytes of an output."""
    return Options(
        policy=engine.policy.within(request.bounds),
        quality=request.quality,
        provenance=request.provenance,
        save_rounds=request.save_rounds,
        batch_size=request.batch_size,
        devices=kinds or (engine.device.type,),
    )
