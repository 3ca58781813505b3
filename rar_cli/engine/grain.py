"""Grain that stays while other degradations are removed.

The restorer works badly around noise: detail under the noise is lost, and the grain grows where haze is cleared. So the
noise is removed with everything else. Then the grain of the input is put back: the part that removing noise alone takes
away (docs/decisions.md#grain).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rar_cli.loop.rounds import Restoring
from rar_cli.types import PLACE, Assessment, Degradation, Plan

NOISE = Degradation.NOISE

CLEAR = 0.08
"""Severity up to which noise counts as none."""


def grain_stays(wanted: frozenset[Degradation]) -> bool:
    """Whether noise is to stay while something else is removed."""
    return bool(wanted) and NOISE not in wanted


@dataclass(frozen=True)
class Grain:
    """A model for the loop whose grain stays."""

    model: Restoring

    def assess(self, latent: Tensor) -> Assessment:
        """As the model's."""
        return self.model.assess(latent)

    def transport(self, latent: Tensor, assessment: Assessment, plans: Sequence[Plan], origin: Tensor | None) -> Tensor:
        """latent (b, c, h, w) -> the restored latent, with the grain of the input."""
        noisy = assessment.severities[:, PLACE[NOISE]] > CLEAR
        if not noisy.any():  # the loop has just read this assessment: nothing is waited for
            return self.model.transport(latent, assessment, plans, origin)
        wider = [replace(p, remove=p.remove | {NOISE}) if n else p for p, n in zip(plans, noisy.tolist(), strict=True)]
        restored = self.model.transport(latent, assessment, wider, origin)
        alone = [replace(plan, remove=frozenset({NOISE})) for plan in plans]
        cleaned = self.model.transport(latent, assessment, alone, origin)
        return restored + (latent - cleaned) * noisy.to(latent)[:, None, None, None]
