"""Records: what the round log and `--json` say of one picture. docs/schema holds them as JSON Schema.

A record is frozen. It is made in one place; a later change makes a new record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from rar_cli.types import DEGRADATIONS, Degradation, Plan, Restoration, Round
from rar_cli.version import __version__

Record = dict[str, Any]
"""A record as JSON has it."""

SCHEMA = 1
"""Version of the records: it rises where a key goes or changes its meaning, not where one is added."""


def to_json(record: Mapping[str, Any]) -> str:
    """One line of strict JSON; names that are not UTF-8 are escaped, never lost."""
    return json.dumps(record, ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class Subject:
    """What is known of a picture before it is restored.

    input, output: as the user knows them. size: (height, width) in pixels, where it could be read.
    input_sha256: of the input's bytes. options_sha256: of everything else that decides the output.
    """

    input: str
    output: str | None = None
    size: tuple[int, int] | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    input_sha256: str | None = None
    options_sha256: str | None = None


@dataclass(frozen=True)
class PictureRecord:
    """One picture of `rar restore`, round by round. Without an outcome it counts as failed."""

    input: str
    output: str | None
    status: str = "failed"
    stop: str | None = None
    best_round: int | None = None
    score_before: float | None = None
    score_after: float | None = None
    rounds: tuple[Record, ...] = ()
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    weights: str | None = None
    weights_sha256: str | None = None
    version: str = __version__
    error: str | None = None
    warnings: tuple[str, ...] = ()
    input_sha256: str | None = None
    options_sha256: str | None = None
    output_bytes: int | None = None
    output_sha256: str | None = None
    schema: int = SCHEMA

    @classmethod
    def of(cls, subject: Subject, restoration: Restoration | None = None, seconds: float = 0.0) -> PictureRecord:
        """The record of a subject, and of its restoration where there is one. seconds: its share of the batch.

        Raises ValueError where a score or a severity is not a number: such a picture is not worth writing.
        """
        height, width = subject.size or (None, None)
        record = cls(
            subject.input, subject.output, width=width, height=height, weights=subject.weights,
            weights_sha256=subject.weights_sha256, input_sha256=subject.input_sha256,
            options_sha256=subject.options_sha256,
        )  # fmt: skip
        if restoration is None:
            return record
        return replace(
            record,
            status="accepted" if restoration.best_round == 0 else "restored",
            stop=restoration.stop.value,
            best_round=restoration.best_round,
            score_before=rounded_score(restoration.score_before),
            score_after=rounded_score(restoration.score_after),
            seconds=round(seconds, 4),
            rounds=tuple(_round(each) for each in restoration.trace),
        )

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> PictureRecord:
        """The record that `as_dict` made this of, as another process sends it."""
        known = {each.name: about[each.name] for each in fields(cls)}
        return cls(**{**known, "rounds": tuple(known["rounds"]), "warnings": tuple(known["warnings"])})

    def failed(self, error: str) -> PictureRecord:
        """The same picture, with the reason why there is no output of it."""
        return replace(self, status="failed", error=error, output_bytes=None, output_sha256=None)

    def skipped(self) -> PictureRecord:
        """The same picture, where an earlier run finished it."""
        return replace(self, status="skipped")

    def written(self, size: int, digest: str, warnings: Sequence[str]) -> PictureRecord:
        """The same picture with its output: bytes, their SHA-256, and what could not be kept."""
        return replace(self, output_bytes=size, output_sha256=digest, warnings=tuple(warnings))

    @property
    def pixels(self) -> int:
        """Of the picture, 0 where it could not be read."""
        return (self.width or 0) * (self.height or 0)

    def as_dict(self) -> Record:
        """The record as JSON has it."""
        about = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**about, "rounds": list(self.rounds), "warnings": list(self.warnings)}

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return to_json(self.as_dict())


@dataclass(frozen=True)
class AssessmentRecord:
    """One picture of `rar assess`. Without a score it failed, and `error` says why.

    plan, expected_gain_db: what `rar restore` would remove first, and what that should gain; reason: why, or why not.
    """

    input: str
    score: float | None = None
    degradations: Mapping[str, float] | None = None
    verdict: str | None = None
    description: str | None = None
    reason: str | None = None
    plan: Record | None = None
    expected_gain_db: float | None = None
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    error: str | None = None
    explanation: str | None = None
    schema: int = SCHEMA

    def as_dict(self) -> Record:
        """The record as JSON has it; `explanation` is there only where it was asked for."""
        about = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.explanation is None:
            del about["explanation"]
        return about


def rounded(severities: Mapping[Degradation, float]) -> dict[str, float]:
    """Severities by name, as records have them. Raises ValueError where one is not a number."""
    return {degradation.value: round(_finite(severity), 3) for degradation, severity in severities.items()}


def rounded_score(score: float) -> float:
    """A score as records have it. Raises ValueError where it is not a number."""
    return round(_finite(score), 2)


def _round(this: Round) -> Record:
    return {
        "round": this.index, "score": rounded_score(this.score), "verdict": this.verdict.value, "reason": this.reason,
        "degradations": rounded(this.severities), "seconds": round(this.seconds, 4),
        "plan": plan_to_json(this.plan), "expected_gain_db": rounded_db(this.expected_db),
        "found_gain_db": rounded_db(this.found_db),
    }  # fmt: skip


def plan_to_json(plan: Plan | None) -> Record | None:
    """What the next round removes, by name, and how far it goes; None where there is no next round."""
    return (
        None if plan is None else {"remove": [d for d in DEGRADATIONS if d in plan.remove], "strength": plan.strength}
    )


def rounded_db(gain: float | None) -> float | None:
    """A gain in dB to two places; None stays."""
    return None if gain is None else round(_finite(gain), 2)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"the networks gave {number}; check the weights with `rar download-weights --verify`")
    return number
