"""The words of the project as types: plain data, no behaviour beyond small derived views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor


class Degradation(StrEnum):
    """What can be wrong with a photograph. The order is that of the severity vector."""

    NOISE = "noise"
    BLUR = "blur"
    MOTION_BLUR = "motion_blur"
    JPEG = "jpeg"
    LOW_LIGHT = "low_light"
    HAZE = "haze"
    RAIN = "rain"
    SNOW = "snow"
    LOW_RESOLUTION = "low_resolution"


DEGRADATIONS: tuple[Degradation, ...] = tuple(Degradation)

TILE_PX = 896
"""Side of the tiles of large pictures where nobody says otherwise; here the command line reads it without torch."""


class Verdict(StrEnum):
    """What follows from an assessment within the loop."""

    ACCEPT = "accept"
    REPEAT = "repeat"
    REVERT = "revert"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True)
class StopPolicy:
    """When a picture leaves the loop.

    accept_score: score in [0, 100] from which a latent is good enough.
    first_gain: least gain of the score that round 1 must bring; below 0 it trusts the restorer, which
        is trained to bring pictures closer, over small differences of the score.
    min_gain: least gain of the score that every further round must bring.
    clear_severity: largest severity in [0, 1] that still counts as "nothing left to remove": one for
        all, or one each in the order of `DEGRADATIONS`, as some are seen more surely than others.
    max_rounds: most transports per picture.
    later_clear_severity: as clear_severity, after round 1, where the question is what one more round still removes;
        None for the same.
    """

    accept_score: float = 85.0
    first_gain: float = 0.0
    min_gain: float = 0.0
    clear_severity: float | tuple[float, ...] = 0.08
    max_rounds: int = 4
    later_clear_severity: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.accept_score <= 100.0:
            raise ValueError(f"accept_score must lie in [0, 100], got {self.accept_score}")
        if self.max_rounds < 0:
            raise ValueError(f"max_rounds must be 0 or more, got {self.max_rounds}")
        for name in ("clear_severity", "later_clear_severity"):
            given = getattr(self, name)
            if isinstance(given, Sequence):
                object.__setattr__(self, name, tuple(given))  # JSON knows lists only
                if len(given) != len(DEGRADATIONS):
                    raise ValueError(f"{name} must be one or {len(DEGRADATIONS)}, got {len(given)}")

    def clear_severities(self, index: int) -> tuple[float, ...]:
        """What counts as clear in round `index`, for each degradation."""
        later = index > 0 and self.later_clear_severity is not None
        clear = self.later_clear_severity if later else self.clear_severity
        return clear if isinstance(clear, tuple) else len(DEGRADATIONS) * (cast(float, clear),)


@dataclass(frozen=True)
class Assessment:
    """What the assessor says of a batch of latents.

    score: (b,), in [0, 100], higher is better. severities: (b, degradations), in [0, 1], in the order of
    `DEGRADATIONS`. condition: (b, n, d) continuous tokens for the restorer, never text.
    """

    score: Tensor
    severities: Tensor
    condition: Tensor


@dataclass(frozen=True)
class Round:
    """One pass over one picture; index 0 is the input as assessed, before any transport."""

    index: int
    score: float
    severities: Mapping[Degradation, float]
    verdict: Verdict
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Restoration:
    """The outcome for one picture: its trace, the best round, and the latent worth decoding."""

    trace: tuple[Round, ...]
    best_round: int
    latent: Tensor = field(repr=False)

    @property
    def stop(self) -> Verdict:
        """The verdict that ended the loop."""
        return self.trace[-1].verdict

    @property
    def score_before(self) -> float:
        """The score of the input."""
        return self.trace[0].score

    @property
    def score_after(self) -> float:
        """The score of the round that is kept."""
        return self.trace[self.best_round].score
