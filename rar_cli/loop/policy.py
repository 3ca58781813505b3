"""Policy: the looks at one picture -> the decision for it. This is the one place where a verdict is decided.

A plan says what one round removes, and how far it goes. The policy chooses a plan, or gives the reason to stop. It
works on plain numbers, no tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rar_cli.types import ALL, LIGHT, PLACE, SCENE, Bounds, Decision, Degradation, Gain, Look, Plan, Verdict

TRACE = 0.05
"""Severity of a named degradation from which the first round is cheaper: docs/decisions.md#a-trace-of-what-is-named."""


class Policy(Protocol):
    """Decides for one picture after each assessment."""

    @property
    def bounds(self) -> Bounds:
        """What a user allows."""
        ...

    def within(self, bounds: Bounds) -> Policy:
        """The same policy within other bounds."""
        ...

    def about(self) -> dict[str, object]:
        """Everything that changes a decision, as JSON has it."""
        ...

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """looks: the input first, the latest last. plans: those that led from each look to the next."""
        ...


class Forecasting(Protocol):
    """Heads of gain."""

    def expected(self, look: Look, plans: Sequence[Plan]) -> Sequence[Gain]:
        """What each plan would gain over the picture as it was seen."""
        ...

    def found(self, before: Look, after: Look) -> Gain:
        """What the later look has gained over the earlier one."""
        ...


P = TypeVar("P", "FixedPolicy", "SimplePolicy", "GainPolicy")
N = TypeVar("N", float, NDArray[np.float64])


def _about(policy: P) -> dict[str, object]:
    bounds = {**asdict(policy.bounds), "wanted": sorted(policy.bounds.wanted)}
    return {"kind": type(policy).__name__, "bounds": bounds}


@dataclass(frozen=True)
class FixedPolicy:
    """Carries out given plans, whatever the assessment says: for benchmarks, and to try plans."""

    plans: tuple[Plan, ...] = (Plan(),)
    bounds: Bounds = Bounds()

    def within(self, bounds: Bounds) -> FixedPolicy:
        """The same plans, limited to the degradations that may be removed."""
        plans = (replace(plan, remove=plan.remove & bounds.wanted) for plan in self.plans)
        return FixedPolicy(tuple(plan for plan in plans if plan.remove)[: bounds.max_rounds], bounds)

    def about(self) -> dict[str, object]:
        """Everything that changes a decision, as JSON has it."""
        return _about(self) | {"plans": [{**asdict(p), "remove": sorted(p.remove)} for p in self.plans]}

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """The next plan, as long as there is one."""
        if len(plans) < len(self.plans):
            return Decision(Verdict.REPEAT, "planned beforehand", self.plans[len(plans)])
        return Decision(Verdict.EXHAUSTED, f"{len(self.plans)} rounds used")


@dataclass(frozen=True)
class SimplePolicy:
    """Accepts a picture, or removes everything once: for weights without heads of gain.

    clear: severity in [0, 1] up to which nothing counts as wrong.
    """

    clear: float = 0.1
    bounds: Bounds = Bounds()

    def within(self, bounds: Bounds) -> SimplePolicy:
        """The same policy within other bounds."""
        return replace(self, bounds=bounds)

    def about(self) -> dict[str, object]:
        """Everything that changes a decision, as JSON has it."""
        return _about(self) | {"clear": self.clear}

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """One round that removes everything wanted, if any of it is there."""
        worst = looks[-1].of(*self.bounds.wanted)
        if plans:
            return Decision(Verdict.ACCEPT, "everything was removed at once")
        if self.bounds.good_enough(looks[-1]):
            return Decision(Verdict.ACCEPT, f"score {looks[-1].score:.0f} is good enough")
        if worst <= self.clear:
            return Decision(Verdict.ACCEPT, f"nothing to remove: severities at most {worst:.2f}")
        if not self.bounds.max_rounds:
            return Decision(Verdict.EXHAUSTED, "no rounds allowed")
        return Decision(Verdict.REPEAT, f"severity {worst:.2f}", Plan(self.bounds.wanted))


@dataclass(frozen=True)
class Prices:
    """Prices that the expected gain of a plan must pay. They are fitted with the heads.

    round_db: of one round, in dB. risk: of each dB between the expected gain and its lower quantile. named_db: discount
    on the first round, in dB, if `--only` names a degradation of which rar sees a trace; set by hand.
    """

    round_db: float = 0.2
    risk: float = 0.5
    named_db: float = 2.0

    def worth(self, mean_db: N, low_db: N) -> N:
        """An expected gain in dB less the prices of its risk and of one round; numbers or arrays."""
        spread = mean_db - low_db
        return mean_db - self.risk * spread * (spread > 0) - self.round_db


@dataclass(frozen=True)
class GainPolicy:
    """Takes the plan whose expected gain, less prices, is highest. Takes none if that is below zero.

    After a round the heads compare the pictures before and after. A round that more likely lost is put back.
    """

    forecast: Forecasting = field(repr=False)
    prices: Prices = Prices()
    bounds: Bounds = Bounds()

    def within(self, bounds: Bounds) -> GainPolicy:
        """The same policy within other bounds."""
        return replace(self, bounds=bounds)

    def about(self) -> dict[str, object]:
        """Everything that changes a decision, as JSON has it."""
        return _about(self) | {"prices": asdict(self.prices)}

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """Revert a round that lost. Then go on as long as a plan is worth a round."""
        now = looks[-1]
        found = self.found(looks, plans) if plans else None
        if found is not None and found < -self.allowance(looks, len(plans) - 1):
            return Decision(Verdict.REVERT, f"this round lost about {-found:.1f} dB", found_db=found)
        if self.bounds.good_enough(now):
            return Decision(Verdict.ACCEPT, f"score {now.score:.0f} is good enough", found_db=found)
        best, gain = self.best(now)
        if best is None or self.worth(gain) + self.allowance(looks, len(plans)) < 0:
            said = f"the best plan would gain {gain.mean_db:+.1f} dB, not worth a round"
            reason = "nothing may be removed" if best is None else said
            return Decision(Verdict.ACCEPT, reason, expected_db=gain.mean_db, found_db=found)
        if len(plans) >= self.bounds.max_rounds:
            reason = f"{self.bounds.max_rounds} rounds used"
            return Decision(Verdict.EXHAUSTED, reason, expected_db=gain.mean_db, found_db=found)
        return Decision(Verdict.REPEAT, f"should gain {gain.mean_db:.1f} dB", best, gain.mean_db, found)

    def worth(self, gain: Gain) -> float:
        """A gain in dB less the prices of its risk and of one round."""
        return self.prices.worth(gain.mean_db, gain.low_db)

    def allowance(self, looks: Sequence[Look], rounds: int) -> float:
        """How many dB the first round may be expected to lose, because the user named a degradation and rar sees it."""
        cheaper = self.bounds.named and not rounds and looks[0].of(*self.bounds.wanted) >= TRACE
        return self.prices.named_db if cheaper else 0.0

    def best(self, look: Look) -> tuple[Plan | None, Gain]:
        """The best plan after prices, and its gain; None if nothing may be removed."""
        trials = list(candidates(look, self.bounds.wanted))
        if not trials:
            return None, Gain(0.0, 0.0)
        gains = self.forecast.expected(look, trials)
        return max(zip(trials, gains, strict=True), key=lambda pair: self.worth(pair[1]))

    def found(self, looks: Sequence[Look], plans: Sequence[Plan]) -> float:
        """Gain of the last round in dB: the mean of the verified gain and the expected gain of its plan."""
        (expected,) = self.forecast.expected(looks[-2], plans[-1:])
        return (self.forecast.found(looks[-2], looks[-1]).mean_db + expected.mean_db) / 2


def candidates(look: Look, wanted: frozenset[Degradation], strengths: Sequence[float] = (1.0, 0.5)) -> Iterator[Plan]:
    """The plans to compare: everything, parts of it by kind, and the strongest degradations."""
    order = sorted(wanted, key=lambda d: (-look.severities[PLACE[d]], PLACE[d]))  # the same in every process
    parts = [
        wanted, wanted - LIGHT, wanted & LIGHT, wanted & SCENE, wanted - SCENE,
        wanted - {Degradation.LOW_LIGHT}, wanted - {Degradation.HAZE}, wanted - frozenset(order[:1]),
        *(frozenset(order[:count]) for count in range(1, 5)), *(frozenset({d}) for d in order[1:4]),
    ]  # fmt: skip
    for part in dict.fromkeys(part for part in parts if part):
        for strength in strengths:  # memory begins anew after a round that leaves something
            yield Plan(part, strength, restart=part != ALL or strength < 1.0)
