"""What every model of the synthesis works with: pictures, light, filters.

Images here are numpy arrays (h, w, 3), float32, sRGB-encoded, in [0, 1].
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def to_linear(image: Image) -> Image:
    """sRGB [0, 1] -> linear light [0, 1]."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: Image) -> Image:
    """linear light [0, 1] -> sRGB [0, 1]."""
    bright = 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, bright).astype(np.float32)


def softened(image: Image, sigma: float) -> Image:
    """The image under a round Gaussian of `sigma` px, its borders mirrored; (h, w) or (h, w, 3)."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)


def filtered(image: Image, kernel: NDArray[np.float32]) -> Image:
    """The image under a kernel, which is brought to a sum of 1, its borders mirrored."""
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)


def greyed(image: Image) -> Image:
    """The picture without its colours, still of three channels."""
    return thrice(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def quantise(image: Image) -> Image:
    """[0, 1] -> [0, 1] rounded to 8 bits, as every file does."""
    return (np.rint(image * 255.0) / 255.0).astype(np.float32)


def thrice(channel: NDArray[Any]) -> Image:
    """(h, w) -> (h, w, 3), the same in all channels."""
    return np.repeat(channel[..., None], 3, axis=2)
