"""Scripted stand-ins, and parameters of the real classes at toy width."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rar_cli.engine.options import EngineOptions
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.codec import CodecParams
from rar_cli.networks.model import Rar, RarParams
from rar_cli.networks.restorer import RestorerParams
from rar_cli.types import DEGRADATIONS, Assessment, Degradation

CPU = EngineOptions("cpu", "float32")


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


def with_heads(model: Rar) -> Rar:
    """The same model with heads of gain of random weights."""
    assessor = replace(model.params.assessor, gain_width=8)
    grown = Rar(replace(model.params, assessor=assessor))
    grown.load_state_dict(model.state_dict(), strict=False)
    return grown.eval()


class FakeModel:
    """Scripted scores, one per assessment of a picture; every transport adds 1 to channel 1. Counts both, and keeps
    what each transport was given: (picture, what it removes, rounds since its memory began)."""

    def __init__(self, scores: list[list[float]], severity: float = 0.7) -> None:
        self.scripts = [list(s) for s in scores]
        self.severity = severity
        self.assessed = 0
        self.transports: list[tuple[int, frozenset[Degradation], float]] = []

    def assess(self, latent: Tensor) -> Assessment:
        self.assessed += 1
        pictures = latent[:, 0, 0, 0].long().tolist()  # each fake latent carries its number
        score = torch.tensor([self.scripts[p].pop(0) for p in pictures])
        return Assessment(score, torch.full((len(pictures), len(DEGRADATIONS)), self.severity))

    def transport(self, latent, assessment, plans, origin):
        assert len(latent) == len(plans) == len(assessment.score)
        begun = latent if origin is None else origin
        assert torch.equal(begun[:, 0], latent[:, 0])
        since = (latent - begun)[:, 1, 0, 0].tolist()
        pictures = latent[:, 0, 0, 0].int().tolist()
        self.transports += [(p, plan.remove, s) for p, plan, s in zip(pictures, plans, since, strict=True)]
        return latent + torch.tensor([0.0, 1.0])[:, None, None]


def numbered(count: int) -> Tensor:
    """Fake latents (count, 2, 1, 1): picture number, rounds so far."""
    latent = torch.zeros(count, 2, 1, 1)
    latent[:, 0, 0, 0] = torch.arange(count)
    return latent
