"""Smooth, grainy and fractal random fields, (h, w) in [0, 1]: depth, fog, grain and sheets of rain are made of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.pixels import Image, softened


def correlated(rng: Generator, shape: tuple[int, ...], sigma: float) -> Image:
    """Gaussian noise of unit variance whose neighbours are correlated over `sigma` px."""
    white = rng.standard_normal(shape, np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), sigma).reshape(shape)
    return np.asarray(smooth / (smooth.std() + 1e-6), np.float32)


def smooth_field(shape: tuple[int, int], cells: int, rng: Generator) -> NDArray[np.float32]:
    """A smooth random field in [0, 1] with about `cells` bumps along each side."""
    coarse = rng.random((cells + 2, cells + 2)).astype(np.float32)
    field = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return stretched(np.asarray(field, np.float32))


def fractal_field(shape: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    """A random field in [0, 1] with detail at every size, as smoke and banks of fog have."""
    decay = rng.uniform(1.4, 2.6)
    octaves = [smooth_field(shape, 2**k, rng) / np.float32(decay**k) for k in range(1, 7)]
    return stretched(np.asarray(np.sum(octaves, axis=0), np.float32))


def stretched(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """A field stretched to [0, 1]."""
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / (high - low + 1e-6), np.float32)


def depth_field(image: Image, rng: Generator) -> NDArray[np.float32]:
    """A depth-like field in [0, 1]: flat, plane, cloud, hollow, tied to the picture's own light, or fractal."""
    shape = (image.shape[0], image.shape[1])
    kind = rng.choice(6, p=(0.2, 0.27, 0.17, 0.08, 0.18, 0.1))
    if kind == 0:
        return np.full(shape, rng.uniform(0.4, 1.0), np.float32)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    if kind == 1:  # far at the top, tilted
        field = 0.5 - 0.5 * y + rng.normal(0.0, 0.3) * x
    elif kind == 2:
        field = 0.7 * smooth_field(shape, 2, rng) + 0.3 * smooth_field(shape, 6, rng)
    elif kind == 3:
        field = 1.0 - np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5)) / 2.0
    elif kind == 5:
        field = fractal_field(shape, rng)
    else:  # bright, smooth parts tend to be sky
        sigma = max(shape) * rng.uniform(0.01, 0.06)
        field = softened(np.ascontiguousarray(image.mean(axis=2)), float(sigma)) - 0.4 * y
    near = rng.uniform(0.0 if kind == 5 else 0.1, 0.6)
    return np.asarray(near + (1.0 - near) * stretched(field), np.float32)
