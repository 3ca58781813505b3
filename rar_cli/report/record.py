"""The record of one picture: what the round log and `--json` say of it (the contract's keys)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rar_cli.types import Restoration

Record = dict[str, Any]


def to_json(record: Mapping[str, Any]) -> str:
    """One line of strict JSON; names that are not UTF-8 are escaped, never lost."""
    return json.dumps(record, ensure_ascii=True, allow_nan=False)


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
