"""Borders of one colour around a picture: the bars of a letterbox, the paper around a print.

The networks were trained without them, and take them for part of the scene: nothing is hazy beside black bars. So what
lies inside is assessed and restored alone, and the border stays as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FLAT, JUMP = 3 / 255, 24 / 255
"""A border's pixels are not farther than the one from its colour; the picture beside it is farther than the other."""
BLEND_PX = 16
"""Over which compression or blur may carry a border into the picture, or back."""
STEP_PX = 2
"""Over which half of the jump is made."""
MOST = 0.4
"""Of the height or width that one side of a border takes."""


class Box(NamedTuple):
    """Rows from top to before bottom, columns from left to before right."""

    top: int
    bottom: int
    left: int
    right: int


def inside(image: Tensor) -> Box:
    """What borders leave of one picture (3, h, w), float in [0, 1] or integer at full range; all where there is none.

    A border has one colour and lies on two opposite sides at least: a sky is on one. Inside of it there may be another.
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
    """How many of the first lines are border."""
    most, flat = int(MOST * len(lines)), 0
    while flat < most and _away(lines[flat], colour, full).max() <= FLAT:
        flat += 1
    for at in range(flat, min(flat + BLEND_PX, most)) if flat else ():
        away = _away(lines[at], colour, full)
        step = away - _away(lines[max(at - STEP_PX, 0)], colour, full)
        if np.mean((away > JUMP) & (step > JUMP / 2)) > 0.5:  # what fades, as a vignette does, is no border
            return at
    return 0


def _away(line: NDArray[Any], colour: NDArray[Any], full: float) -> NDArray[Any]:
    """Of each pixel (m, 3), how far it is from the colour, (m,)."""
    distance: NDArray[Any] = np.abs(line / full - colour).max(axis=1)
    return distance
