"""Metrics against a reference, as restoration papers compute them, from scikit-image.

All take images (h, w, 3) float in [0, 1]; higher is better. PSNR is capped at 100 dB, the value
of identical pictures, so that a mean stays finite.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr
from skimage.metrics import mean_squared_error, structural_similarity

Image = NDArray[np.float32]

CAP_DB = 100.0


def psnr_db(image: Image, reference: Image) -> float:
    """PSNR over R, G and B together, in dB."""
    mse = float(mean_squared_error(image.astype(np.float64), reference.astype(np.float64)))
    return min(-10.0 * float(np.log10(mse)), CAP_DB) if mse > 0 else CAP_DB


def psnr_y_db(image: Image, reference: Image) -> float:
    """PSNR of the luma (ITU-R BT.601, 16 to 235 of 255), in dB, as deraining papers report it."""
    return psnr_db(luma(image), luma(reference))


def ssim(image: Image, reference: Image) -> float:
    """SSIM (Wang et al. 2004: Gaussian window, sigma 1.5), mean of R, G and B."""
    return _ssim(image, reference, channel_axis=2)


def ssim_y(image: Image, reference: Image) -> float:
    """SSIM of the luma."""
    return _ssim(luma(image), luma(reference), channel_axis=None)


METRICS: dict[str, Callable[[Image, Image], float]] = {
    "psnr_db": psnr_db,
    "psnr_y_db": psnr_y_db,
    "ssim": ssim,
    "ssim_y": ssim_y,
}


def measure(image: Image, reference: Image) -> dict[str, float]:
    """Every metric of an image, clipped to [0, 1] first."""
    clipped = np.clip(image, 0.0, 1.0)
    return {name: metric(clipped, reference) for name, metric in METRICS.items()}


def luma(image: Image) -> Image:
    """RGB in [0, 1] -> Y in [16, 235] / 255."""
    return (rgb2ycbcr(image)[..., 0] / 255.0).astype(np.float64)


def _ssim(image: Image, reference: Image, channel_axis: int | None) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image on windows larger than tiny pictures
        if min(image.shape[:2]) < 11:
            return float(np.array_equal(image, reference))
        found = structural_similarity(
            image.astype(np.float64), reference.astype(np.float64), data_range=1.0, channel_axis=channel_axis,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
    return float(found)
