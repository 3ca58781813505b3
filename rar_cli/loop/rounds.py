"""The closed loop (arXiv 2603.26385): assess -> decide -> transport, on latents alone.

`rounds` is a generator that knows no files, no rule and prints nothing. Command line, benchmark, training and tests
consume the same one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rar_cli.loop.policy import Policy
from rar_cli.types import DEGRADATIONS, Assessment, Look, Plan, Restoration, Round, Verdict


class Restoring(Protocol):
    """What the loop needs of a model."""

    def assess(self, latent: Tensor) -> Assessment:
        """latent (b, c, h, w) -> assessment of b pictures."""
        ...

    def transport(self, latent: Tensor, assessment: Assessment, plans: Sequence[Plan], origin: Tensor | None) -> Tensor:
        """latent (b, c, h, w), its assessment and one plan each -> restored latent, a new tensor of the same shape.

        origin: the latent that memory begins with, None where it is this one. The strength is the loop's matter.
        """
        ...


@dataclass(frozen=True)
class Pass:
    """One round over the pictures of a batch that are still in the loop.

    pictures: their places in the batch. rounds: one per picture. latent: (len(pictures), c, h, w).
    """

    index: int
    pictures: tuple[int, ...]
    rounds: tuple[Round, ...]
    latent: Tensor


def rounds(model: Restoring, latent: Tensor, policy: Policy) -> Generator[Pass, None, None]:
    """Run the loop on latent (b, c, h, w); yields round 0 (the input as assessed), 1, 2, ...

    Pictures leave the batch with their final verdict. The seconds of a round are those of assessing and deciding.
    """
    pictures = list(range(latent.shape[0]))
    looks: list[list[Look]] = [[] for _ in pictures]
    plans: list[list[Plan]] = [[] for _ in pictures]
    origin: Tensor | None = None
    index = 0
    while pictures:
        started = time.perf_counter()
        assessment = model.assess(latent)
        for picture, look in zip(pictures, looks_of(assessment), strict=True):
            looks[picture].append(look)
        decisions = [policy.decide(looks[picture], plans[picture]) for picture in pictures]
        seconds = (time.perf_counter() - started) / len(pictures)
        judged = tuple(
            Round(
                index,
                looks[p][-1].score,
                looks[p][-1].named,
                d.verdict,
                d.reason,
                seconds,
                d.plan,
                d.expected_db,
                d.found_db,
            )
            for p, d in zip(pictures, decisions, strict=True)
        )
        yield Pass(index, tuple(pictures), judged, latent)
        stay = [place for place, decision in enumerate(decisions) if decision.plan is not None]
        following = [decision.plan for decision in decisions if decision.plan is not None]
        pictures = [pictures[place] for place in stay]
        if pictures:
            latent, assessment = _rows(latent, stay), assessment.rows(stay)
            origin = None if origin is None else _rows(origin, stay)
            for picture, plan in zip(pictures, following, strict=True):
                plans[picture].append(plan)
            latent, origin = carried(model, latent, assessment, following, origin)
        index += 1


def carried(
    model: Restoring, latent: Tensor, assessment: Assessment, plans: Sequence[Plan], origin: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """One transport, each picture as far as its plan's strength -> (restored latent, origin of the next round)."""
    restored = model.transport(latent, assessment, plans, origin)
    if min(plan.strength for plan in plans) < 1.0:  # in place: a large latent cannot afford copies
        strengths = torch.tensor([plan.strength for plan in plans], dtype=latent.dtype, device=latent.device)
        torch.lerp(latent, restored, strengths[:, None, None, None], out=restored)
    begun = latent if origin is None else origin
    restarts = [plan.restart for plan in plans]
    if all(restarts):
        return restored, None  # the very one that comes next, which a large latent need not be copied for
    if not any(restarts):
        return restored, begun
    return restored, torch.where(torch.tensor(restarts, device=latent.device)[:, None, None, None], restored, begun)


def looks_of(assessment: Assessment) -> list[Look]:
    """An assessment as plain numbers, one look per picture; one transfer from the device."""
    columns = [assessment.score[:, None], assessment.severities]
    columns += [] if assessment.state is None else [assessment.state]
    table = torch.cat([column.float() for column in columns], 1).cpu().tolist()
    last = 1 + len(DEGRADATIONS)
    return [Look(row[0], tuple(row[1:last]), tuple(row[last:])) for row in table]


def _rows(x: Tensor, stay: Sequence[int]) -> Tensor:
    """Rows `stay` of x; x itself where all stay, for a large latent cannot afford a copy."""
    return x if len(stay) == len(x) else x[torch.tensor(stay, device=x.device)]


def settle(passes: Iterator[Pass]) -> tuple[Restoration, ...]:
    """Consume `rounds` and keep, for each picture, its trace and the latent of its last round not reverted."""
    traces: dict[int, list[Round]] = {}
    best: dict[int, tuple[int, Tensor]] = {}
    for step in passes:
        for place, (picture, this) in enumerate(zip(step.pictures, step.rounds, strict=True)):
            traces.setdefault(picture, []).append(this)
            if this.verdict is not Verdict.REVERT:
                best[picture] = (this.index, step.latent[place : place + 1])
    return tuple(Restoration(tuple(traces[p]), *best[p]) for p in sorted(traces))
