"""Verdict: from the score and severities of one round to what happens next. Pure, per picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rar_cli.types import DEGRADATIONS, Degradation, StopPolicy, Verdict

SEEN = 0.1
"""Severity from which a degradation counts as seen in the input: of low light, which a later round could do most
harm with, 95 % of the held-out pictures that have none are below it, and 2 % of those that have some."""

LIGHT = tuple(DEGRADATIONS.index(d) for d in (Degradation.LOW_LIGHT, Degradation.HAZE))
"""What concerns the light of the whole picture: mistaken, it costs the most."""
FAINT, DOUBTED, BESIDE = 0.03, 0.4, 0.2
"""Low light and haze from the first to the second, beside something else from the third on, wait for another look
(`light_waits`). Of held-out pictures with noise, rain, snow or JPEG and without either, those that lost had been found
up to 0.37 of them; above, waiting takes a round for next to nothing (0.2 dB over 253 stacks, less than nothing on those
of `rar bench`). Below `SEEN` no round comes back to them: 348 of 363 had neither, and 7 instead of 22 end below their
input (0.4 dB better). 151 that have something else at 0.12 to 0.3 end 1.1 dB better, 26 instead of 38 below."""
STAYED = 0.15
"""What then counts as clear, where nothing passes for them any more: faint haze beside rain is found at 0.2 to 0.3."""
STILL_DOUBTED, STAYED_GAIN = 0.3, 10.0
"""Low light and haze below the one after waiting have to bring the score as much as the other by their removal. Of 263
held-out pictures that waited, 110 had neither. Of these 30 are put back, which saves them 2.2 dB on average; of the
153 that had some 7, which costs these 2.8."""

DARK = 0.2
"""Low light found after a round, and not before it, where the round darkened the picture."""
SLIGHT_HAZE, DARK_GAIN = 0.4, 11.0
"""Haze found before, up to which it does not explain a dark picture, and what the score has to gain then: of 640
held-out stacks 32 came out dark. The 28 with more haze had gained, 0 to 14 dB; of the four with less, two that scored
12 and 25 more had gained 10 and 7, two that scored 0 and 3 more -1 and 4. A sample that scores 9 more had lost 3."""
TOO_DARK = 0.35
"""Low light that no score makes up for: of those only one was above, and had lost. What is put back loses nothing."""

LOW_RESOLUTION, BLUR = (DEGRADATIONS.index(d) for d in (Degradation.LOW_RESOLUTION, Degradation.BLUR))
PART_WAY, TIMES_BLUR = 0.75, 3.0
"""How far along its path round 1 goes where low resolution is the worst that was found, and so many times the blur,
which passes for a little of it: detail is a guess, and all of it is too much where a picture was reduced in ways that
training did not have. Of 242 held-out pictures of lowered resolution, by the synthesis and in plain ways, 46 instead of
60 end below their input, and all gain 0.07 dB: 0.16 where it is slight, -0.08 at mid severity. Others would lose by
it."""


def later_wanted(severities: Tensor, remove_mask: Tensor | None) -> Tensor:
    """What later rounds may remove, (b, 9) of 1 or 0: of what is wanted, that which the input showed.

    severities: (b, 9) of the input. remove_mask: (9,) or (b, 9), None for all.

    A dark picture without its noise can pass for one of low light; it was none before, and stays as it is.
    """
    shown = (severities >= SEEN).float()
    return shown if remove_mask is None else shown * remove_mask


def light_waits(severities: Sequence[float]) -> bool:
    """Whether low light and haze stay in round 1, to be judged anew without what else is wrong: rain, noise and snow
    pass for them. Below `SEEN` they stay for good (`later_wanted`).

    severities: nine in [0, 1] of the input, 0 for those that are not to be removed.
    """
    light = max(severities[place] for place in LIGHT)
    beside = max(severity for place, severity in enumerate(severities) if place not in LIGHT)
    return FAINT <= light < DOUBTED and beside >= BESIDE


def without_light(remove_mask: Tensor | None, waits: Tensor) -> Tensor:
    """What round 1 may remove, (b, 9) of 1 or 0: of what is wanted all but low light and haze where they wait, (b,).

    remove_mask: (9,), None for all.
    """
    mask = torch.ones(len(waits), len(DEGRADATIONS), device=waits.device)
    mask[:, LIGHT] = (~waits)[:, None].float()
    return mask if remove_mask is None else mask * remove_mask


def way(severities: Sequence[float]) -> float:
    """How far along its path round 1 goes, in (0, 1].

    severities: nine in [0, 1] of the input, 0 for those that are not to be removed.
    """
    found = severities[LOW_RESOLUTION]
    return PART_WAY if found >= max(*severities, TIMES_BLUR * severities[BLUR]) else 1.0


def asked_of_light(
    index: int, before: Sequence[float], last: Sequence[float], after: Sequence[float], waited: bool
) -> float:
    """What the score has to gain by round `index` where the low light or haze that it removed may have been the scene,
    0 for nothing.

    before, after: the nine severities of the input and after the round. last: those before it, 0 for what is not to be
    removed. waited: whether round 1 left low light and haze (`light_waits`).
    """
    if waited and index == 1:
        return 0.0
    asked = _asked_of_dark(before, after)
    again = waited and index == 2 and STAYED < max(last[place] for place in LIGHT) < STILL_DOUBTED
    return max(asked, STAYED_GAIN) if again else asked


def _asked_of_dark(before: Sequence[float], after: Sequence[float]) -> float:
    """The same where a picture that was hazy and not dark has come out dark, 0 where it has not, or where its haze
    explains it: what was taken for haze may have been the scene."""
    haze, dark = (DEGRADATIONS.index(d) for d in (Degradation.HAZE, Degradation.LOW_LIGHT))
    if before[haze] < SEEN or before[dark] >= DARK or after[dark] <= DARK:
        return 0.0
    if after[dark] > TOO_DARK:
        return math.inf
    return DARK_GAIN if before[haze] < SLIGHT_HAZE else 0.0


def judge(
    index: int,
    score: float,
    best_score: float | None,
    severities: Sequence[float],
    policy: StopPolicy,
    asked: float = 0.0,
    waits: bool = False,
) -> tuple[Verdict, str]:
    """The verdict on round `index` and its reason in plain words.

    score: of this round's latent, [0, 100]. best_score: best of the rounds before, None at round 0.
    severities: nine in [0, 1], in the order of `DEGRADATIONS`; 0 for those that are not to be removed.
    asked: what the score has to gain for low light and haze that may be mistaken (`asked_of_light`), 0 for nothing.
    waits: whether this round has left low light and haze for the next (`light_waits`).
    """
    if asked and best_score is not None and score < best_score + asked:
        return Verdict.REVERT, "what went may have been the light of the scene: the best round is kept"
    needed = policy.first_gain if index == 1 else policy.min_gain
    if best_score is not None and score < best_score + needed:
        return Verdict.REVERT, f"score {score:.1f} does not improve on {best_score:.1f}: the best round is kept"
    if score >= policy.accept_score:
        return Verdict.ACCEPT, f"score {score:.1f} reaches {policy.accept_score:.1f}"
    clears = list(policy.clear_severities(index))
    for place in LIGHT if waits else ():
        clears[place] = STAYED
    if all(severity <= clear for severity, clear in zip(severities, clears, strict=True)):
        what = "nothing left that another round removes" if index else "nothing left to remove"
        return Verdict.ACCEPT, f"{what}: severities at most {max(severities):.2f}"
    if index >= policy.max_rounds:
        return Verdict.EXHAUSTED, f"{policy.max_rounds} rounds used"
    return Verdict.REPEAT, f"score {score:.1f} is below {policy.accept_score:.1f}"
