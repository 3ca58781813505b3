"""Places: what the assessor sees in each part of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rar_cli.compute.tiling import Span, even_spans
from rar_cli.engine.borders import inside
from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import assess

WINDOW_PX = 128
OVERLAP_PX = 64


@dataclass(frozen=True)
class Place:
    """A window of a picture, as spans of pixels, and its severities, one per degradation."""

    rows: Span
    columns: Span
    severities: NDArray[np.float32]


def places(engine: Engine, image: torch.Tensor) -> list[Place]:
    """Image (1, 3, h, w) -> overlapping windows of 128 px inside of its border, each judged by itself."""
    found = []
    box = inside(image[0])
    for top, bottom in even_spans(box.bottom - box.top, WINDOW_PX, OVERLAP_PX):
        for left, right in even_spans(box.right - box.left, WINDOW_PX, OVERLAP_PX):
            rows, columns = (box.top + top, box.top + bottom), (box.left + left, box.left + right)
            window = image[..., slice(*rows), slice(*columns)]
            severities = assess(engine, window).severities[0].float().cpu().numpy()
            found.append(Place(rows, columns, severities))
    return found
