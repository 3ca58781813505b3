"""Several workers for one run: a thread per device, or Ray Data tasks on an actor pool.

Each worker gets a part of the plan. The groups are those of the whole plan, so the outputs have the bytes that one
worker would have written. Records reach the book of the run as pictures are finished, in any order.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from rar_cli.errors import UsageError
from rar_cli.jobs.logs.book import Book, OwnBook, Stop
from rar_cli.jobs.naming.plan import Job, Shard
from rar_cli.jobs.request import Request
from rar_cli.jobs.stream.batch import Run
from rar_cli.jobs.stream.distant import DistantBook, Line, serving
from rar_cli.jobs.stream.reading import CHUNK, groups_of
from rar_cli.pictures.remote import place
from rar_cli.report.record import to_json

if TYPE_CHECKING:
    import numpy as np

MakeRun = Callable[[Book, Stop], Run]
"""A run with a loaded model; called once per worker."""

STDERR = 2
"""Its file descriptor."""

PARTS_EACH = 4
"""Fewest parts per worker that a small plan is cut into, as far as it has groups."""


@dataclass(frozen=True)
class Part:
    """Every `count`-th group of some jobs, beginning with group `index`: what one worker does at a time."""

    jobs: Sequence[Job]
    index: int
    count: int

    def groups(self, batch_size: int, shard: Shard) -> Iterator[list[Job]]:
        """Its groups."""
        return islice(groups_of(self.jobs, batch_size, shard), self.index, None, self.count)


def parts_of(jobs: Sequence[Job], workers: int) -> list[Part]:
    """The plan in pieces, enough of them that every worker has something to do."""
    chunks = [jobs[first : first + CHUNK] for first in range(0, len(jobs), CHUNK)]
    count = min(-(-PARTS_EACH * workers // max(len(chunks), 1)), CHUNK)
    return [Part(chunk, index, count) for chunk in chunks for index in range(min(count, len(chunk)))]


def over_devices(jobs: Sequence[Job], runs: Sequence[Run], request: Request, stop: Stop) -> float:
    """One thread per device, each with a model of its own; returns the seconds."""
    started = time.perf_counter()
    free: SimpleQueue[Run] = SimpleQueue()
    for run in runs:
        free.put(run)

    def do(part: Part) -> None:
        if stop.signal is not None:
            return
        run = free.get()
        try:
            run.do(part.groups(request.batch_size, request.shard))
        finally:
            free.put(run)

    with ThreadPoolExecutor(len(runs)) as pool:
        tasks = [pool.submit(do, part) for part in parts_of(jobs, len(runs))]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return time.perf_counter() - started


def over_ray(jobs: Sequence[Job], make: MakeRun, book: OwnBook, request: Request, stop: Stop) -> float:
    """Ray Data tasks; a worker that dies is replaced and its part done again, over the same files.

    Connects to the cluster that `RAY_ADDRESS` names, else starts one on this machine. Returns the seconds.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"--engine ray: needs ray ({error}); install rar-cli[ray]") from error
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong comes back as an exception
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with _without_stderr():
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    # Whatever log_to_driver says, Ray prints on stdout that a worker died, and records go there.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    started = time.perf_counter()
    try:
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = request.workers or gpus or max(cpus // 2, 1)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        with serving(book, stop, ray.util.get_node_ip_address()) as leader:
            rows = [{"part": _to_text(part)} for part in parts_of(jobs, count)]
            tasks = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                Worker,
                fn_constructor_args=(make, leader.line, request, max(cpus // count, 1)),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=count),
                num_gpus=1 if gpus else None,
                num_cpus=None if gpus else max(cpus // count, 1),
            )
            for _ in tasks.iter_rows():
                leader.raise_fault()
            leader.raise_fault()
    except ray.exceptions.RayError as error:
        leader.raise_fault()
        reason = str(error).strip().splitlines()[-1][:300]
        raise UsageError(f"--engine ray: a worker cannot go on ({reason})") from error
    finally:
        ray.shutdown()
    return time.perf_counter() - started


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Nothing of what is written to stderr shows for the while; C++ announces its log level there."""
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(STDERR)
        os.dup2(nowhere.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)


class Worker:
    """Lives in an actor: loads the model once, then does parts of the plan."""

    def __init__(self, make: MakeRun, line: Line, request: Request, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.request, self.stop = request, Stop()
        self.run = make(DistantBook(line, self.stop), self.stop)

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bool]]:
        """{"part": [text]} -> {"done": [bool]}; False where the run was to stop."""
        return {"done": [self._do(str(text)) for text in batch["part"]]}

    def _do(self, text: str) -> bool:
        if self.stop.signal is None:
            self.run.do(_to_part(json.loads(text)).groups(self.request.batch_size, self.request.shard))
        return self.stop.signal is None


def _to_text(part: Part) -> str:
    rows = [{**vars(job), "source": str(job.source or ""), "target": str(job.target or "")} for job in part.jobs]
    return to_json({"jobs": rows, "index": part.index, "count": part.count})


def _to_part(about: Mapping[str, Any]) -> Part:
    return Part([_to_job(row) for row in about["jobs"]], about["index"], about["count"])


def _to_job(row: Mapping[str, Any]) -> Job:
    places = {name: place(row[name]) if row[name] else None for name in ("source", "target")}
    return Job(**{**row, **places})
