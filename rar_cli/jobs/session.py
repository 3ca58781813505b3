"""One run of a command: load the model, take the lock, open the log, stream the files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from filelock import FileLock, Timeout

from rar_cli.compute.tracing import profiled
from rar_cli.engine.engine import Engine, assess, mask_of, pick_device
from rar_cli.engine.places import places
from rar_cli.errors import ImageError, UsageError
from rar_cli.jobs import batch, log
from rar_cli.jobs.batch import Options, Run, Stop, Summary
from rar_cli.jobs.plan import Job, Shard
from rar_cli.jobs.watch import Watch
from rar_cli.jobs.workers import over_devices, over_ray
from rar_cli.loop.verdict import judge
from rar_cli.networks.model import Rar
from rar_cli.pictures.encoding import encode_picture, write_bytes
from rar_cli.pictures.images import FORMATS, WRITABLE, Picture, picture_to_image, read_picture
from rar_cli.pictures.remote import is_remote, place
from rar_cli.report.explain import explain
from rar_cli.report.figures import heatmap
from rar_cli.report.gallery import MOST, Gallery
from rar_cli.report.record import Record
from rar_cli.report.words import Choice, describe
from rar_cli.types import DEGRADATIONS, TILE_PX, Degradation, Round, StopPolicy, Verdict
from rar_cli.weights.find import Weights, cached, find, is_hub_id, shipped

if TYPE_CHECKING:
    from rar_cli.bench.suites import Suite

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Request:
    """The options of a command, parsed."""

    weights: str = "rar-s"
    device: str = "auto"
    dtype: str = "auto"
    tile_px: int = TILE_PX
    steps: int = 1
    self_ensemble: bool = False
    max_rounds: int = 4
    accept: float | None = None
    only: tuple[Degradation, ...] = ()
    keep: tuple[Degradation, ...] = ()
    quality: int | None = None
    provenance: bool = True
    save_rounds: bool = False
    batch_size: int = 16
    overwrite: bool = False
    log: Path | None = None
    report: Path | None = None
    shard: Shard = Shard()
    engine: str = "local"
    workers: int | None = None
    profile: Path | None = None

    def policy(self, fitted: StopPolicy) -> StopPolicy:
        """The policy fitted with the weights, with what the user asked for."""
        accept = fitted.accept_score if self.accept is None else self.accept
        return replace(fitted, max_rounds=self.max_rounds, accept_score=accept)


class Reporter(Protocol):
    """Shows a run as it goes; keeps nothing that grows unless it is shown at the end."""

    def __enter__(self) -> Reporter: ...

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, record: Record) -> None: ...

    def show_round(self, this: Round) -> None:
        """One round of a picture that is restored alone, as it happens."""
        ...

    @property
    def records(self) -> list[Record]:
        """Records worth showing in the closing table."""
        ...


def restore_jobs(
    jobs: Sequence[Job],
    output: str,
    request: Request,
    stop: Stop,
    reporter: Reporter,
    watch: Watch | None = None,
) -> Summary:
    """`rar restore`: do the jobs of a plan, resuming what is done; then what `watch` brings, until stopped."""
    mask_of(request.only, request.keep)  # before anything slow: bad options fail at once
    alone = output == "-" or any(str(job.target) == str(place(output)) for job in jobs)
    folder = None if alone else place(output)
    devices = request.device.split(",")
    if request.engine not in ENGINES:
        raise UsageError(f"--engine {request.engine}: use {', '.join(ENGINES)}")
    spread = len(devices) > 1 or request.engine == "ray"
    if spread and (folder is None or watch is not None or request.report or request.profile):
        raise UsageError("several workers: need a folder as OUTPUT, and go without --watch, --report and --profile")
    for device in devices if request.engine == "local" else ():
        pick_device(device)
    weights = _weights(request.weights)
    stack = ExitStack()
    if folder is not None and is_remote(folder) and request.log is None:
        raise UsageError(f"{output}: name a local --log FILE; logs cannot grow on that file system")
    if folder is not None and not is_remote(folder):
        _lock(folder, request.shard, stack)
    with stack:
        records, done = None, {}
        path = request.log or (None if folder is None else folder / _log_name(request.shard))
        if path is not None:
            earlier = [path]
            if folder is not None and not is_remote(folder):
                earlier += sorted(folder.glob("rounds*.jsonl"))
            done = {} if request.overwrite else batch.done_before(earlier)
            records = stack.enter_context(log.RoundLog(path))
        stack.enter_context(reporter)
        if spread:
            summary = _spread(jobs, request, devices, done, records, reporter, stop)
        else:
            summary = _alone(jobs, output, request, weights, done, records, reporter, stop, watch)
    if spread and folder is not None and not is_remote(folder) and request.shard.count == 1:
        _sweep(folder)
    summary.records = reporter.records
    return summary


def _alone(
    jobs: Sequence[Job],
    output: str,
    request: Request,
    weights: Weights,
    done: dict[str, Record],
    records: log.RoundLog | None,
    reporter: Reporter,
    stop: Stop,
    watch: Watch | None,
) -> Summary:
    """One worker, in this thread."""
    choice = Choice(request.only, request.keep)
    expected = len(jobs) if watch is None else MOST
    gallery = Gallery(f"restored into {output}", expected, choice) if request.report is not None else None
    run = replace(make_run(request, done, reporter, stop, weights), log=records, gallery=gallery)
    if len(jobs) == 1 and watch is None:
        run.on_pass = lambda step: reporter.show_round(step.rounds[0])
    with profiled(request.profile) as run.after_group:
        summary = run.do(jobs)
    while watch is not None and stop.signal is None:
        summary.add(run.do(watch(lambda: stop.signal is not None)))
    if gallery is not None and request.report is not None:
        gallery.write(request.report, summary.seconds, summary.pixels / 1e6)
    return summary


def _spread(
    jobs: Sequence[Job],
    request: Request,
    devices: Sequence[str],
    done: dict[str, Record],
    records: log.RoundLog | None,
    reporter: Reporter,
    stop: Stop,
) -> Summary:
    """Several workers; their records come back in order and are logged here."""
    summary, started = Summary(), time.perf_counter()
    if request.engine == "ray":
        found = over_ray(jobs, partial(make_run, request), done, request.workers, stop)
    else:
        makers = [partial(make_run, replace(request, device=device)) for device in devices]
        found = over_devices(jobs, makers, done, stop)
    for record in found:
        batch.take(record, summary, records, reporter)
    summary.seconds = time.perf_counter() - started
    summary.interrupted = stop.signal
    return summary


def make_run(
    request: Request, done: dict[str, Record], observe: batch.Observer, stop: Stop, weights: Weights | None = None
) -> Run:
    """Load the model and make ready; once per worker. weights: where this process has verified them."""
    weights = weights or _weights(request.weights)
    engine = _engine(request, weights)
    options = _options(request, engine, mask_of(request.only, request.keep))
    return Run(engine, weights, options, None, done, observe, stop)


def _options(request: Request, engine: Engine, mask: torch.Tensor | None) -> Options:
    return Options(
        request.policy(engine.policy),
        None if mask is None else tuple(mask.tolist()),
        request.quality,
        request.provenance,
        request.save_rounds,
        request.batch_size,
    )


def assess_files(
    files: Sequence[Path | None], request: Request, stop: Stop, explained: bool = False
) -> Iterator[Record]:
    """`rar assess`: one record per file, as the contract has it; None stands for standard input.

    explained: each record also says in words what is wrong and where, as "explanation".
    """
    weights = _weights(request.weights)
    engine = _engine(request, weights)
    policy = request.policy(engine.policy)
    for path in files:
        if stop.signal is not None:
            return
        yield _assess_file(path, engine, policy, explained)


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


def run_bench(request: BenchRequest, model: Request) -> dict[str, Any]:
    """`rar bench`: choose suites and peers, run them, return the JSON document."""
    from rar_cli.bench.peers import PEERS, command
    from rar_cli.bench.run import bench

    suites = _suites(request)
    peers = dict(PEERS) if request.peers else {}
    peers.update(command(text) for text in request.commands)
    weights = _weights(model.weights)
    engine = _engine(model, weights)
    gallery = None if request.report is None else Gallery("rar bench")
    started = time.perf_counter()
    result = bench(suites, engine, weights, peers, request.seed, request.max_rounds, gallery)
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


def _assess_file(path: Path | None, engine: Engine, policy: StopPolicy, explained: bool) -> Record:
    import sys

    name = "-" if path is None else str(path)
    started = time.perf_counter()
    record: dict[str, Any] = {
        "input": name, "score": None, "degradations": None, "verdict": None, "description": None,
        "width": None, "height": None, "seconds": 0.0, "error": None,
    }  # fmt: skip
    try:
        picture = read_picture(sys.stdin.buffer.read() if path is None else path.read_bytes(), name)
        image = picture_to_image(picture)
        assessment = assess(engine, image)
        severities = assessment.severities[0].tolist()
        score = float(assessment.score[0])
        verdict, _ = judge(0, score, None, severities, policy)
        found = {d.value: round(s, 3) for d, s in zip(DEGRADATIONS, severities, strict=True)}
        record.update(
            score=round(score, 2), degradations=found, description=describe(found),
            verdict="accept" if verdict is Verdict.ACCEPT else "restore",
            height=picture.size[0], width=picture.size[1],
        )  # fmt: skip
        if explained:
            record["explanation"] = explain(score, np.asarray(severities), places(engine, image), picture.size)
    except ImageError as error:
        record["error"] = str(error)
    except OSError as error:
        record["error"] = f"{name}: cannot be read ({error.strerror})"
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        record["error"] = f"{name}: assessing failed ({reason}); try a smaller --tile"
    record["seconds"] = round(time.perf_counter() - started, 4)
    return record


def write_heatmap(source: Path | None, target: Path, request: Request) -> None:
    """`rar assess --heatmap`: where the assessor sees what is wrong. Raises ImageError, UsageError."""
    if source is None or FORMATS.get(target.suffix.lower()) not in WRITABLE:
        raise UsageError("--heatmap FILE: needs one picture as INPUT, and a picture's name as FILE")
    engine = _engine(request, _weights(request.weights))
    picture = read_picture(source.read_bytes(), str(source))
    drawn = Picture(heatmap(engine, picture_to_image(picture)), "PNG")
    write_bytes(encode_picture(drawn, FORMATS[target.suffix.lower()])[0], target)


def _weights(name: str) -> Weights:
    """Verified weights; those of the hub (owner/name) are fetched on their first use."""
    if is_hub_id(name) and cached(name) is None and not Path(name).is_dir():
        from rar_cli.weights.download import download

        return download(name)[0]
    return find(name)


def _engine(request: Request, weights: Weights) -> Engine:
    model = Rar.load(weights.folder)
    return Engine(model, request.device, request.dtype, request.tile_px, request.steps, request.self_ensemble)


def _log_name(shard: Shard) -> str:
    return log.NAME if shard.count == 1 else f"rounds.{shard.index}-of-{shard.count}.jsonl"


def _lock(folder: Path, shard: Shard, stack: ExitStack) -> None:
    """Hold the output folder for this run; the lock of a killed run falls with its process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = f".rar-{shard.index}-of-{shard.count}.lock"
        stack.enter_context(FileLock(folder / name, timeout=0))
    except Timeout as error:
        raise UsageError(f"{folder}: another rar is at work there; wait for it or choose another OUTPUT") from error
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); choose another OUTPUT") from error
    if shard.count == 1:
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """Remove half-written files of killed runs and workers."""
    for leftover in folder.rglob(".rar-*.part"):
        leftover.unlink(missing_ok=True)
