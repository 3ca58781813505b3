"""What the lens and the hand do: blur, motion blur, low resolution.

Not covered: rolling shutter, lens flare.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.pixels import Image, filtered, softened
from rar_cli.synthesis.resampling import FILTERS, GROWING, SHRINKING, resized, softened_before, usual_factor


def blur(image: Image, severity: float, rng: Generator) -> Image:
    """Gaussian (round or oblong), disc, or generalised Gaussian; sigma 0.4 to 4 px."""
    sigma = 0.4 + 3.6 * severity
    kind = rng.choice(4, p=(0.4, 0.2, 0.25, 0.15))
    if kind == 0:
        return softened(image, sigma)
    radius = int(np.ceil(2.5 * sigma)) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    if kind == 2:  # defocus: a disc with a soft rim
        kernel = np.clip(1.6 * sigma + 0.5 - np.hypot(x, y), 0.0, 1.0)
        return filtered(image, kernel)
    angle = rng.uniform(0, np.pi)
    squeeze = rng.uniform(0.4, 1.0)
    u = (x * np.cos(angle) + y * np.sin(angle)) / sigma
    v = (-x * np.sin(angle) + y * np.cos(angle)) / (sigma * squeeze)
    power = 1.0 if kind == 1 else rng.uniform(0.5, 3.0)
    return filtered(image, np.exp(-0.5 * (u * u + v * v) ** power))


def motion_blur(image: Image, severity: float, rng: Generator) -> Image:
    """Camera shake along a straight or curved path of 3 to 30 px."""
    length = 3.0 + 27.0 * severity
    bend = 0.0 if rng.random() < 0.5 else rng.normal(0.0, 1.2)
    samples = max(int(length * 4), 8)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(np.full(samples, bend / samples))
    if bend:
        heading += np.cumsum(rng.normal(0.0, 0.6 / np.sqrt(samples), samples))
    step = length / samples
    path = np.stack([np.cumsum(np.sin(heading)), np.cumsum(np.cos(heading))], 1) * step
    exposure, centre = np.ones(samples), (path.max(0) + path.min(0)) / 2
    if rng.random() < 0.25:  # a flash and what follows, or ImageMagick's half Gaussian: sharpest where it begins
        fade = np.linspace(0.0, rng.uniform(2.5, 6.0), samples)
        exposure, centre = np.exp(-fade if rng.random() < 0.4 else -0.5 * fade**2), path[0]
    path -= centre
    radius = int(np.ceil(np.abs(path).max())) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    base = np.floor(path).astype(int)
    part = path - base
    for dy in (0, 1):
        for dx in (0, 1):
            weight = exposure * np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
            np.add.at(kernel, (base[:, 0] + dy + radius, base[:, 1] + dx + radius), weight)
    return filtered(image, kernel)


def low_resolution(image: Image, severity: float, rng: Generator) -> Image:
    """Down by 1.1 to 5, half the time by 1.5 or a whole number, and up again, each with a filter of its own."""
    factor = usual_factor(1.1 + 3.9 * severity, rng)
    height, width = image.shape[:2]
    small = (max(round(width / factor), 1), max(round(height / factor), 1))
    shrink, grow = (FILTERS[rng.choice(len(FILTERS), p=odds)] for odds in (SHRINKING, GROWING))
    if softened_before(shrink) and rng.random() < 0.6:
        image = softened(image, 0.4 * factor)
    return resized(resized(image, small, shrink), (width, height), grow)
