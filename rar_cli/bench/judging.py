"""Figures of the assessor over a benchmark's pictures: identification, rank, direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from rar_cli.bench.metrics import Metric
from rar_cli.types import DEGRADATIONS

LOST_DB, GAINED_DB = 0.5, 0.1
"""A round that lost more than the first should be put back; one that gained more than the second should not."""

CLEAR_DB = 1.0
"""Least change of PSNR that the score must follow."""


def judge_assessor(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric] | None = None) -> dict[str, Any]:
    """average_precision per degradation and its mean, srcc of score and PSNR, direction_agreement.

    rows: for each picture `truth` and `found` (a severity per degradation) and `rounds` with score, psnr_db and each of
    `metrics`. srcc_beside: the SRCC of metrics without a reference, turned so that higher is better, and that of the
    score on the same rounds. None where the pictures do not suffice (no truth, no positive, fewer than three values).
    """
    known = [row for row in rows if row["truth"] is not None]
    precision = {
        d.value: average_precision([r["truth"][i] > 0 for r in known], [r["found"][i] for r in known])
        for i, d in enumerate(DEGRADATIONS)
    }
    found = [p for p in precision.values() if p is not None]
    points = [(r["score"], r["psnr_db"]) for row in rows for r in row["rounds"]]
    moves = [
        (b["score"] - a["score"], b["psnr_db"] - a["psnr_db"])
        for row in rows
        for a, b in pairwise(row["rounds"])
        if abs(b["psnr_db"] - a["psnr_db"]) > CLEAR_DB
    ]
    return {
        "average_precision": precision,
        "mean_average_precision": float(np.mean(found)) if found else None,
        "srcc": _srcc(points),
        "srcc_beside": {n: _beside(rows, n, m) for n, m in (metrics or {}).items() if not m.needs_reference},
        "direction_agreement": float(np.mean([s * p > 0 for s, p in moves])) if moves else None,
    }


def judge_decisions(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of the rounds: true gain, expected gain, and which rounds were put back.

    rows: per picture `rounds` with psnr_db and expected_gain_db, `stop` and `best_round`. None without such rounds.
    """
    made = [
        (b["psnr_db"] - a["psnr_db"], a["expected_gain_db"], b["round"] > row["best_round"])
        for row in rows
        for a, b in pairwise(row["rounds"])
    ]
    lost = [back for gain, _, back in made if gain < -LOST_DB]
    gained = [back for gain, _, back in made if gain > GAINED_DB]
    errors = [expected - gain for gain, expected, _ in made if expected is not None]
    return {
        "rounds": len(made),
        "mean_gain_db": _mean([gain for gain, _, _ in made]),
        "mean_expected_db": _mean([expected for _, expected, _ in made if expected is not None]),
        "expectation_error_db": _mean([abs(error) for error in errors]),
        "put_back_of_lost": _mean([float(back) for back in lost]),
        "put_back_of_gained": _mean([float(back) for back in gained]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def average_precision(truth: ArrayLike, score: ArrayLike) -> float | None:
    """Mean precision at each true positive, scores from high to low (area under the stepwise curve)."""
    order = np.argsort(-np.asarray(score, float), kind="stable")
    hits = np.asarray(truth, bool)[order] if len(order) else np.zeros(0, bool)
    if not hits.any():
        return None
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def _beside(rows: Sequence[Mapping[str, Any]], name: str, metric: Metric) -> dict[str, float | None]:
    """SRCC with PSNR of a metric, turned so that higher is better, and of the score on the same rounds."""
    sign = 1.0 if metric.better == "higher" else -1.0
    judged = [r for row in rows for r in row["rounds"] if r[name] is not None]
    return {
        name: _srcc([(sign * r[name], r["psnr_db"]) for r in judged]),
        "score": _srcc([(r["score"], r["psnr_db"]) for r in judged]),
    }


def _srcc(points: Sequence[tuple[float, float]]) -> float | None:
    if len(points) < 3:
        return None
    scores, metrics = np.asarray(points).T
    if np.ptp(scores) == 0 or np.ptp(metrics) == 0:
        return None
    return float(spearmanr(scores, metrics).statistic)
