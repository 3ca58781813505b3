"""Where the blocks of a picture's compression begin: not at its corner, if it was cropped after it was compressed.

The networks were trained on blocks that begin at the corner, and hardly see others.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_PX = 8
"""Of JPEG."""
SURE = 5.0
"""Standard errors that steps between blocks stand out by, over both directions."""
MOST_STEP = 0.05
"""Larger steps are edges of what is shown."""
MOST_PX = 2048
"""Of a side that are looked at, in its middle."""


def offset_of(image: Tensor) -> tuple[int, int]:
    """Rows and columns of picture (3, h, w) before its first whole block; (0, 0) where none can be told.

    The measure is that of blockiness in quality assessment (Wang, Bovik and Evans, ICIP 2000), in the spatial domain:
    how much larger than its neighbours the step between two lines is, for each of the eight places of a grid.
    """
    full = 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)
    height, width = image.shape[-2:]
    top, left = (max(side - MOST_PX, 0) // 2 // BLOCK_PX * BLOCK_PX for side in (height, width))
    part = image[:, top : top + MOST_PX, left : left + MOST_PX].permute(1, 2, 0).cpu().numpy()
    if min(part.shape[:2]) < 4 * BLOCK_PX:
        return 0, 0
    luma = cv2.cvtColor(np.ascontiguousarray(part, dtype=np.float32) / np.float32(full), cv2.COLOR_RGB2GRAY)
    (row, sure_of_row), (column, sure_of_column) = _first(luma), _first(luma.T)
    return (row, column) if sure_of_row + sure_of_column > SURE * 2**0.5 else (0, 0)


def _first(lines: NDArray[Any]) -> tuple[int, float]:
    """Of lines (n, m), how many come before the first block, and how many standard errors tell it from the next best:
    WebP's blocks of half the size have two."""
    steps = np.abs(np.diff(lines, axis=0))
    beyond = np.clip(steps[1:-1] - (steps[:-2] + steps[2:]) / 2, -MOST_STEP, MOST_STEP).mean(axis=1)
    place = (np.arange(len(beyond)) + 2) % BLOCK_PX  # of the line after the step
    means = np.asarray([beyond[place == at].mean() for at in range(BLOCK_PX)])
    first = int(means.argmax())
    error = beyond.std() / (len(beyond) / BLOCK_PX) ** 0.5
    return first, float((means[first] - np.delete(means, first).max()) / (error + 1e-9))
