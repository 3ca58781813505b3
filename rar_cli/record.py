"""The record of one picture: what the round log and `--json` say of it (the contract's keys)."""

from __future__ import annotations

from rar_cli.log import Record
from rar_cli.reading import Item
from rar_cli.types import Restoration
from rar_cli.version import __version__
from rar_cli.weights import Weights


def blank(item: Item, weights: Weights, fingerprint: str) -> Record:
    """The record of a picture before anything is known of its restoration."""
    height, width = item.picture.size if item.picture else (None, None)
    return {
        "input": item.job.name, "output": item.job.output, "status": "failed", "stop": None,
        "best_round": None, "score_before": None, "score_after": None, "rounds": [],
        "width": width, "height": height, "seconds": 0.0, "weights": weights.name,
        "weights_sha256": weights.sha256, "version": __version__, "error": None, "warnings": [],
        "input_sha256": item.digest, "options_sha256": fingerprint,
        "output_bytes": None,
    }  # fmt: skip


def describe_restoration(record: Record, restoration: Restoration, seconds: float) -> None:
    """Fill in what the loop found."""
    record["status"] = "accepted" if restoration.best_round == 0 else "restored"
    record["stop"] = restoration.stop.value
    record["best_round"] = restoration.best_round
    record["score_before"] = round(restoration.score_before, 2)
    record["score_after"] = round(restoration.score_after, 2)
    record["seconds"] = round(seconds, 4)
    record["rounds"] = [
        {
            "round": r.index, "score": round(r.score, 2), "verdict": r.verdict.value, "reason": r.reason,
            "degradations": {d.value: round(s, 3) for d, s in r.severities.items()},
            "seconds": round(r.seconds, 4),
        }
        for r in restoration.trace
    ]  # fmt: skip
