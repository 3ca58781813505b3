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
        all, or nine in the order of `DEGRADATIONS`, as some are seen more surely than others.
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
        """What counts as clear in round `index`, for each of the nine."""
        later = index > 0 and self.later_clear_severity is not None
        clear = self.later_clear_severity if later else self.clear_severity
        return clear if isinstance(clear, tuple) else len(DEGRADATIONS) * (cast(float, clear),)


ALL = frozenset(DEGRADATIONS)
PLACE = {degradation: place for place, degradation in enumerate(DEGRADATIONS)}


@dataclass(frozen=True)
class Look:
    """One assessment of one picture. score: in [0, 100]. severities: in [0, 1], in the order of `DEGRADATIONS`."""

    score: float
    severities: tuple[float, ...]

    def of(self, *names: Degradation) -> float:
        """The largest severity among the named degradations, 0 where none is named."""
        return max((self.severities[PLACE[name]] for name in names), default=0.0)

    @property
    def named(self) -> dict[Degradation, float]:
        """Severity by degradation."""
        return dict(zip(DEGRADATIONS, self.severities, strict=True))


@dataclass(frozen=True)
class Plan:
    """What one round does. strength: how far it goes along its path, in (0, 1]. restart: memory begins after it."""

    remove: frozenset[Degradation] = ALL
    strength: float = 1.0
    restart: bool = False


@dataclass(frozen=True)
class Decision:
    """A verdict and its reason; the next round's plan where the verdict is REPEAT."""

    verdict: Verdict
    reason: str
    plan: Plan | None = None


@dataclass(frozen=True)
class Assessment:
    """What the assessor says of a batch of latents, before anything is planned.

    score: (b,), in [0, 100], higher is better. severities: (b, n), in [0, 1], in the order of `DEGRADATIONS`.
    hidden: (b, f, m, d) states of the IQA core for each of f views of a picture; by_view: (b, f, n) severities of each;
    extra: (b, k, d) tokens that every condition ends with, or None. Conditions are made of these. summary: (b, s), what
    the heads of gain read, or None.
    """

    score: Tensor
    severities: Tensor
    hidden: Tensor | None = field(default=None, repr=False)
    by_view: Tensor | None = field(default=None, repr=False)
    extra: Tensor | None = field(default=None, repr=False)
    summary: Tensor | None = field(default=None, repr=False)

    def rows(self, places: Sequence[int]) -> Assessment:
        """The assessment of some pictures of the batch, by their places."""
        at = list(places)
        hidden, by_view, extra, summary = (
            None if part is None else part[at] for part in (self.hidden, self.by_view, self.extra, self.summary)
        )
        return Assessment(self.score[at], self.severities[at], hidden, by_view, extra, summary)


@dataclass(frozen=True)
class Conditioned:
    """A batch's score (b,), severities (b, n) and condition (b, m, d), as training reads them together."""

    score: Tensor
    severities: Tensor
    condition: Tensor


@dataclass(frozen=True)
class Round:
    """One pass over one picture; index 0 is the input as assessed, before any transport.

    plan: what the next round removes, None where there is none.
    """

    index: int
    score: float
    severities: Mapping[Degradation, float]
    verdict: Verdict
    reason: str
    seconds: float = 0.0
    plan: Plan | None = None


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
