"""Several workers for one run: a thread per device, or Ray Data tasks on an actor pool.

Both do the same: chunks of the plan go to `Run.do`, records come back in the plan's order. A chunk is
what groups are formed in, so outputs have the bytes that one worker would have written.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from rar_cli.errors import UsageError
from rar_cli.jobs.batch import Run, Stop
from rar_cli.jobs.plan import Job
from rar_cli.jobs.reading import CHUNK
from rar_cli.pictures.remote import place
from rar_cli.report.record import Record, to_json

if TYPE_CHECKING:
    import numpy as np

MakeRun = Callable[[dict[str, Record], Callable[[Record], None], Stop], Run]
"""(done, observe, stop) -> a run with a loaded model; called once per worker."""


def chunks_of(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    """The plan in the pieces that are handed out."""
    return [jobs[first : first + CHUNK] for first in range(0, len(jobs), CHUNK)]


def over_devices(
    jobs: Sequence[Job], makers: Sequence[MakeRun], done: dict[str, Record], stop: Stop
) -> Iterator[Record]:
    """One thread per device, each with a model of its own."""
    free: SimpleQueue[Run] = SimpleQueue()
    for make in makers:
        free.put(make(done, lambda record: None, stop))

    def do(chunk: Sequence[Job]) -> list[Record]:
        if stop.signal is not None:
            return []
        run = free.get()
        try:
            return run.records_of(chunk)
        finally:
            free.put(run)

    with ThreadPoolExecutor(len(makers)) as pool:
        for records in pool.map(do, chunks_of(jobs)):
            yield from records


def over_ray(
    jobs: Sequence[Job], make: MakeRun, done: Mapping[str, Record], workers: int | None, stop: Stop
) -> Iterator[Record]:
    """Ray Data tasks; a worker that dies is replaced and its chunk done again, over the same files.

    Connects to the cluster that `RAY_ADDRESS` names, else starts one on this machine.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"--engine ray: needs ray ({error}); install rar-cli[ray]") from error
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = workers or gpus or max(cpus // 2, 1)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        rows = [{"chunk": _to_text(chunk, done)} for chunk in chunks_of(jobs)]
        tasks = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            fn_constructor_args=(make, max(cpus // count, 1)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_gpus=1 if gpus else None,
            num_cpus=None if gpus else max(cpus // count, 1),
        )
        for row in tasks.iter_rows():
            yield from json.loads(row["records"])
            if stop.signal is not None:
                return
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1][:300]
        raise UsageError(f"--engine ray: a worker cannot go on ({reason})") from error
    finally:
        ray.shutdown()


class Worker:
    """Lives in an actor: loads the model once, then does chunks."""

    def __init__(self, make: MakeRun, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.done: dict[str, Record] = {}
        self.run = make(self.done, lambda record: None, Stop())

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[str]]:
        """{"chunk": [text]} -> {"records": [text]}."""
        return {"records": [self._do(str(text)) for text in batch["chunk"]]}

    def _do(self, text: str) -> str:
        chunk = json.loads(text)
        self.done.update(chunk["done"])
        return to_json_list(self.run.records_of([_to_job(row) for row in chunk["jobs"]]))


def to_json_list(records: Sequence[Record]) -> str:
    """Records as one text."""
    return "[" + ",".join(to_json(record) for record in records) + "]"


def _to_text(chunk: Sequence[Job], done: Mapping[str, Record]) -> str:
    rows = [{**vars(job), "source": str(job.source or ""), "target": str(job.target or "")} for job in chunk]
    earlier = {job.output: done[job.output] for job in chunk if job.output in done}
    return to_json({"jobs": rows, "done": earlier})


def _to_job(row: Mapping[str, Any]) -> Job:
    places = {name: place(row[name]) if row[name] else None for name in ("source", "target")}
    return Job(**{**row, **places})
