"""Policy: what was seen of one picture -> what happens next. Plain numbers, no tensors.

A plan says what one round removes, and how far it goes. The policy makes it, or says why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from rar_cli.types import ALL, DEGRADATIONS, PLACE, Decision, Degradation, Look, Plan, StopPolicy, Verdict

LIGHT = frozenset({Degradation.LOW_LIGHT, Degradation.HAZE})
"""What concerns the light of the whole picture."""


class Policy(Protocol):
    """Decides for one picture after each assessment."""

    @property
    def wanted(self) -> frozenset[Degradation]:
        """What may be removed at all."""
        ...

    def about(self) -> dict[str, object]:
        """Everything that changes a decision, as JSON has it."""
        ...

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """looks: the input first, the latest last. plans: those that led from each look to the next."""
        ...


@dataclass(frozen=True)
class FixedPolicy:
    """Carries out given plans, whatever is seen: what benchmarks compare with, and how plans are tried."""

    plans: tuple[Plan, ...] = (Plan(),)
    clear_noise: float = 0.0

    @property
    def wanted(self) -> frozenset[Degradation]:
        """All that any of the plans removes."""
        return frozenset().union(*(plan.remove for plan in self.plans)) if self.plans else ALL

    def about(self) -> dict[str, object]:
        """The plans, as JSON has them."""
        return {"plans": [{"remove": sorted(p.remove), "strength": p.strength} for p in self.plans]}

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """The next plan, as long as there is one."""
        if len(plans) < len(self.plans):
            return Decision(Verdict.REPEAT, "planned beforehand", self.plans[len(plans)])
        return Decision(Verdict.EXHAUSTED, f"{len(self.plans)} rounds used")


@dataclass(frozen=True)
class Doubt:
    """Thresholds for what passes for something else.

    seen: severity from which later rounds may remove it (docs/decisions.md#later-rounds-remove-what-the-input-showed).
    faint to still_doubted, stayed_gain: docs/decisions.md#light-waits. dark, slight_haze, dark_gain, too_dark:
    docs/decisions.md#darkened-pictures. fraction, times_blur: docs/decisions.md#part-way.
    """

    seen: float = 0.1
    faint: float = 0.03
    doubted: float = 0.4
    beside: float = 0.2
    stayed: float = 0.15
    still_doubted: float = 0.3
    stayed_gain: float = 10.0
    dark: float = 0.2
    slight_haze: float = 0.4
    dark_gain: float = 11.0
    too_dark: float = 0.35
    fraction: float = 0.75
    times_blur: float = 3.0


@dataclass(frozen=True)
class ThresholdPolicy:
    """Accept, revert or go on, by thresholds on the score and the severities."""

    stop: StopPolicy
    wanted: frozenset[Degradation] = ALL
    doubt: Doubt = Doubt()

    def limited(self, max_rounds: int, accept_score: float | None, wanted: frozenset[Degradation]) -> ThresholdPolicy:
        """The same policy within what a user asks for; accept_score None: as fitted."""
        accept = self.stop.accept_score if accept_score is None else accept_score
        return replace(self, stop=replace(self.stop, max_rounds=max_rounds, accept_score=accept), wanted=wanted)

    def about(self) -> dict[str, object]:
        """Everything that changes a decision, as JSON has it."""
        return {**asdict(self), "wanted": sorted(self.wanted)}

    @property
    def clear_noise(self) -> float:
        """Severity up to which noise counts as none."""
        return self.stop.clear_severities(0)[PLACE[Degradation.NOISE]]

    def decide(self, looks: Sequence[Look], plans: Sequence[Plan]) -> Decision:
        """Keep what helped, stop where nothing more is worth a round, else plan one."""
        index, now = len(plans), looks[-1]
        if plans:
            best = max(look.score for look in looks[:-1])
            if now.score < best + self._price_of_doubt(looks, plans):
                reason = "what went may have been the light of the scene: the best round is kept"
                return Decision(Verdict.REVERT, reason)
            if now.score < best + (self.stop.first_gain if index == 1 else self.stop.min_gain):
                reason = f"score {now.score:.1f} does not improve on {best:.1f}: the best round is kept"
                return Decision(Verdict.REVERT, reason)
        if now.score >= self.stop.accept_score:
            return Decision(Verdict.ACCEPT, f"score {now.score:.1f} reaches {self.stop.accept_score:.1f}")
        if not self._worth_removing(looks, plans):
            left = now.of(*self._removable(looks))
            what = "nothing left that another round removes" if plans else "nothing left to remove"
            return Decision(Verdict.ACCEPT, f"{what}: severities at most {left:.2f}")
        if index >= self.stop.max_rounds:
            return Decision(Verdict.EXHAUSTED, f"{self.stop.max_rounds} rounds used")
        plan = self.plan(looks)
        waits = "; round 1 leaves low light and haze" if plan.restart else ""
        return Decision(Verdict.REPEAT, f"score {now.score:.1f} is below {self.stop.accept_score:.1f}{waits}", plan)

    def plan(self, looks: Sequence[Look]) -> Plan:
        """All that is wanted; round 1 leaves light in doubt, and goes part of its way for low resolution."""
        if len(looks) > 1:
            return Plan(self._removable(looks))
        waits = self._light_waits(looks[0])
        strength = self.doubt.fraction if self._resolution_is_worst(looks[0]) else 1.0
        return Plan(self.wanted - LIGHT if waits else self.wanted, strength, restart=waits)

    def _removable(self, looks: Sequence[Look]) -> frozenset[Degradation]:
        """What is wanted; after round 1 only what the input showed."""
        if len(looks) == 1:
            return self.wanted
        return frozenset(d for d in self.wanted if looks[0].of(d) >= self.doubt.seen)

    def _worth_removing(self, looks: Sequence[Look], plans: Sequence[Plan]) -> bool:
        clear = dict(zip(DEGRADATIONS, self.stop.clear_severities(len(plans)), strict=True))
        if len(plans) == 1 and plans[0].restart:
            clear |= dict.fromkeys(LIGHT, self.doubt.stayed)
        return any(looks[-1].of(d) > clear[d] for d in self._removable(looks))

    def _light_waits(self, look: Look) -> bool:
        light, other = self.wanted & LIGHT, self.wanted - LIGHT
        in_doubt = self.doubt.faint <= look.of(*light) < self.doubt.doubted
        return self.stop.max_rounds > 1 and in_doubt and look.of(*other) >= self.doubt.beside

    def _resolution_is_worst(self, look: Look) -> bool:
        severity = look.of(*self.wanted & {Degradation.LOW_RESOLUTION})
        blur = look.of(*self.wanted & {Degradation.BLUR})
        return severity >= max(look.of(*self.wanted), self.doubt.times_blur * blur)

    def _price_of_doubt(self, looks: Sequence[Look], plans: Sequence[Plan]) -> float:
        """What the score has to gain where the light that went may have been the scene's; -inf: nothing."""
        index, waited = len(plans), plans[0].restart
        if waited and index == 1:
            return -math.inf
        price = self._price_of_darkness(looks[0], looks[-1])
        light = looks[-2].of(*self._removable(looks[:-1]) & LIGHT)
        if waited and index == 2 and self.doubt.stayed < light < self.doubt.still_doubted:
            price = max(price, self.doubt.stayed_gain)
        return price

    def _price_of_darkness(self, before: Look, after: Look) -> float:
        """Where a hazy picture that was not dark comes out dark, and its haze does not explain it."""
        doubt, was, now = self.doubt, before.of(Degradation.LOW_LIGHT), after.of(Degradation.LOW_LIGHT)
        haze = before.of(Degradation.HAZE)
        if haze < doubt.seen or was >= doubt.dark or now <= doubt.dark:
            return -math.inf
        if now > doubt.too_dark:
            return math.inf
        return doubt.dark_gain if haze < doubt.slight_haze else -math.inf


def stopped(policy: Policy, looks: Sequence[Look], plans: Sequence[Plan]) -> int:
    """The round that the loop would keep, replayed on looks, the input first, and the plans between them."""
    kept = 0
    for index in range(len(looks)):
        verdict = policy.decide(looks[: index + 1], plans[:index]).verdict
        if verdict is Verdict.REVERT:
            return kept
        kept = index
        if verdict is not Verdict.REPEAT:
            return kept
    return kept
