"""What the lens and the hand do: blur, motion blur, low resolution.

`defocus` and `shake` are the lifelike models of blur and motion blur. They work in linear light. There, lamps and
reflections are many times brighter than the white of the picture, and they stay bright when spread out.
Not covered: rolling shutter, lens flare.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.pixels import Image, filtered, softened, to_linear, to_srgb
from rar_cli.synthesis.resampling import FILTERS, GROWING, SHRINKING, resized, softened_before, usual_factor

LAMP = 0.93
"""Level from which a pixel may be a lamp."""
BRIGHTEST = 12.0
"""Times white that a lamp may be."""


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


def defocus(image: Image, severity: float, rng: Generator) -> Image:
    """A disc or a polygon with an edge of its own, radius 0.7 to 8 px, over light with lamps."""
    radius = 0.7 + 7.3 * severity
    blades = int(rng.choice((0, 0, 5, 6, 7, 8)))
    kernel = disc(
        radius, softness=rng.uniform(0.5, 1.2), rim=rng.uniform(-0.2, 0.6), blades=blades, turn=rng.uniform(0, 3)
    )
    spread = cv2.filter2D(_with_lamps(image, rng), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return to_srgb(np.clip(spread, 0.0, 1.0).astype(np.float32))


def shake(image: Image, severity: float, rng: Generator) -> Image:
    """The picture along the way of a hand: drift, tremor, now and then a jolt, and a turn about some point."""
    length = 2.0 + 28.0 * severity
    path = _path(length, rng)
    degrees = np.zeros(len(path))
    if rng.random() < 0.6:
        reach = np.hypot(*image.shape[:2]) / 2.0
        most = np.rad2deg(min(length / reach, 0.1)) * rng.uniform(0.1, 1.0)
        degrees = np.cumsum(rng.normal(0.0, 1.0, len(path)) + rng.normal(0.0, 1.0))
        degrees = most * (degrees - degrees.mean()) / (np.ptp(degrees) + 1e-6)
    height, width = image.shape[:2]
    centre = (float(rng.uniform(0.2, 0.8) * width), float(rng.uniform(0.2, 0.8) * height))
    light = _with_lamps(image, rng)
    gathered = np.zeros_like(light)
    for (dy, dx), turn in zip(path, degrees, strict=True):
        moved = cv2.getRotationMatrix2D(centre, float(turn), 1.0)
        moved[:, 2] += (dx, dy)
        gathered += cv2.warpAffine(
            light, moved, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        ).reshape(light.shape)
    return to_srgb(np.clip(gathered / len(path), 0.0, 1.0).astype(np.float32))


def disc(
    radius: float, softness: float = 0.5, rim: float = 0.0, blades: int = 0, turn: float = 0.0
) -> NDArray[np.float32]:
    """The image of a point out of focus, its sum 1. rim: how much brighter its edge is than its centre. blades: of the
    aperture; 0 for a round one. turn: in radians."""
    side = int(np.ceil(radius + softness)) + 1
    y, x = np.mgrid[-side : side + 1, -side : side + 1].astype(np.float32)
    far = np.hypot(x, y)
    if blades:
        sector = 2.0 * np.pi / blades
        far = far * np.cos((np.arctan2(y, x) + turn) % sector - sector / 2) / np.cos(sector / 2) ** 0.5
    kernel = np.clip((radius - far) / softness + 0.5, 0.0, 1.0) * (
        1.0 + rim * np.clip(far / max(radius, 1.0), 0.0, 1.0) ** 4
    )
    return np.asarray(kernel / kernel.sum(), np.float32)


def _with_lamps(image: Image, rng: Generator) -> Image:
    """Linear light in which some of what is white is brighter than white."""
    light = to_linear(image)
    if rng.random() < 0.3:
        return light
    over = np.clip((image.min(axis=2, keepdims=True) - LAMP) / (1.0 - LAMP), 0.0, 1.0) ** 2
    return (light * (1.0 + (BRIGHTEST ** rng.random() - 1.0) * over)).astype(np.float32)


def _path(length: float, rng: Generator) -> NDArray[np.float64]:
    """Offsets (n, 2) in px of a way about so wide, around its middle (after Boracchi and Foi, Modeling the
    Performance of Image Restoration from Motion Blur, 2012)."""
    samples = int(np.clip(np.ceil(2.0 * length), 8, 64))
    inertia, tremor = rng.uniform(0.7, 0.98), rng.uniform(0.05, 0.6)
    speed = rng.normal(0.0, 1.0, 2)
    speeds = []
    for _ in range(samples):
        if rng.random() < 0.02:  # a jolt
            speed = -speed + rng.normal(0.0, 1.0, 2)
        speed = inertia * speed + tremor * rng.normal(0.0, 1.0, 2) * np.hypot(*speed)
        speeds.append(speed)
    way = np.cumsum(speeds, axis=0)
    walked = np.hypot(*np.diff(way, axis=0).T).sum() + 1e-9
    across = np.hypot(*np.ptp(way, axis=0)) + 1e-9
    way = way * min(length * rng.uniform(0.5, 1.0) / across, 2.0 * length / walked)
    return np.asarray(way - (way.max(axis=0) + way.min(axis=0)) / 2)
