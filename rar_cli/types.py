"""The words of the project as types: plain data, no behaviour beyond small derived views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import index
from typing import TYPE_CHECKING, SupportsIndex

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
"""Default side of the tiles of large pictures. It stands here so that the command line reads it without torch."""


class SolverKind(StrEnum):
    """How a step of transport is made; `loop/transport.py` has the functions."""

    EULER = "euler"
    HEUN = "heun"


class EngineKind(StrEnum):
    """Who computes: this machine, or the workers of a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


class Verdict(StrEnum):
    """What follows from an assessment within the loop."""

    ACCEPT = "accept"
    REPEAT = "repeat"
    REVERT = "revert"
    EXHAUSTED = "exhausted"


ALL = frozenset(DEGRADATIONS)
PLACE = {degradation: place for place, degradation in enumerate(DEGRADATIONS)}

LIGHT = frozenset({Degradation.LOW_LIGHT, Degradation.HAZE})
"""Degradations that change light and colour of the whole picture."""

SCENE = LIGHT | {Degradation.RAIN, Degradation.SNOW}
"""Degradations that lie before the lens."""


@dataclass(frozen=True)
class Look:
    """One assessment of one picture. score: in [0, 100]. severities: in [0, 1], in the order of `DEGRADATIONS`.

    state: what the heads of gain read, empty without heads.
    """

    score: float
    severities: tuple[float, ...]
    state: tuple[float, ...] = field(default=(), repr=False)

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
class Gain:
    """A gain in dB: its mean, and the value that it exceeds nine times in ten."""

    mean_db: float
    low_db: float


def _is_whole(value: SupportsIndex) -> bool:
    """Whether it is a whole number; arrays and tensors of other values have an `__index__`, too, which raises."""
    try:
        index(value)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class Bounds:
    """What a user allows. wanted: degradations that may be removed. named: whether the user named them with `only`.
    accept_score: from which a picture is good enough, None for no such bound. max_rounds: most transports per picture.
    strength: how far from the input to the restored picture, in [0, 1]. Raises ValueError for impossible ones."""

    max_rounds: int = 4
    accept_score: float | None = None
    wanted: frozenset[Degradation] = ALL
    named: bool = False
    strength: float = 1.0

    def __post_init__(self) -> None:
        accept = self.accept_score
        number = isinstance(accept, int | float) and not isinstance(accept, bool)
        if accept is not None and not (number and 0.0 <= accept <= 100.0):
            raise ValueError(f"accept: must lie in 0 to 100, got {accept!r:.40}")
        if isinstance(self.max_rounds, bool) or not _is_whole(self.max_rounds):
            raise TypeError(f"max_rounds: must be a whole number, 0 or more, got {self.max_rounds!r:.40}")
        if self.max_rounds < 0:
            raise ValueError(f"max_rounds: must be 0 or more, got {self.max_rounds}")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"strength: must lie in [0, 1], got {self.strength}")

    def good_enough(self, look: Look) -> bool:
        """Whether the score reaches the bound."""
        return self.accept_score is not None and look.score >= self.accept_score


@dataclass(frozen=True)
class Decision:
    """A verdict and its reason; the next round's plan where the verdict is REPEAT.

    expected_db: gain expected of the best plan. found_db: gain of the round just made, as the heads judge it.
    """

    verdict: Verdict
    reason: str
    plan: Plan | None = None
    expected_db: float | None = None
    found_db: float | None = None


@dataclass(frozen=True)
class Assessment:
    """The assessor's result for a batch of latents, before anything is planned.

    score: (b,), in [0, 100], higher is better. severities: (b, n), in [0, 1], in the order of `DEGRADATIONS`.
    hidden: (b, f, m, d) states of the IQA core for each of f views of a picture; by_view: (b, f, n) severities of each;
    extra: (b, k, d) tokens that every condition ends with, or None. Conditions are made of these. features:
    (b, k), inputs of the heads of gain. state: (b, s), what the heads compute of them, or None without heads.
    """

    score: Tensor
    severities: Tensor
    hidden: Tensor | None = field(default=None, repr=False)
    by_view: Tensor | None = field(default=None, repr=False)
    extra: Tensor | None = field(default=None, repr=False)
    features: Tensor | None = field(default=None, repr=False)
    state: Tensor | None = field(default=None, repr=False)

    def rows(self, places: Sequence[int]) -> Assessment:
        """The assessment of some pictures of the batch, by their places."""
        at = list(places)
        parts = (self.hidden, self.by_view, self.extra, self.features, self.state)
        return Assessment(self.score[at], self.severities[at], *(None if part is None else part[at] for part in parts))


@dataclass(frozen=True)
class Conditioned:
    """A batch's score (b,), severities (b, n) and condition (b, m, d), as training reads them together."""

    score: Tensor
    severities: Tensor
    condition: Tensor


@dataclass(frozen=True)
class Round:
    """One pass over one picture; index 0 is the input as assessed, before any transport.

    plan: what the next round removes, None where there is none; expected_db: its expected gain. found_db: what this
    round gained, as the heads of gain judge it.
    """

    index: int
    score: float
    severities: Mapping[Degradation, float]
    verdict: Verdict
    reason: str
    seconds: float = 0.0
    plan: Plan | None = None
    expected_db: float | None = None
    found_db: float | None = None


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
