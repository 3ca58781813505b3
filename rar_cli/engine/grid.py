"""Grid: where the blocks of JPEG begin in a picture.

In training they begin at the corner of the picture, and the networks hardly see others. In a picture that was cropped
after compression they begin elsewhere.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_PX = 8
"""Side of a block of JPEG."""
SURE = 5.0
"""Least number of standard errors by which steps between blocks stand out, over both directions."""
MOST_STEP = 0.05
"""Larger steps are edges of the scene."""
MOST_PX = 2048
"""Most lines of a side that are read, from its middle."""


def offset_of(image: Tensor) -> tuple[int, int]:
    """Rows and columns of picture (3, h, w) before its first whole block; (0, 0) where no grid shows.

    The measure is blockiness (Wang, Bovik and Evans, ICIP 2000) in the spatial domain. For each of the eight places of
    a grid: how much larger the step between two lines is than the steps beside it.
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
    """Lines (n, m) -> lines before the first block, and standard errors between it and the next best place.

    WebP's blocks have half the size, so two places stand out alike and the second number is small.
    """
    steps = np.abs(np.diff(lines, axis=0))
    beyond = np.clip(steps[1:-1] - (steps[:-2] + steps[2:]) / 2, -MOST_STEP, MOST_STEP).mean(axis=1)
    place = (np.arange(len(beyond)) + 2) % BLOCK_PX  # of the line after the step
    means = np.asarray([beyond[place == at].mean() for at in range(BLOCK_PX)])
    first = int(means.argmax())
    error = beyond.std() / (len(beyond) / BLOCK_PX) ** 0.5
    return first, float((means[first] - np.delete(means, first).max()) / (error + 1e-9))
