"""Grain that is to stay while something else goes: what removing it alone would take away is put back.

To restore around noise is harder than to restore: what lies under it is lost, and where haze is cleared the grain grows
with the contrast. So all that is wanted goes, noise as well, and the grain that the input had comes back as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rar_cli.loop.rounds import Assess, Move
from rar_cli.types import DEGRADATIONS, Assessment, Degradation

NOISE = DEGRADATIONS.index(Degradation.NOISE)


def stays(remove_mask: Tensor | None) -> bool:
    """Whether a mask (9,) of what is to be removed leaves the noise and takes something else."""
    return remove_mask is not None and not remove_mask[NOISE] and bool(remove_mask.any())


@dataclass(frozen=True)
class Grain:
    """The loop's two functions for runs where the grain stays: `engine_assess` and `engine_move` with that.

    clear: severity up to which noise counts as none; such pictures are moved as ever.
    """

    engine_assess: Assess
    engine_move: Move
    clear: float

    def assess(self, latent: Tensor, /, *, remove_mask: Tensor | None) -> Assessment:
        """As the engine's, but of a condition (b, 2 n + 1, d) that `move` takes apart."""
        assert remove_mask is not None  # there would be nothing to leave
        alone = torch.zeros_like(remove_mask)
        alone[..., NOISE] = 1.0
        assessment = self.engine_assess(latent, remove_mask=alone)  # what is found depends on no mask
        noisy = (assessment.severities[:, NOISE] > self.clear).to(remove_mask.dtype)
        wanted = remove_mask + noisy[:, None] * alone
        condition = self.engine_assess(latent, remove_mask=wanted).condition
        flag = noisy[:, None, None].to(condition.dtype).expand_as(condition[:, :1])
        # One tensor, for the loop picks pictures out of it.
        return replace(assessment, condition=torch.cat([condition, assessment.condition, flag], dim=1))

    def move(self, latent: Tensor, condition: Tensor, origin: Tensor | None, /) -> Tensor:
        """latent (b, c, h, w) -> the same without what is wanted, and with its grain."""
        size = condition.shape[1] // 2
        moved = self.engine_move(latent, condition[:, :size], origin)
        noisy = condition[:, -1, 0] > 0
        if not noisy.any():  # the loop has just read this round's assessment: nothing is waited for
            return moved
        cleaned = self.engine_move(latent, condition[:, size:-1], origin)
        return moved + (latent - cleaned) * noisy.to(latent)[:, None, None, None]
