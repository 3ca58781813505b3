"""Places: what the assessor sees in each part of a picture, for the heat map and for words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rar_cli.borders import inside
from rar_cli.engine import Engine, assess
from rar_cli.report import WORDS, word_for
from rar_cli.tiling import Span, even_spans
from rar_cli.types import DEGRADATIONS

WINDOW_PX = 128
OVERLAP_PX = 64

ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")

STANDS_OUT = 0.15
"""By how much the worst third of a picture must exceed the rest to be named."""


@dataclass(frozen=True)
class Place:
    """A window of a picture, as spans of pixels, and its severities (9,)."""

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


def explain(score: float, severities: NDArray[np.float32], found: list[Place], size: tuple[int, int]) -> str:
    """A few plain sentences from the score, the whole picture's severities (9,) and those of its places.

    size: (height, width) in pixels.
    """
    least = WORDS[0][0]
    order = [int(i) for i in np.argsort(-severities) if severities[i] >= least]
    if not order:
        return f"Nothing is wrong with this picture that I know of. Quality {score:.0f} of 100."
    parts = []
    for i in order:
        name = DEGRADATIONS[i].value.replace("_", " ")
        parts.append(f"{word_for(float(severities[i]))} {name} {_where(i, found, size)}")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}. Quality {score:.0f} of 100."


def _where(degradation: int, found: list[Place], size: tuple[int, int]) -> str:
    """ "all over", or the third of the picture in which a degradation is clearly worst."""
    thirds: dict[tuple[int, int], list[float]] = {}
    for place in found:
        key = (_third(place.rows, size[0]), _third(place.columns, size[1]))
        thirds.setdefault(key, []).append(float(place.severities[degradation]))
    means = {key: float(np.mean(values)) for key, values in thirds.items()}
    worst = max(means, key=lambda key: means[key])
    others = [value for key, value in means.items() if key != worst]
    if not others or means[worst] - float(np.mean(others)) < STANDS_OUT:
        return "all over"
    row, column = ROWS[worst[0]], COLUMNS[worst[1]]
    spot = {"middle centre": "in the centre", "middle left": "on the left", "middle right": "on the right"}
    named = spot.get(f"{row} {column}") or f"at the {row}" + ("" if column == "centre" else f" {column}")
    return f"worst {named}"


def _third(span: Span, length: int) -> int:
    return min(int(3 * (span[0] + span[1]) / 2 / length), 2)
