"""`rar bench`: a request -> suites and peers -> the JSON document."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rar_cli.errors import UsageError
from rar_cli.jobs.request import Request, engine_of, weights_of
from rar_cli.report.gallery import Gallery
from rar_cli.weights.find import shipped

if TYPE_CHECKING:
    from rar_cli.bench.suites import Suite


@dataclass(frozen=True)
class BenchRequest:
    """The options of `rar bench`, parsed."""

    suite: str | None = None
    data: Path | None = None
    degraded: Path | None = None
    reference: Path | None = None
    peers: bool = False
    commands: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    max_rounds: int = 4
    report: Path | None = None
    policies: bool = False


def run_bench(request: BenchRequest, model: Request) -> dict[str, Any]:
    """Choose suites and peers, run them, return the JSON document. Raises UsageError, WeightsError."""
    from rar_cli.bench.peers import PEERS, command
    from rar_cli.bench.run import Terms, bench
    from rar_cli.bench.simple import simple_policies

    suites = _suites(request)
    peers = dict(PEERS) if request.peers else {}
    peers.update(command(text) for text in request.commands)
    weights = weights_of(model)
    engine = engine_of(model, weights)
    peers |= simple_policies(engine) if request.policies else {}
    gallery = None if request.report is None else Gallery("rar bench")
    started = time.perf_counter()
    result = bench(suites, engine, weights, peers, Terms(request.seed, request.max_rounds), gallery)
    if gallery is not None and request.report is not None:
        seconds = time.perf_counter() - started
        gallery.write(request.report, seconds, (result["megapixels_per_second"] or 0.0) * seconds)
    return result


def _suites(request: BenchRequest) -> list[Suite]:
    from rar_cli.bench.suites import NAMES, paired, synthetic

    if (request.degraded is None) != (request.reference is None):
        raise UsageError("--degraded and --reference go together")
    if request.degraded is not None and request.reference is not None:
        return paired(request.degraded, request.reference, request.limit)
    name = request.suite
    if name in NAMES:
        if request.data is None:
            raise UsageError(f"suite {name} is made from clean pictures: give their folder with --data")
        return synthetic(name, request.data, request.limit, request.seed)
    folder = shipped("samples") if name is None else Path(name)
    if not folder.is_dir():
        raise UsageError(f"{name}: neither a folder nor a suite; suites: {', '.join(NAMES)}")
    for reference in ("reference", "clean"):
        if (folder / "degraded").is_dir() and (folder / reference).is_dir():
            return paired(folder / "degraded", folder / reference, request.limit)
    return synthetic("mid", folder, request.limit, request.seed)
