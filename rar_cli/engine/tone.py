"""Tone: light and colour of a large picture, judged from a reduced copy as well.

Scene light is a global property. The networks learned from crops of 128 to 320 px, so they see only a part of a larger
picture at a time. They see all of a reduced copy. Where low light or haze is removed, the colours of the result are the
mean of both views. The finer bands come from the picture, the coarsest from both (Burt and Adelson, A multiresolution
spline, 1983). The mean is made in pixels, so the codec must be linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rar_cli.compute.tiling import add_by_tiles, by_tiles, pad_to_multiple
from rar_cli.engine.engine import Engine
from rar_cli.networks.contracts import is_linear
from rar_cli.types import LIGHT, PLACE, Assessment, Plan

SEEN = 0.1
"""Severity of low light or haze from which the reduced copy counts."""

FAR_PX = 160
"""Least shorter side of a reduced picture (docs/decisions.md#tone)."""

FAR_SHARE = 0.5
"""Weight of the reduced copy in the colours (docs/decisions.md#tone)."""


def reduction_of(latent: Tensor, factor: int) -> int:
    """How many times to reduce a picture, whose latent (b, c, h, w) has `factor` px per cell; 1: not at all."""
    return max(min(latent.shape[-2:]) * factor // FAR_PX, 1)


@dataclass(frozen=True)
class Tone:
    """A model for the loop: the engine, with the tone of the reduced picture."""

    engine: Engine

    def assess(self, latent: Tensor) -> Assessment:
        """As the engine's."""
        return self.engine.assess(latent)

    def transport(self, latent: Tensor, assessment: Assessment, plans: Sequence[Plan], origin: Tensor | None) -> Tensor:
        """latent (b, c, h, w) -> restored latent. Its colours are the mean of both views."""
        condition = self.engine.condition(assessment, plans)
        moved = self.engine.move(latent, condition, origin)
        reduction = reduction_of(latent, self.engine.factor)
        light = self._light(assessment, plans)
        if reduction == 1 or not any(light):
            return moved
        begin, now = self._reduced(latent, reduction), self._reduced(moved, reduction)
        there = self.engine.condition(self.engine.assess(begin), plans)
        origin_there = None if origin is None else self._reduced(origin, reduction)
        far = self.engine.move(begin, (condition + there) / 2, origin_there)
        share = FAR_SHARE * torch.tensor(light).to(now)
        change = (self._colours(far) - self._colours(now)) * share[:, None, None, None]
        add_by_tiles(self._grown(reduction), change, moved, max(self.engine.tile // reduction, 1), 1, (reduction, 1))
        return moved

    def _light(self, assessment: Assessment, plans: Sequence[Plan]) -> list[bool]:
        """For each picture: whether its plan removes low light or haze of a severity from `SEEN`."""
        rows = assessment.severities[:, [PLACE[d] for d in LIGHT]].tolist()
        return [
            any(d in plan.remove and severity >= SEEN for d, severity in zip(LIGHT, row, strict=True))
            for row, plan in zip(rows, plans, strict=True)
        ]

    def _reduced(self, latent: Tensor, reduction: int) -> Tensor:
        """latent (b, c, h, w) -> that of the picture reduced so many times, by means of its pixels."""
        factor = self.engine.factor

        def tile(part: Tensor) -> Tensor:
            picture = self.engine.model.codec.decode(part.to(self.engine.device, torch.float32))
            return self.engine.model.codec.encode(F.avg_pool2d(pad_to_multiple(picture, reduction * factor), reduction))

        halo = -(-self.engine.model.codec.halo_px // (factor * reduction)) * reduction
        return by_tiles(tile, latent, max(self.engine.tile // reduction, 1) * reduction, halo, (1, reduction))

    def _colours(self, latent: Tensor) -> Tensor:
        """latent (b, c, h, w) -> the mean colour of each cell, (b, 3, h, w)."""
        return F.avg_pool2d(
            self.engine.model.codec.decode(latent.to(self.engine.device, torch.float32)), self.engine.factor
        )

    def _grown(self, reduction: int) -> Callable[[Tensor], Tensor]:
        """A change of colours, one per cell of the picture reduced so many times -> that of the latent."""
        factor, codec = reduction * self.engine.factor, self.engine.model.codec
        assert is_linear(codec)  # `restoring` sees to it
        return lambda colours: codec.encode_change(F.interpolate(colours, scale_factor=factor, mode="bilinear"))
