"""Haze, rain and snow with depth, as light makes them: the lifelike models of `scene` and `weather`.

All of them work in linear light, take the colour of the air from the scene, and let what is far vanish first.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.fields import fractal_field, smooth_field
from rar_cli.synthesis.optics import disc
from rar_cli.synthesis.pixels import Image, softened, to_linear, to_srgb

Field = NDArray[np.float32]

LAYERS = 5


def deep_haze(image: Image, severity: float, rng: Generator) -> Image:
    """Koschmieder's law in linear light over a depth that follows the picture's edges; faint to dense."""
    density = 0.15 + 2.6 * severity**1.2
    return to_srgb(_veiled(to_linear(image), _depth(image, rng), density, _airlight(image, rng)))


def deep_rain(image: Image, severity: float, rng: Generator) -> Image:
    """Straight streaks in up to five layers, far ones fine and dense, near ones long and out of focus, and a veil."""
    light, air = to_linear(image), _airlight(image, rng)
    angle, spread = rng.normal(0.0, 20.0), float(rng.choice((0.5, 3.0, 12.0)))
    count = 1 + int(rng.integers(0, LAYERS) * min(0.3 + severity, 1.0))
    depth = _depth(image, rng)
    if rng.random() < 0.6:
        light = _veiled(light, depth, 0.9 * severity * rng.uniform(0.0, 1.0), air)
    falling = np.zeros(image.shape[:2], np.float32)
    for near in sorted(rng.uniform(0.0, 1.0, count)):
        streaks = _streaks(image.shape[:2], float(near), severity, angle + rng.normal(0.0, spread), rng)
        falling = np.maximum(falling, streaks) if rng.random() < 0.3 else falling + streaks
    bright = float(rng.uniform(0.5, 1.0))
    if rng.random() < 0.6:  # as sets of rainy pictures are made: added to what is encoded
        return np.asarray(to_srgb(light) + falling[..., None] * bright, np.float32)
    cover = np.clip(falling, 0.0, 1.0)[..., None]
    return to_srgb(light * (1.0 - cover) + np.maximum(air, 0.5 * bright) * cover)


def deep_snow(image: Image, severity: float, rng: Generator) -> Image:
    """Flakes from far and fine to near discs out of focus, falling while the shutter is open, and a veil."""
    light, air = to_linear(image), _airlight(image, rng)
    light = _veiled(light, _depth(image, rng), severity * rng.uniform(0.0, 1.2), air)
    white = np.float32(rng.uniform(0.7, 1.0))
    wind, fall = rng.normal(0.0, 30.0), float(rng.uniform(0.0, 6.0))
    for near in np.linspace(0.0, 1.0, LAYERS) ** 1.5:
        cover = _flakes(image.shape[:2], float(near), severity, (wind, fall), rng)[..., None]
        light = light * (1.0 - cover) + white * cover
    return to_srgb(light)


def _veiled(light: Image, depth: Field, density: float, air: NDArray[np.float32]) -> Image:
    through = np.exp(-np.float32(density) * depth)[..., None]
    return (light * through + air * (1.0 - through)).astype(np.float32)


def _airlight(image: Image, rng: Generator) -> NDArray[np.float32]:
    """Linear light (3,) of the air: that of the scene's brightest parts, paled towards grey, seldom of a lamp."""
    small = cv2.resize(image, (24, 24), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    brightest = small[np.argsort(small.mean(axis=1))[-24:]].mean(axis=0)
    grey = brightest.mean()
    paled = grey + (brightest - grey) * rng.uniform(0.0, 0.7)
    lifted = paled + (rng.uniform(0.6, 0.95) - paled) * rng.uniform(0.0, 0.9)
    tint = 1.0 + rng.normal(0.0, 0.02, 3)
    return to_linear(np.clip(lifted * tint, 0.05, 1.0).astype(np.float32))


def _depth(image: Image, rng: Generator) -> Field:
    """A depth (h, w) in [0, 1] from the camera to the sky: ground that recedes, things that stand on it, clouds of
    haze; its edges are those of the picture."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    horizon = rng.uniform(-0.1, 0.6)
    below = np.maximum(y + rng.normal(0.0, 0.1) * x - horizon, 0.02)
    depth = np.clip(rng.uniform(0.05, 0.25) / below, 0.0, 1.0)
    for _ in range(int(rng.integers(0, 3))):
        left, foot = rng.uniform(-0.2, 1.0), rng.uniform(max(horizon, 0.1), 1.2)
        stands = (np.abs(x - left) < rng.uniform(0.05, 0.3)) & (y < foot) & (y > foot - rng.uniform(0.2, 1.0))
        depth = np.where(stands, np.minimum(depth, rng.uniform(0.05, 0.6)), depth)
    if rng.random() < 0.4:
        depth = depth * (0.5 + fractal_field((height, width), rng))
    if rng.random() < 0.15:
        depth = np.full_like(depth, rng.uniform(0.4, 1.0))
    return np.clip(_guided(np.asarray(depth, np.float32), image), 0.0, 1.2)


def _guided(field: Field, image: Image) -> Field:
    """The field with the edges of the picture (He et al., Guided Image Filtering, 2010)."""
    guide = np.ascontiguousarray(image.mean(axis=2))
    side = max(min(image.shape[:2]) // 5, 3)

    def mean(values: NDArray[Any]) -> Field:
        return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)

    about, level = mean(guide), mean(field)
    slope = (mean(guide * field) - about * level) / (mean(guide * guide) - about * about + np.float32(6e-4))
    return np.asarray(mean(slope) * guide + mean(level - slope * about), np.float32)


def _streaks(shape: tuple[int, int], near: float, severity: float, angle_degrees: float, rng: Generator) -> Field:
    """One layer of rain (h, w), 0 where none falls: all of one length, width and direction."""
    length = (10.0 + 16.0 * rng.random() + 40.0 * near * rng.random()) * (0.7 + 0.6 * severity)
    width = 0.6 + 1.0 * near + 0.8 * severity * rng.random()
    share = (0.0025 + 0.016 * severity * rng.uniform(0.4, 1.4)) / (1.0 + 3.0 * near)
    drops = (rng.random(shape) < share).astype(np.float32) * rng.uniform(0.5, 1.0, shape).astype(np.float32)
    half = int(np.ceil(length / 2)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    angle = np.deg2rad(angle_degrees)
    along, across = x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) - y * np.sin(angle)
    ends = np.clip(length / 2 + 0.5 - np.abs(along), 0.0, 1.0)
    kernel = (np.clip(width / 2 + 0.5 - np.abs(across), 0.0, 1.0) * ends).astype(np.float32)
    layer = cv2.filter2D(drops, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    if near > 0.6:
        layer = softened(np.asarray(layer, np.float32), 0.5 + 1.5 * near * rng.random())
    if rng.random() < 0.3:
        layer = layer * (0.4 + 0.6 * smooth_field(shape, 3, rng))
    strength = (0.12 + 0.7 * severity) * rng.uniform(0.6, 1.1) * (1.0 - 0.5 * near)
    return np.asarray(np.clip(layer, 0.0, 1.0) * strength, np.float32)


def _flakes(shape: tuple[int, int], near: float, severity: float, motion: tuple[float, float], rng: Generator) -> Field:
    """One layer of snow (h, w) in [0, 1]: near flakes are large, few, soft and fall far while the shutter is open."""
    radius = 0.5 + 6.0 * near**1.5 * rng.uniform(0.5, 1.3)
    share = (0.0005 + 0.03 * severity) * rng.uniform(0.3, 1.2) / (1.0 + 2.0 * radius**2)
    seeds = (rng.random(shape) < share).astype(np.float32) * rng.uniform(0.5, 1.0, shape).astype(np.float32)
    kernel = disc(radius, softness=0.4 + 0.35 * radius * rng.random())
    layer = cv2.filter2D(seeds, -1, kernel / kernel.max(), borderType=cv2.BORDER_REFLECT_101)
    wind, fall = motion
    length = fall * (0.3 + near) * 2.0
    if length >= 2.0:
        angle, samples = np.deg2rad(wind + rng.normal(0.0, 8.0)), int(np.ceil(2.0 * length))
        line = np.zeros((2 * samples + 1, 2 * samples + 1), np.float32)
        reach = np.linspace(-length / 2, length / 2, samples)
        line[
            np.rint(samples + reach * np.cos(angle)).astype(int), np.rint(samples + reach * np.sin(angle)).astype(int)
        ] = 1
        drawn = cv2.filter2D(np.asarray(layer, np.float32), -1, line / line.sum(), borderType=cv2.BORDER_REFLECT_101)
        layer = drawn * (1.0 + 0.5 * length / (length + 2.0 * radius))
    opacity = rng.uniform(0.6, 1.0) * (1.0 - 0.5 * near)
    return np.asarray(np.clip(layer, 0.0, 1.0) * opacity, np.float32)
