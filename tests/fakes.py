"""Scripted stand-ins, and parameters of the real classes at toy width."""

from __future__ import annotations

import torch
from torch import Tensor

from rar_cli.networks.assessor import AssessorParams
from rar_cli.networks.codec import CodecParams
from rar_cli.networks.model import RarParams
from rar_cli.networks.restorer import RestorerParams
from rar_cli.types import DEGRADATIONS, Assessment, Degradation


def tiny_params() -> RarParams:
    return RarParams(
        CodecParams(factor=4, channels=48, width=8),
        AssessorParams(
            channels=48, stem=(8, 8, 8), grid=2, width=16, layers=1, heads=2, condition_width=8, free_tokens=2
        ),
        RestorerParams(
            channels=48,
            widths=(8, 8, 8),
            blocks=(1, 1, 1),
            condition_tokens=len(DEGRADATIONS) + 2,
            condition_width=8,
            modulation_width=16,
            detail_blocks=1,
            detail_width=8,
            memory=True,
        ),
    )


class FakeAssessor:
    """Gives each picture its scripted scores, one per call that sees it; counts calls, keeps their masks.

    severity: of all but low resolution, where a part of the way would be gone, or of each; as it comes, so much that
    nothing is in doubt.
    """

    def __init__(self, scores: list[list[float]], severity: float | Tensor = 0.7) -> None:
        self.scripts = [list(s) for s in scores]
        self.severity = torch.as_tensor(severity)
        if not self.severity.dim():
            self.severity = torch.tensor([severity * (d is not Degradation.LOW_RESOLUTION) for d in DEGRADATIONS])
        self.calls = 0
        self.masks: list[Tensor | None] = []

    def __call__(self, latent: Tensor, /, *, remove_mask: Tensor | None) -> Assessment:
        self.calls += 1
        self.masks.append(remove_mask)
        pictures = latent[:, 0, 0, 0].long().tolist()  # each fake latent carries its number
        score = torch.tensor([self.scripts[p].pop(0) for p in pictures])
        severities = self.severity.expand(len(pictures), len(DEGRADATIONS))
        return Assessment(score, severities, torch.zeros(len(pictures), 1, 1))


class FakeMove:
    """Adds 1 to channel 1 per transport, leaves the number in channel 0; counts pictures moved.

    Checks that each picture comes with its own latent of round 0, from the second transport on.
    """

    def __init__(self) -> None:
        self.moved = 0

    def __call__(self, latent: Tensor, condition: Tensor, origin: Tensor | None) -> Tensor:
        assert len(latent) == len(condition)
        if origin is None:
            assert not latent[:, 1].any()
        else:
            assert torch.equal(origin[:, 0], latent[:, 0])
            assert not origin[:, 1].any()
            assert latent[:, 1].all()
        self.moved += len(latent)
        latent = latent.clone()
        latent[:, 1] += 1
        return latent


def numbered(count: int) -> Tensor:
    """Fake latents (count, 2, 1, 1): picture number, rounds so far."""
    latent = torch.zeros(count, 2, 1, 1)
    latent[:, 0, 0, 0] = torch.arange(count)
    return latent
