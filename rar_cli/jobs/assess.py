"""`rar assess`: files -> what is wrong with each, and where."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from rar_cli.engine.engine import Engine
from rar_cli.engine.places import places
from rar_cli.engine.restore import assess
from rar_cli.errors import ImageError
from rar_cli.jobs.logs.book import Stop
from rar_cli.jobs.naming.names import HEATMAP
from rar_cli.jobs.naming.walk import STREAM, Found
from rar_cli.jobs.request import Request, engine_of, weights_of
from rar_cli.jobs.stream.reading import read_file, read_stream
from rar_cli.loop.policy import Policy
from rar_cli.loop.rounds import looks_of
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.files import write_bytes
from rar_cli.pictures.formats import FORMATS
from rar_cli.pictures.images import Picture, picture_to_image
from rar_cli.pictures.tags.metadata import Metadata
from rar_cli.report.explain import explain
from rar_cli.report.figures import heatmap
from rar_cli.report.record import AssessmentRecord, plan_to_json, rounded, rounded_db, rounded_score
from rar_cli.report.words import describe
from rar_cli.types import Look, Verdict


def assess_files(
    files: Sequence[Found | None], request: Request, stop: Stop, explained: bool = False
) -> Iterator[AssessmentRecord]:
    """One record per file, as the contract has it; None stands for standard input.

    explained: each record also says in words what is wrong and where.
    """
    engine = engine_of(request, weights_of(request))
    policy = engine.policy.within(request.bounds)
    for found in files:
        if stop.signal is not None:
            return
        started = time.perf_counter()
        record = _record(found, engine, policy, explained)
        yield replace(record, seconds=round(time.perf_counter() - started, 4))


def _record(found: Found | None, engine: Engine, policy: Policy, explained: bool) -> AssessmentRecord:
    """The record of one file. Any fault of reading or assessing fails this file alone."""
    name = STREAM if found is None else str(found.source)
    if found is not None and found.fault is not None:
        return AssessmentRecord(name, error=found.fault)
    try:
        data = read_stream(sys.stdin.buffer, name) if found is None else read_file(found.source, name)[0]
        return assessed(name, read_picture(data, name), engine, policy, explained)
    except ImageError as error:
        return AssessmentRecord(name, error=str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return AssessmentRecord(name, error=f"{name}: assessing failed ({reason}); try a smaller --tile")


def assessed(name: str, picture: Picture, engine: Engine, policy: Policy, explained: bool) -> AssessmentRecord:
    """The record of a picture that could be read."""
    image = picture_to_image(picture)
    assessment = assess(engine, image)
    (look,) = looks_of(assessment)
    degradations = rounded(look.named)
    decision = policy.decide([look], [])
    height, width = picture.size
    return AssessmentRecord(
        name, rounded_score(look.score), degradations, "accept" if decision.verdict is Verdict.ACCEPT else "restore",
        describe(degradations), width=width, height=height,
        reason=decision.reason, plan=plan_to_json(decision.plan), expected_gain_db=rounded_db(decision.expected_db),
        explanation=_explained(look, engine, image, picture.size) if explained else None,
    )  # fmt: skip


def _explained(look: Look, engine: Engine, image: Tensor, size: tuple[int, int]) -> str:
    return explain(look.score, np.asarray(look.severities), places(engine, image), size)


def write_heatmap(source: Path, target: Path, request: Request) -> None:
    """`rar assess --heatmap`: draw where the assessor sees degradations. Raises ImageError, UsageError."""
    engine = engine_of(request, weights_of(request))
    picture = read_picture(read_file(source, str(source))[0], str(source))
    metadata = Metadata().with_provenance(HEATMAP)  # by which the next one knows that it may replace this one
    drawn = Picture(heatmap(engine, picture_to_image(picture)), "PNG", metadata=metadata)
    write_bytes(encode_picture(drawn, FORMATS[target.suffix.lower()])[0], target)
