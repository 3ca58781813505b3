"""Preview: what `rar restore` would do with each picture, for `--dry-run`. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from rar_cli.errors import ImageError
from rar_cli.jobs.logs.book import OwnBook, Standing
from rar_cli.jobs.naming import names
from rar_cli.jobs.naming.plan import Job
from rar_cli.jobs.naming.target import Target
from rar_cli.jobs.request import Request, engine_of, weights_of
from rar_cli.jobs.stream.reading import groups_of, read_file
from rar_cli.jobs.stream.sinks import Sink
from rar_cli.pictures.images import sha256


def preview(jobs: Sequence[Job], request: Request, target: Target) -> Iterator[tuple[Job, Standing]]:
    """Each job with how its output stands. The model is loaded only where an earlier run must be compared.

    Raises UsageError where the run itself would refuse its options or the names of its files.
    """
    _ = request.bounds
    names.check_run(jobs, target.claims(request), target.rounds if request.save_rounds else None)
    book = OwnBook(target.known, None, lambda record: None, request.overwrite)

    @cache
    def fingerprint() -> Callable[[str | None], str]:
        from rar_cli.jobs.restore import kinds_of, options_of

        weights = weights_of(request)
        engine = engine_of(replace(request, device=request.device.split(",")[0]), weights)
        return options_of(request, engine, kinds_of(request)).fingerprints(engine, weights)

    sink = target.look()
    mine = {job.output for group in groups_of(jobs, request.batch_size, request.shard) for job in group}
    for job in jobs:  # in the order of the inputs; a run takes those of one size together
        if job.output in mine:
            yield job, _standing(job, sink, book, fingerprint)


def _standing(
    job: Job, sink: Sink | None, book: OwnBook, fingerprint: Callable[[], Callable[[str | None], str]]
) -> Standing:
    there = None if sink is None or job.fault else sink.there(job.relative)
    if there is None or job.source is None or book.overwrite:
        return Standing.OPEN
    output = str(job.output)
    if not book.replaces(output, there):
        return Standing.FOREIGN
    try:
        digest = sha256(read_file(job.source, job.name)[0])
    except ImageError:
        return Standing.OPEN  # the run will say what is wrong with it
    return book.standing(output, there, digest, fingerprint()(job.format))
