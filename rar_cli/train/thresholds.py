"""Thresholds of the policy, fitted on held-out photographs and stored with the weights.

Every picture goes through all rounds once. Then policies are replayed on what was seen, so a grid search costs nothing
more (docs/decisions.md#clean-photographs-first).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import restoring
from rar_cli.loop.policy import ThresholdPolicy, stopped
from rar_cli.loop.rounds import carried, looks_of
from rar_cli.synthesis.recipes import quantise, stack
from rar_cli.train.data import load_photos
from rar_cli.train.losses import SCORE_PSNR_DB
from rar_cli.train.validation import SUITES, VALIDATION_PX, as_kept, centre_crops, psnr_db
from rar_cli.types import DEGRADATIONS, Look, Plan, StopPolicy

CROP_PX = 320
PHOTOS = 12
UNTOUCHED_PX = 1024
"""Crops of PHOTOS held-out photographs are degraded. All photographs are also taken clean, whole up to UNTOUCHED_PX, as
they are and as fine JPEGs."""

ROUNDS = 4
SEVERITIES = (0.12, 0.25, 0.5, 0.8)
"""The first is so faint that leaving it alone may be best."""

ACCEPT_SCORES = (52.0, 64.0, 76.0, 88.0, 100.0)
"""From 28 dB on; below, even slight JPEG damage is worth a round."""
FIRST_GAINS = (-100.0, -4.0, -2.0, 0.0, 1.0)
"""The first trusts round 1 whatever its score (docs/decisions.md#round-1-is-trusted)."""
MIN_GAINS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
CLEAR_LEVELS = (0.97, 1.0)
"""Fractions of the clean pictures that a clear severity covers."""
CLEAR_FACTORS = (0.6, 0.8, 1.0, 1.3)
"""Factors on those severities."""
LATER_CLEAR = (1.0, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
"""With the first, no degradation is ever worth another round."""
LEAST_CLEAR = 0.02
LOUDEST_CLEAN = 8
"""Loudest clean pictures that a refinement steps through."""
REFINEMENTS = 2
SWAPPED = 4
"""Severities on either side that a swap tries."""

NEVER_STOPS = StopPolicy(100.0, -100.0, -100.0, 0.0, ROUNDS)

CLEAN_ACCEPTED = 0.95
HARM_DB = 0.1
HARM_PRICE_DB = 2.0
"""Price in dB of the mean if all pictures were harmed; 2 % harmed cost 0.04 dB. Pictures that later rounds leave worse
than round 1 cost as much."""
PERFECT_DB = SCORE_PSNR_DB[1]
"""A clean picture above this PSNR has lost nothing."""
DISTRUST_PRICE_DB = 0.01
"""Least gain of a policy that can put round 1 back, for scores rank restored pictures worse than inputs."""
LATER_PRICE_DB = 0.004
"""Least gain by each degradation that may ask for another round, for a round costs time."""


@dataclass(frozen=True)
class Course:
    """One picture through all rounds: what was seen of it, the input first, with the plans that led from each look to
    the next. Of a clean one two looks are enough, or three where light waits."""

    clean: bool
    looks: tuple[Look, ...]
    plans: tuple[Plan, ...]
    psnr_db: tuple[float, ...]

    def stopped(self, policy: StopPolicy) -> int:
        """The round that the loop would keep under a policy."""
        return stopped(ThresholdPolicy(policy), self.looks, self.plans)


def held_out(folders: Sequence[Path], count: int = PHOTOS) -> tuple[Tensor, Iterator[tuple[Tensor, Tensor]]]:
    """Crops (count, 3, h, w) to degrade, and every photograph below `folders` as `as_kept` gives it."""
    photos = load_photos(folders, VALIDATION_PX)
    random.Random(0).shuffle(photos)  # so that the first few are as mixed as the whole
    side = min(CROP_PX, *(side for photo in photos for side in photo.shape[:2]))
    return centre_crops(photos[:count], side), as_kept(photos, UNTOUCHED_PX)


@torch.inference_mode()
def courses(
    engine: Engine, clean: Tensor, untouched: Iterable[tuple[Tensor, Tensor]] = (), seed: int = 2
) -> list[Course]:
    """Take clean (n, 3, h, w), degraded by every validation suite, through `ROUNDS` rounds of what will restore.

    untouched: more pictures (3, h, w) that are to stay as they are, beside what they were before they were written;
    whole ones best: false alarms are rare, so they need many, and crops raise fewer.
    """
    found = []
    for picture, before in untouched:
        found += _course(engine, picture[None], before[None], is_clean=True)
    for names in SUITES.values():
        for severity in SEVERITIES if names else SEVERITIES[:1]:
            rng = np.random.default_rng([seed, round(severity * 100)])
            images = [x.permute(1, 2, 0).cpu().numpy() for x in clean]
            degraded = [quantise(stack(names, severity, rng).apply(x)[-1]) for x in images]
            batch = torch.from_numpy(np.stack(degraded)).permute(0, 3, 1, 2)
            found += _course(engine, batch, clean, not names)
    return found


def _course(engine: Engine, image: Tensor, clean: Tensor, is_clean: bool) -> list[Course]:
    latent, size = engine.encode(image), (image.shape[-2], image.shape[-1])
    model, policy = restoring(engine, engine.policy), ThresholdPolicy(NEVER_STOPS)
    assessment, psnr = model.assess(latent), [psnr_db(image, clean)]
    looks = [[look] for look in looks_of(assessment)]
    plans: list[list[Plan]] = [[] for _ in looks]
    origin: Tensor | None = None
    index = 0
    while index < (ROUNDS if not is_clean else 1 + any(p[0].restart for p in plans if p)):
        following = [policy.plan(seen) for seen in looks]
        latent, origin = carried(model, latent, assessment, following, origin)
        assessment = model.assess(latent)
        for seen, done, look, plan in zip(looks, plans, looks_of(assessment), following, strict=True):
            seen.append(look)
            done.append(plan)
        psnr.append(psnr_db(engine.decode(latent, size), clean))
        index += 1
    table = torch.stack(psnr, 1).tolist()
    return [Course(is_clean, tuple(s), tuple(d), tuple(db)) for s, d, db in zip(looks, plans, table, strict=True)]


def fit(found: Sequence[Course]) -> tuple[StopPolicy, dict[str, float]]:
    """The best policy of the grid, refined one and two clear severities at a time, and its figures.

    Clean pictures accepted at round 0 come first: `CLEAN_ACCEPTED` of them if any policy can. Beyond that they count as
    much as the degraded ones: touched for noise, they lose little, and for haze a lot.
    """
    rest = list(itertools.product(MIN_GAINS, _clear(found)))
    loud = _loud(found)
    refined = []
    for accept, first in itertools.product(ACCEPT_SCORES, FIRST_GAINS):
        start = _best(found, [StopPolicy(accept, first, gain, clear, ROUNDS) for gain, clear in rest])
        refined.append(_swapped(found, _refined(found, start, loud), loud))
    best = _later(found, _best(found, refined))
    return best, figures(found, best)


def _later(found: Sequence[Course], policy: StopPolicy) -> StopPolicy:
    """What is worth another round, one degradation at a time, under every gain that a round may have to bring."""
    never = replace(policy, later_clear_severity=len(DEGRADATIONS) * (LATER_CLEAR[0],))
    tried = [policy]
    for gain in (FIRST_GAINS[0], *MIN_GAINS):
        trial = replace(never, min_gain=gain)
        for place in list(range(len(DEGRADATIONS))) * REFINEMENTS:
            trial = _best(found, [_with(trial, "later_clear_severity", place, value) for value in LATER_CLEAR])
        tried.append(trial)
    return _best(found, tried)


def _refined(found: Sequence[Course], policy: StopPolicy, loud: list[list[float]]) -> StopPolicy:
    """One clear severity at a time: letting one more clean picture pass may pay for a stricter other."""
    for place in list(range(len(DEGRADATIONS))) * REFINEMENTS:
        values = sorted({policy.clear_severities(0)[place], *loud[place]})
        policy = _best(found, [_with(policy, "clear_severity", place, value) for value in values])
    return policy


def _swapped(found: Sequence[Course], policy: StopPolicy, loud: list[list[float]]) -> StopPolicy:
    """Two clear severities at a time, one laxer and one stricter: either alone may be worth less, or let too few clean
    pictures pass."""
    now = policy.clear_severities(0)
    trials = [policy]
    for up, down in itertools.permutations(range(len(DEGRADATIONS)), 2):
        laxer = [value for value in loud[up] if value > now[up]][:SWAPPED]
        stricter = [value for value in loud[down] if value < now[down]][-SWAPPED:]
        for more, less in itertools.product(laxer, stricter):
            trials.append(_with(_with(policy, "clear_severity", up, more), "clear_severity", down, less))
    return _best(found, trials)


def _loud(found: Sequence[Course]) -> list[list[float]]:
    """For each degradation, ascending, what is just above what the loudest clean pictures show of it."""
    seen = np.sort([course.looks[0].severities for course in found if course.clean], axis=0)[-LOUDEST_CLEAN:]
    just_above = np.maximum(np.round(seen + 0.001, 3), LEAST_CLEAR)
    return [sorted(set(column)) for column in just_above.T.tolist()]


def _best(found: Sequence[Course], trials: Sequence[StopPolicy]) -> StopPolicy:
    tried = [(trial, figures(found, trial)) for trial in trials]
    most = max(f["clean_accepted"] for _, f in tried)
    allowed = [t for t in tried if t[1]["clean_accepted"] >= min(most, CLEAN_ACCEPTED)]
    return max(allowed, key=_worth)[0]


def _worth(trial: tuple[StopPolicy, dict[str, float]]) -> float:
    policy, found = trial
    price = HARM_PRICE_DB * (found["harmed"] + found["clean_harmed"] + found["spoilt"]) + found["clean_lost_db"]
    price += LATER_PRICE_DB * sum(clear < 1.0 for clear in policy.clear_severities(1))
    return found["gain_db"] - price - DISTRUST_PRICE_DB * (policy.first_gain > FIRST_GAINS[0])


def _with(policy: StopPolicy, name: str, place: int, value: float) -> StopPolicy:
    clear = policy.clear_severities(int(name == "later_clear_severity"))
    changed: dict[str, Any] = {name: (*clear[:place], value, *clear[place + 1 :])}
    return replace(policy, **changed)


def _clear(found: Sequence[Course]) -> list[tuple[float, ...]]:
    """Clear severities to try: what the assessor sees in clean pictures, one by one, more or less strictly."""
    seen = np.asarray([course.looks[0].severities for course in found if course.clean])
    quantiles = [np.quantile(seen, level, axis=0) for level in CLEAR_LEVELS]
    tries = [np.maximum(q * factor, LEAST_CLEAR).clip(max=1.0) for q in quantiles for factor in CLEAR_FACTORS]
    return [tuple(round(float(v), 3) for v in clear) for clear in tries]


def figures(found: Sequence[Course], policy: StopPolicy) -> dict[str, float]:
    """Mean gain over degraded pictures, shares of them harmed and left worse than round 1 did; share of clean pictures
    accepted untouched, of those harmed, and what they lose on average."""
    kept = [(course, course.stopped(policy)) for course in found]
    later = np.asarray([c.psnr_db[k] - c.psnr_db[min(k, 1)] for c, k in kept if not c.clean])
    gains = np.asarray([c.psnr_db[k] - c.psnr_db[0] for c, k in kept if not c.clean])
    losses = np.asarray([max(min(c.psnr_db[0], PERFECT_DB) - c.psnr_db[k], 0.0) for c, k in kept if c.clean])
    clean = [k == 0 for c, k in kept if c.clean]
    return {
        "gain_db": float(gains.mean()) if len(gains) else 0.0,
        "harmed": float((gains < -HARM_DB).mean()) if len(gains) else 0.0,
        "spoilt": float((later < -HARM_DB).mean()) if len(later) else 0.0,
        "clean_accepted": float(np.mean(clean)) if clean else 1.0,
        "clean_harmed": float((losses > HARM_DB).mean()) if clean else 0.0,
        "clean_lost_db": float(losses.mean()) if clean else 0.0,
    }
