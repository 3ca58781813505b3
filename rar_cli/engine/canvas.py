"""What of a picture the networks see: what is inside of a border, continued so that blocks of compression begin at its
corner, and so that it is not much smaller than the pictures of training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rar_cli.engine.borders import inside
from rar_cli.engine.grid import BLOCK_PX, offset_of

SMALL_PX, ENOUGH_PX = 96, 128
"""Sides below the one are continued to the other: of crops in training, the smallest have 128 px."""


class Canvas(NamedTuple):
    """Rows from top to before bottom and columns from left to before right of a picture, mirrored at its upper and left
    edges by `above` rows and `beside` columns."""

    top: int
    bottom: int
    left: int
    right: int
    above: int = 0
    beside: int = 0

    def of(self, image: Tensor) -> Tensor:
        """Image (b, 3, h, w) -> what the networks see of it."""
        part = image[..., self.top : self.bottom, self.left : self.right]
        if not (self.above or self.beside):
            return part
        mirrored = ((0, 0), (0, 0), (self.above, 0), (self.beside, 0))
        return torch.from_numpy(np.pad(part.cpu().numpy(), mirrored, mode="symmetric"))  # keeps blocks where they are

    def put_back(self, seen: Tensor, image: Tensor) -> Tensor:
        """Image (b, 3, h, w) with what was made of what the networks saw; a copy, on the CPU."""
        whole = image.cpu().clone()
        whole[..., self.top : self.bottom, self.left : self.right] = seen[..., self.above :, self.beside :]
        return whole


def canvas_of(image: Tensor) -> Canvas:
    """Of one picture (3, h, w), float in [0, 1] or integer at full range."""
    box = inside(image)
    part = image[:, box.top : box.bottom, box.left : box.right]
    first = offset_of(part)
    above, beside = (_more(*told) for told in zip(part.shape[1:], first, strict=True))
    return Canvas(*box, above, beside)


def _more(side: int, first: int) -> int:
    """How many lines more there have to be before one side's lines, of which the first block begins at `first`."""
    to_block = -first % BLOCK_PX
    missing = ENOUGH_PX - side - to_block if side < SMALL_PX else 0
    return to_block + max(-(-missing // BLOCK_PX) * BLOCK_PX, 0)
