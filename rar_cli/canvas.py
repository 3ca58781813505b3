"""What of a picture the networks see: what is inside of a border, continued so that blocks of compression begin at its
corner."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rar_cli.borders import inside
from rar_cli.grid import BLOCK_PX, offset_of


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
        return torch.from_numpy(np.pad(part.cpu().numpy(), mirrored, mode="reflect"))

    def put_back(self, seen: Tensor, image: Tensor) -> Tensor:
        """Image (b, 3, h, w) with what was made of what the networks saw; a copy, on the CPU."""
        whole = image.cpu().clone()
        whole[..., self.top : self.bottom, self.left : self.right] = seen[..., self.above :, self.beside :]
        return whole


def canvas_of(image: Tensor) -> Canvas:
    """Of one picture (3, h, w), float in [0, 1] or integer at full range."""
    box = inside(image)
    row, column = offset_of(image[:, box.top : box.bottom, box.left : box.right])
    return Canvas(*box, above=-row % BLOCK_PX, beside=-column % BLOCK_PX)
