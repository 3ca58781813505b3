"""Tone: the light and haze of a picture, judged from farther away as well.

What light a scene had, the whole of it tells. Networks that learned from crops of 128 to 320 px see little of a larger
picture's at a time; of the picture reduced they see all. So where low light or haze goes, the colours that come out are
met halfway by those that come of the picture reduced. It is the blend of two pyramids (Burt and Adelson, A
multiresolution spline, 1983): the finer bands from near, the coarsest as the mean of both. Both ways lead through
pixels, so the codec should be a linear one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from rar_cli.compute.tiling import add_by_tiles, by_tiles, pad_to_multiple
from rar_cli.loop.rounds import Assess, Move
from rar_cli.loop.verdict import LIGHT, SEEN
from rar_cli.networks.codec import Codec
from rar_cli.types import DEGRADATIONS, Assessment

FAR_PX = 160
"""Least shorter side of a reduced picture. Of those tried, 107 to 320 px, the best or near it for pictures of 321 to
750 px alike; without a reduction there is nothing to see that is not seen already."""

FAR_SHARE = 0.5
"""Of what comes of the reduced picture in the colours; of a third to all of it the best or near it."""


def reduction_of(latent: Tensor, factor: int) -> int:
    """How many times to reduce a picture, whose latent (b, c, h, w) has `factor` px per cell; 1: not at all."""
    return max(min(latent.shape[-2:]) * factor // FAR_PX, 1)


@dataclass(frozen=True)
class Tone:
    """The loop's two functions with the tone from farther away: `engine_assess` and `engine_move` with that.

    tile: cells per side of what of a large picture is reduced at once. device: where to compute.
    """

    codec: Codec
    engine_assess: Assess
    engine_move: Move
    tile: int
    device: torch.device

    def assess(self, latent: Tensor, /, *, remove_mask: Tensor | None) -> Assessment:
        """As the engine's, but of a condition (b, n + m, d) that `move` takes apart: the last m tokens say whether
        light or haze is to go, and what else."""
        found = self.engine_assess(latent, remove_mask=remove_mask)
        wanted = torch.ones_like(found.severities) if remove_mask is None else remove_mask.expand_as(found.severities)
        light = (found.severities * wanted)[:, LIGHT].amax(1, keepdim=True) >= SEEN
        told = torch.cat([light, wanted], 1).to(found.condition.dtype)
        width = found.condition.shape[-1]
        told = rearrange(F.pad(told, (0, -told.shape[1] % width)), "b (m d) -> b m d", d=width)
        return replace(found, condition=torch.cat([found.condition, told], 1))

    def move(self, latent: Tensor, condition: Tensor, origin: Tensor | None, /) -> Tensor:
        """latent (b, c, h, w) -> moved, and its colours met halfway by those of the moved picture reduced."""
        told = -(-(1 + len(DEGRADATIONS)) // condition.shape[-1])
        condition, last = condition[:, :-told], condition[:, -told:].flatten(1)
        moved = self.engine_move(latent, condition, origin)
        reduction = reduction_of(latent, self.codec.params.factor)
        light = last[:, 0] > 0
        if reduction == 1 or not light.any():  # the loop has just read this round's assessment: nothing is waited for
            return moved
        begin, now = self._reduced(latent, reduction), self._reduced(moved, reduction)
        there = self.engine_assess(begin, remove_mask=last[:, 1 : 1 + len(DEGRADATIONS)]).condition
        origin_there = None if origin is None else self._reduced(origin, reduction)
        far = self.engine_move(begin, (condition + there) / 2, origin_there)
        change = (self._colours(far) - self._colours(now)) * (FAR_SHARE * light.to(now))[:, None, None, None]
        add_by_tiles(self._grown(reduction), change, moved, max(self.tile // reduction, 1), 1, (reduction, 1))
        return moved

    def _reduced(self, latent: Tensor, reduction: int) -> Tensor:
        """latent (b, c, h, w) -> that of the picture reduced so many times, by means of its pixels."""
        factor = self.codec.params.factor

        def tile(part: Tensor) -> Tensor:
            picture = self.codec.decode(part.to(self.device, torch.float32))
            return self.codec.encode(F.avg_pool2d(pad_to_multiple(picture, reduction * factor), reduction))

        halo = -(-self.codec.halo_px // (factor * reduction)) * reduction
        return by_tiles(tile, latent, max(self.tile // reduction, 1) * reduction, halo, (1, reduction))

    def _colours(self, latent: Tensor) -> Tensor:
        """latent (b, c, h, w) -> the mean colour of each cell, (b, 3, h, w)."""
        return F.avg_pool2d(self.codec.decode(latent.to(self.device, torch.float32)), self.codec.params.factor)

    def _grown(self, reduction: int) -> Callable[[Tensor], Tensor]:
        """A change of colours, one per cell of the picture reduced so many times -> that of the latent."""
        factor = reduction * self.codec.params.factor
        return lambda colours: self.codec.encode_change(F.interpolate(colours, scale_factor=factor, mode="bilinear"))
