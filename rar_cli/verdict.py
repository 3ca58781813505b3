"""Verdict: from the score and severities of one round to what happens next. Pure, per picture."""

from __future__ import annotations

from rar_cli.types import StopPolicy, Verdict


def judge(
    index: int, score: float, best_score: float | None, worst_severity: float, policy: StopPolicy
) -> tuple[Verdict, str]:
    """The verdict on round `index` and its reason in plain words.

    score: of this round's latent, [0, 100]. best_score: best of the rounds before, None at round 0.
    worst_severity: largest severity, [0, 1], among the degradations that are to be removed.
    """
    needed = policy.first_gain if index == 1 else policy.min_gain
    if best_score is not None and score < best_score + needed:
        return Verdict.REVERT, f"score {score:.1f} does not improve on {best_score:.1f}: the best round is kept"
    if score >= policy.accept_score:
        return Verdict.ACCEPT, f"score {score:.1f} reaches {policy.accept_score:.1f}"
    if worst_severity <= policy.clear_severity:
        return Verdict.ACCEPT, f"nothing left to remove: severities at most {worst_severity:.2f}"
    if index >= policy.max_rounds:
        return Verdict.EXHAUSTED, f"{policy.max_rounds} rounds used"
    return Verdict.REPEAT, f"score {score:.1f} is below {policy.accept_score:.1f}"
