"""The closed loop (arXiv 2603.26385): assess -> verdict -> transport, on latents alone.

`rounds` is a generator that knows no files and prints nothing; the command line, the benchmark,
training and the tests all consume the same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rar_cli.loop.verdict import asked_of_light, judge, later_wanted, light_waits, way, without_light
from rar_cli.types import DEGRADATIONS, Assessment, Restoration, Round, StopPolicy, Verdict


class Assess(Protocol):
    """latent (b, c, h, w), and what is to be removed, (9,) or (b, 9), None for all -> Assessment of b pictures."""

    def __call__(self, latent: Tensor, /, *, remove_mask: Tensor | None) -> Assessment: ...


Move = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(latent (b, c, h, w), condition (b, n, d), that of round 0, None where it is this one) -> latent after one
transport."""


@dataclass(frozen=True)
class Pass:
    """One round over the pictures of a batch that are still in the loop.

    pictures: their places in the batch. rounds: one per picture. latent: (len(pictures), c, h, w).
    """

    index: int
    pictures: tuple[int, ...]
    rounds: tuple[Round, ...]
    latent: Tensor


def rounds(
    assess: Assess,
    move: Move,
    latent: Tensor,
    policy: StopPolicy,
    remove_mask: Tensor | None = None,
) -> Generator[Pass, None, None]:
    """Run the loop on latent (b, c, h, w); yields round 0 (the input as assessed), 1, 2, ...

    Pictures leave the batch with their final verdict; the verdicts of a batch are read from the
    device once per round. remove_mask: (9,), 1 for each degradation that is to be removed; of these,
    rounds after the first remove those that the input showed (`verdict.later_wanted`). Where there is doubt about low
    light and haze, and a round left to come back to them, round 1 leaves them (`verdict.light_waits`), and is where
    memory begins. Where low resolution is the worst, it goes a part of its way (`verdict.way`).
    """
    pictures = list(range(latent.shape[0]))
    best: dict[int, float] = {}
    found: dict[int, list[float]] = {}
    last: dict[int, list[float]] = {}
    waiting: set[int] = set()
    asked_for = remove_mask
    origin: Tensor | None = None
    index = 0
    while pictures:
        started = time.perf_counter()
        assessment = assess(latent, remove_mask=remove_mask)
        readings = _read(assessment, remove_mask)
        if index == 0:
            remove_mask = later_wanted(assessment.severities, remove_mask)
        judged = []
        for picture, (score, severities, unwanted) in zip(pictures, readings, strict=True):
            before, waited = found.setdefault(picture, severities), picture in waiting
            asked = asked_of_light(index, before, last.get(picture, unwanted), severities, waited)
            last[picture] = unwanted
            verdict, reason = judge(index, score, best.get(picture), unwanted, policy, asked, waited and index == 1)
            if index == 0 and verdict is Verdict.REPEAT and policy.max_rounds > 1 and light_waits(unwanted):
                waiting.add(picture)
                reason += "; round 1 leaves low light and haze"
            if verdict is not Verdict.REVERT:
                best[picture] = max(score, best.get(picture, score))  # what a later round has to improve on
            judged.append((score, severities, verdict, reason))
        seconds = (time.perf_counter() - started) / len(pictures)
        yield Pass(
            index,
            tuple(pictures),
            tuple(
                Round(index, score, dict(zip(DEGRADATIONS, severities, strict=True)), verdict, reason, seconds)
                for score, severities, verdict, reason in judged
            ),
            latent,
        )
        stay = [i for i, (_, _, verdict, _) in enumerate(judged) if verdict is Verdict.REPEAT]
        pictures = [pictures[i] for i in stay]
        condition = assessment.condition
        if pictures and len(stay) < len(judged):  # indexing copies: a large latent cannot afford it
            latent = latent[torch.tensor(stay, device=latent.device)]
            condition = condition[torch.tensor(stay, device=condition.device)]
            assert remove_mask is not None  # since round 0
            remove_mask = remove_mask[torch.tensor(stay, device=remove_mask.device)]
            if origin is not None:
                origin = origin[torch.tensor(stay, device=origin.device)]
        if pictures and index == 0:
            told = [last[picture] for picture in pictures]
            waits = [picture in waiting for picture in pictures]
            latent, origin = first_move(assess, move, latent, condition, told, waits, asked_for)
        elif pictures:
            latent, origin = move(latent, condition, origin), latent if origin is None else origin
        index += 1


def first_move(
    assess: Assess,
    move: Move,
    latent: Tensor,
    condition: Tensor,
    severities: Sequence[Sequence[float]],
    waits: Sequence[bool],
    remove_mask: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Round 1 of latent (b, c, h, w), some of which go only a part of their way (`verdict.way`), and some of whose low
    light and haze wait -> moved, origin for the next.

    condition: (b, n, d) without waiting. severities: b times nine, 0 for what is not to be removed. remove_mask: (9,),
    None for all. What the waiting ones go on from is where their memory begins: of rounds that leave something the
    restorer has learned nothing.
    """
    if any(waits):
        waiting = torch.tensor(waits, device=condition.device)
        condition = assess(latent, remove_mask=without_light(remove_mask, waiting)).condition
    moved = move(latent, condition, None)
    ways = [way(each) for each in severities]
    if min(ways) < 1.0:  # `on_path`, but in place: a large latent cannot afford copies
        along = torch.tensor(ways, dtype=latent.dtype, device=latent.device)[:, None, None, None]
        torch.lerp(latent, moved, along, out=moved)
    if not any(waits):
        return moved, latent
    if all(waits):
        return moved, None  # None: the very one that comes next, which a large latent need not be copied for
    return moved, torch.where(waiting.to(latent.device)[:, None, None, None], moved, latent)


def settle(passes: Iterator[Pass]) -> tuple[Restoration, ...]:
    """Consume `rounds` and keep, for each picture, its trace and the latent of its last round not reverted."""
    traces: dict[int, list[Round]] = {}
    kept: dict[int, tuple[int, Tensor]] = {}
    for step in passes:
        for place, (picture, this) in enumerate(zip(step.pictures, step.rounds, strict=True)):
            traces.setdefault(picture, []).append(this)
            if this.verdict is not Verdict.REVERT:
                kept[picture] = (this.index, step.latent[place : place + 1])
    return tuple(Restoration(tuple(traces[p]), *kept[p]) for p in sorted(traces))


def _read(assessment: Assessment, remove_mask: Tensor | None) -> list[tuple[float, list[float], list[float]]]:
    """One transfer from the device: [(score, nine severities, the same where they are to be removed)] per picture."""
    found = assessment.severities
    unwanted = found if remove_mask is None else found * remove_mask
    table = torch.cat([assessment.score[:, None], found, unwanted], dim=1).float().cpu().tolist()
    last = 1 + len(DEGRADATIONS)
    return [(row[0], row[1:last], row[last:]) for row in table]
