"""Frames: parts of a picture, each assessed as if it were the whole.

The mean of several conditions is nearer to the truth than one, as with the crops of a classifier (AlexNet, Sec. 4.1).
The assessor describes a picture by means over a grid. All frames share one finer grid, so the features below it are
computed once.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

Frame = tuple[int, int, int]
"""Top and left in fine cells, of which FINENESS times the grid are a side of the picture; and how many fine cells a
cell of the frame's own grid measures along a side."""

FINENESS = 5
"""Fine cells along a side of a grid's cell, where the frame is the whole picture."""

WHOLE: Frame = (0, 0, FINENESS)
PART = 3
"""Fine cells along a side of a grid's cell in a part, which reaches over PART / FINENESS of both sides."""

FRAMED_CELLS = 128
"""Shorter side of the smallest latent with parts (512 px): theirs are then as large as what the assessor learned from.
Those of smaller ones mislead it: 128 px pictures lose 0.3 dB by them, 256 px nothing is gained."""


def frames_of(grid: int, per_side: int) -> tuple[Frame, ...]:
    """The whole and per_side**2 parts, evenly spread; none at all where per_side is 0."""
    if per_side == 0:
        return ()
    last = (FINENESS - PART) * grid
    starts = [round(i * last / max(per_side - 1, 1)) for i in range(per_side)]
    return (WHOLE, *((top, left, PART) for top in starts for left in starts))


def framed(x: Tensor, frame: Frame, grid: int) -> Tensor:
    """x (b, n, FINENESS * grid, FINENESS * grid), means of fine cells -> means of the frame's, (b, n, grid, grid)."""
    top, left, fine = frame
    side = fine * grid
    return F.avg_pool2d(x[..., top : top + side, left : left + side], fine)
