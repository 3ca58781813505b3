"""Resolution lowered and raised: the filters and the factors that people use.

Images are numpy arrays (h, w, 3), float32, in [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
from numpy.random import Generator
from numpy.typing import NDArray
from PIL.Image import Resampling

FILTERS: tuple[int | Resampling, ...] = (
    cv2.INTER_AREA,
    cv2.INTER_CUBIC,
    cv2.INTER_LINEAR,
    cv2.INTER_LANCZOS4,
    cv2.INTER_NEAREST,
    Resampling.BICUBIC,
    Resampling.LANCZOS,
)
"""OpenCV's, and Pillow's, whose cubic is softer."""
SHRINKING = (0.3, 0.2, 0.1, 0.05, 0.05, 0.2, 0.1)
GROWING = (0.0, 0.35, 0.2, 0.08, 0.15, 0.15, 0.07)
"""How often each makes a picture smaller, and larger again."""


def softened_before(way: int | Resampling) -> bool:
    """Whether people soften a picture before they shrink it so: OpenCV's smooth filters stay as narrow as when they
    enlarge, Pillow's widen. (Their numbers are the same.)"""
    return not isinstance(way, Resampling) and way in (cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_LANCZOS4)


def usual_factor(factor: float, rng: Generator) -> float:
    """The factor, half the time the nearest that people choose: weights that had seen any number alike lost 0.2 dB with
    two, where every pixel lies the same way, and gained 0.6 after ten minutes of these."""
    if rng.random() < 0.5:
        return factor
    return 1.5 if factor < 1.75 else float(round(factor))


def resized(image: NDArray[np.float32], size: tuple[int, int], way: int | Resampling) -> NDArray[np.float32]:
    """The image at (width, height), by one of `FILTERS`; cubic and Lanczos may leave [0, 1]."""
    if isinstance(way, Resampling):
        channels = [np.asarray(PIL.Image.fromarray(c).resize(size, way)) for c in np.moveaxis(image, 2, 0)]
        return np.stack(channels, axis=2)
    return np.asarray(cv2.resize(image, size, interpolation=way), np.float32)
