"""Borders of one colour around a picture: the bars of a letterbox, the paper around a print.

The networks were trained without borders and take them for a part of the scene. Beside black bars they see no haze.
So only the inside is assessed and restored. The border stays as it is (docs/decisions.md#canvas).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FLAT, JUMP = 3 / 255, 24 / 255
"""Pixels of a border differ from its colour by at most FLAT, the picture beside it by more than JUMP; of full range."""
BLEND_PX = 16
"""Width of the edge that compression or blur may smear."""
STEP_PX = 2
"""Half of the jump lies within so many pixels."""
MOST = 0.4
"""Largest fraction of the height or width that one side of a border takes."""


class Box(NamedTuple):
    """Rows from top to before bottom, columns from left to before right."""

    top: int
    bottom: int
    left: int
    right: int


def inside(image: Tensor) -> Box:
    """The part of one picture (3, h, w), float in [0, 1] or integer at full range, within its borders.

    All of it where there is no border. A border has one colour and lies on two opposite sides at least, for a sky lies
    on one. Another border may lie inside it.
    """
    pixels = image.permute(1, 2, 0).cpu().numpy()
    full = 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)
    box, larger = Box(0, len(pixels), 0, pixels.shape[1]), None
    while box != larger:
        larger = box
        top, bottom = _between(pixels[box.top : box.bottom, box.left : box.right], full)
        rows = pixels[box.top + top : box.top + bottom, box.left : box.right]
        left, right = _between(rows.transpose(1, 0, 2), full)
        box = Box(box.top + top, box.top + bottom, box.left + left, box.left + right)
    return box


def _between(lines: NDArray[Any], full: float) -> tuple[int, int]:
    """Lines (n, m, 3) between two borders of the same colour."""
    colours = np.stack([np.median(lines[at], axis=0) / full for at in (0, -1)])
    if np.ptp(colours, axis=0).max() <= FLAT:
        first, last = (_depth(each, colours.mean(0), full) for each in (lines, lines[::-1]))
        if first and last:
            return first, len(lines) - last
    return 0, len(lines)


def _depth(lines: NDArray[Any], colour: NDArray[Any], full: float) -> int:
    """Number of lines, from the first, that are border."""
    most, flat = int(MOST * len(lines)), 0
    while flat < most and _away(lines[flat], colour, full).max() <= FLAT:
        flat += 1
    for at in range(flat, min(flat + BLEND_PX, most)) if flat else ():
        away = _away(lines[at], colour, full)
        step = away - _away(lines[max(at - STEP_PX, 0)], colour, full)
        if np.mean((away > JUMP) & (step > JUMP / 2)) > 0.5:  # a vignette fades: no border
            return at
    return 0


def _away(line: NDArray[Any], colour: NDArray[Any], full: float) -> NDArray[Any]:
    """Pixels (m, 3) -> their distance from the colour, (m,)."""
    distance: NDArray[Any] = np.abs(line / full - colour).max(axis=1)
    return distance
