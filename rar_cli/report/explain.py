"""Says what is wrong with a picture, and where, in a few plain sentences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rar_cli.compute.tiling import Span
from rar_cli.engine.places import Place
from rar_cli.report.words import WORDS, band, word_for
from rar_cli.types import DEGRADATIONS

ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")

STANDS_OUT = 0.15
"""By how much the worst third of a picture must exceed the rest to be named."""


def explain(score: float, severities: NDArray[np.float32], found: list[Place], size: tuple[int, int]) -> str:
    """A few plain sentences from the score, the whole picture's severities and those of its places.

    size: (height, width) in pixels.
    """
    least = WORDS[0][0]
    order = [int(i) for i in np.argsort(-severities) if severities[i] >= least]
    if not order:
        return f"Nothing is wrong with this picture that rar knows of. Score {score:.0f} of 100: {band(score)}."
    parts = []
    for i in order:
        name = DEGRADATIONS[i].value.replace("_", " ")
        parts.append(f"{word_for(float(severities[i]))} {name} {_where(i, found, size)}")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}. Score {score:.0f} of 100: {band(score)}."


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
