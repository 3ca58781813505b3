"""Verdict: from the score and severities of one round to what happens next. Pure, per picture."""

from __future__ import annotations

from collections.abc import Sequence

from rar_cli.types import StopPolicy, Verdict

SEEN = 0.06
"""Severity from which a degradation counts as seen in the input."""


def later_wanted(severities: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """What later rounds may remove, 1 or 0 for each of the nine: of what is wanted, that which the input showed.

    A dark picture without its noise can pass for one of low light; it was none before, and stays as it is.
    """
    return [w * (severity >= SEEN) for severity, w in zip(severities, wanted, strict=True)]


def judge(
    index: int, score: float, best_score: float | None, severities: Sequence[float], policy: StopPolicy
) -> tuple[Verdict, str]:
    """The verdict on round `index` and its reason in plain words.

    score: of this round's latent, [0, 100]. best_score: best of the rounds before, None at round 0.
    severities: nine in [0, 1], in the order of `DEGRADATIONS`; 0 for those that are not to be removed.
    """
    needed = policy.first_gain if index == 1 else policy.min_gain
    if best_score is not None and score < best_score + needed:
        return Verdict.REVERT, f"score {score:.1f} does not improve on {best_score:.1f}: the best round is kept"
    if score >= policy.accept_score:
        return Verdict.ACCEPT, f"score {score:.1f} reaches {policy.accept_score:.1f}"
    if all(severity <= clear for severity, clear in zip(severities, policy.clear_severities, strict=True)):
        return Verdict.ACCEPT, f"nothing left to remove: severities at most {max(severities):.2f}"
    if index >= policy.max_rounds:
        return Verdict.EXHAUSTED, f"{policy.max_rounds} rounds used"
    return Verdict.REPEAT, f"score {score:.1f} is below {policy.accept_score:.1f}"
