"""`rar bench`: suites through rar and its peers, metrics of each round, cost, one JSON document.

A picture that fails, or a suite that lacks pictures, is a gap. It is reported, the run ends with exit code 1, and no
mean is made of what is left.
"""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from rar_cli.bench.cost import cost
from rar_cli.bench.judging import judge_assessor, judge_decisions
from rar_cli.bench.metrics import Metric, measure, metrics_here
from rar_cli.bench.peers import Peer
from rar_cli.bench.suites import Pair, Suite
from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import Outcome, restore
from rar_cli.errors import RarError
from rar_cli.loop.policy import Policy
from rar_cli.report.gallery import Gallery
from rar_cli.report.record import PictureRecord, Subject
from rar_cli.types import Bounds
from rar_cli.version import __version__
from rar_cli.weights.manifest import Weights

SCHEMA = 1

PACED = 6
"""Pictures whose median speed is reported; the first one warms up."""

HARM_DB = 0.1
"""A picture that ends further below its input counts as harmed."""


@dataclass
class SuiteResult:
    """One suite: a row for each picture, and the gaps."""

    name: str
    expected: int
    metrics: Mapping[str, Metric]
    rows: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Means over the pictures, per round too; None where there is a gap."""
        complete = not self.gaps and len(self.rows) == self.expected
        about: dict[str, Any] = {
            "suite": self.name, "expected": self.expected, "done": len(self.rows), "gaps": self.gaps,
        }  # fmt: skip
        for stage in ("input", "round_1", "final"):
            about[stage] = {m: _mean([r[stage][m] for r in self.rows]) if complete else None for m in self.metrics}
        about["peers"] = {
            peer: {m: _mean([r["peers"][peer][m] for r in self.rows]) if complete else None for m in self.metrics}
            for peer in (self.rows[0]["peers"] if self.rows else {})
        }
        gains = [r["final"]["psnr_db"] - r["input"]["psnr_db"] for r in self.rows]
        about["psnr_db_by_round"] = _by_round(self.rows) if complete else None
        about["harmed_share"] = _mean([float(g < -HARM_DB) for g in gains]) if complete else None
        about["accepted_share"] = _mean([float(r["best_round"] == 0) for r in self.rows]) if complete else None
        about["mean_rounds"] = _mean([float(r["best_round"]) for r in self.rows]) if complete else None
        return about


class Terms(NamedTuple):
    """What a run of the benchmark fixes. seed: of the synthesis. max_rounds: most rounds per picture."""

    seed: int = 0
    max_rounds: int = 4


def bench(
    suites: Sequence[Suite],
    engine: Engine,
    weights: Weights,
    peers: Mapping[str, Peer],
    terms: Terms = Terms(),
    gallery: Gallery | None = None,
) -> dict[str, Any]:
    """Run every suite, showing its pictures to `gallery`. Returns the JSON document."""
    policy = engine.policy.within(Bounds(terms.max_rounds))
    metrics = metrics_here()
    summaries, rows = [], []
    for suite in suites:
        result = SuiteResult(suite.name, suite.expected, metrics)
        for row in _rows(suite, engine, policy, peers, result, gallery):
            result.rows.append(row)
        summaries.append(result.summary())
        rows += [{"suite": suite.name, **row} for row in result.rows]
    complete = all(s["done"] == s["expected"] and not s["gaps"] for s in summaries)
    paces = _pace(suites[-1], engine, policy)[1:] if complete else []  # the first one warms up
    return {
        "schema": SCHEMA,
        "version": __version__,
        "weights": weights.name,
        "weights_sha256": weights.sha256,
        **terms._asdict(),
        "machine": _machine(engine),
        "metrics": {name: metric.about() for name, metric in metrics.items()},
        "parameters": sum(p.numel() for p in engine.model.parameters()),
        "megapixels_per_second": statistics.median(paces) if paces else None,
        "cost": _cost(suites, engine) if complete else None,
        "complete": complete,
        "assessor": judge_assessor(rows, metrics),
        "decisions": judge_decisions(rows),
        "suites": summaries,
        "pictures": rows,
    }


def _rows(
    suite: Suite,
    engine: Engine,
    policy: Policy,
    peers: Mapping[str, Peer],
    result: SuiteResult,
    gallery: Gallery | None,
) -> Iterator[dict[str, Any]]:
    """One row per picture; faults become gaps."""
    pairs = suite.pairs()
    while True:
        try:
            pair = next(pairs)
            row, outcome = _row(pair, engine, policy, peers, result.metrics)
            if gallery is not None:
                _show(gallery, suite.name, pair, row, outcome)
            yield row
        except StopIteration:
            return
        except (RarError, RuntimeError, ValueError) as error:
            result.gaps.append(" ".join(str(error).split())[:300])
            if not isinstance(error, RarError):
                return


def _row(
    pair: Pair, engine: Engine, policy: Policy, peers: Mapping[str, Peer], metrics: Mapping[str, Metric]
) -> tuple[dict[str, Any], Outcome]:
    if pair.degraded.shape != pair.reference.shape:
        raise RarError(f"{pair.name}: {pair.degraded.shape[:2]} does not match its reference")
    image = torch.from_numpy(np.ascontiguousarray(pair.degraded)).permute(2, 0, 1).unsqueeze(0)
    (outcome,) = restore(engine, image, policy, keep_rounds=True)
    degraded = measure(pair.degraded, pair.reference, metrics)
    per_round = [degraded, *(measure(_array(x), pair.reference, metrics) for x in outcome.images)]
    row = {
        "picture": pair.name,
        "input": degraded,
        "round_1": per_round[min(1, len(per_round) - 1)],
        "final": _final(outcome, per_round),
        "best_round": outcome.restoration.best_round,
        "stop": outcome.restoration.stop.value,
        "rounds": [
            {
                "round": r.index,
                "score": r.score,
                "removes": sorted(r.plan.remove) if r.plan else None,
                "expected_gain_db": r.expected_db,
                "found_gain_db": r.found_db,
                **m,
            }
            for r, m in zip(outcome.restoration.trace, per_round, strict=True)
        ],
        "truth": pair.truth,
        "found": [float(s) for s in outcome.restoration.trace[0].severities.values()],
        "peers": {
            name: measure(np.asarray(peer(np.clip(pair.degraded, 0, 1)), np.float32), pair.reference, metrics)
            for name, peer in peers.items()
        },
    }
    return row, outcome


def _cost(suites: Sequence[Suite], engine: Engine) -> dict[str, Any] | None:
    """Of the first picture of the first suite."""
    pair = next(suites[0].pairs(), None) if suites else None
    if pair is None:
        return None
    image = torch.from_numpy(np.clip(np.ascontiguousarray(pair.degraded), 0, 1))
    return cost(engine, image.permute(2, 0, 1).unsqueeze(0))


def _show(gallery: Gallery, suite: str, pair: Pair, row: Mapping[str, Any], outcome: Outcome) -> None:
    """One card of the report, with its figures against the reference."""
    subject = Subject(f"{suite}: {pair.name}", size=pair.degraded.shape[:2])
    record = PictureRecord.of(subject, outcome.restoration).as_dict()
    rounds = [_eight_bit(_array(x)) for x in outcome.images]
    before = _eight_bit(pair.degraded)
    after = rounds[outcome.restoration.best_round - 1] if outcome.restoration.best_round else before
    metrics = {"dB before": row["input"]["psnr_db"], "dB after": row["final"]["psnr_db"]}
    gallery.add(record, before, after, rounds, metrics)


def _eight_bit(image: Any) -> Any:
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _pace(suite: Suite, engine: Engine, policy: Policy) -> list[float]:
    """Megapixels per second of a few whole restorations, as `rar restore` runs them."""
    paces = []
    for pair in itertools.islice(suite.pairs(), PACED):
        image = torch.from_numpy(np.ascontiguousarray(pair.degraded)).permute(2, 0, 1).unsqueeze(0)
        started = time.perf_counter()
        restore(engine, image, policy)
        paces.append(image.shape[-1] * image.shape[-2] / 1e6 / (time.perf_counter() - started))
    return paces


def _by_round(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean PSNR of what would be kept after 0, 1, 2, ... rounds; pictures that have left the loop stay."""
    most = max(len(row["rounds"]) for row in rows) if rows else 0
    kept = [[row["rounds"][min(k, row["best_round"])]["psnr_db"] for row in rows] for k in range(most)]
    return [statistics.fmean(values) for values in kept]


def _final(outcome: Outcome, per_round: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    return per_round[outcome.restoration.best_round]


def _array(image: torch.Tensor) -> Any:
    return image[0].permute(1, 2, 0).numpy()


def _mean(values: Sequence[float | None]) -> float | None:
    """None, a gap, where any value is missing."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _machine(engine: Engine) -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(engine.device),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "self_ensemble": engine.options.self_ensemble,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
