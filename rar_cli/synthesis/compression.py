"""Damage by compression: JPEG and WebP."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.pixels import Image


def jpeg(image: Image, severity: float, rng: Generator) -> Image:
    """JPEG (4:2:0 or 4:4:4) or WebP, once or twice on shifted grids; quality 90 down to 5."""
    quality = int(round(5 + 85 * (1.0 - severity) ** 2))
    if rng.random() < 0.2:
        first = int(rng.integers(quality, 96))
        dy, dx = (int(v) for v in rng.integers(0, 8, 2))
        image = np.roll(recompress(np.roll(image, (dy, dx), (0, 1)), first, ".jpg", rng), (-dy, -dx), (0, 1))
    return recompress(image, quality, file_type(rng), rng)


def file_type(rng: Generator) -> str:
    """What photographs are kept in: ".jpg", sometimes ".webp"."""
    return ".webp" if rng.random() < 0.15 else ".jpg"


def recompress(image: Image, quality: int, extension: str, rng: Generator) -> Image:
    """The image (h, w, 3) as a file gives it back: ".webp", or ".jpg" of 4:2:0 or 4:4:4; quality 1 to 100."""
    pixels = np.rint(np.clip(image, 0, 1) * 255.0).astype(np.uint8)
    if extension == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    else:
        halved = rng.random() < 0.7
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(extension, pixels[..., ::-1], options)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return (decoded[..., ::-1].astype(np.float32) / 255.0).astype(np.float32)
