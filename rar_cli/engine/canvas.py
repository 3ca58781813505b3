"""Canvas: the part of a picture that the networks see.

Borders stay outside. A crop that cut blocks of JPEG is continued to the corner of a block. A small picture is mirrored
to the size of the training crops (docs/decisions.md#canvas).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rar_cli.engine.borders import inside
from rar_cli.engine.grid import BLOCK_PX, offset_of

SMALL_PX, ENOUGH_PX = 96, 128
"""Sides below SMALL_PX are continued to ENOUGH_PX, the smallest crops of training."""


class Canvas(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of a picture.

    `above` more rows and `beside` more columns are mirrored at its upper and left edges.
    """

    top: int
    bottom: int
    left: int
    right: int
    above: int = 0
    beside: int = 0

    def of(self, image: Tensor) -> Tensor:
        """Image (b, 3, h, w) -> the part that the networks see."""
        part = image[..., self.top : self.bottom, self.left : self.right]
        if not (self.above or self.beside):
            return part
        mirrored = ((0, 0), (0, 0), (self.above, 0), (self.beside, 0))
        return torch.from_numpy(np.pad(part.cpu().numpy(), mirrored, mode="symmetric"))  # keeps blocks where they are

    def put_back(self, seen: Tensor, image: Tensor) -> Tensor:
        """A copy of image (b, 3, h, w) on the CPU, with `seen` in the place of what the networks saw."""
        whole = image.cpu().clone()
        whole[..., self.top : self.bottom, self.left : self.right] = seen[..., self.above :, self.beside :]
        return whole


def canvas_of(image: Tensor) -> Canvas:
    """The canvas of one picture (3, h, w), float in [0, 1] or integer at full range."""
    box = inside(image)
    part = image[:, box.top : box.bottom, box.left : box.right]
    first = offset_of(part)
    above, beside = (_more(side, line) for side, line in zip(part.shape[1:], first, strict=True))
    return Canvas(*box, above, beside)


def _more(side: int, first: int) -> int:
    """Lines to mirror before a side whose first block begins at line `first`."""
    to_block = -first % BLOCK_PX
    missing = ENOUGH_PX - side - to_block if side < SMALL_PX else 0
    return to_block + max(-(-missing // BLOCK_PX) * BLOCK_PX, 0)
