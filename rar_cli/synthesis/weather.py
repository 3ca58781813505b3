"""What falls before the lens: rain and snow.

Not covered: drops on the glass.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.fields import smooth_field
from rar_cli.synthesis.optics import motion_blur
from rar_cli.synthesis.pixels import Image, softened


def rain(image: Image, severity: float, rng: Generator) -> Image:
    """One to four layers of streaks, fallen or drawn, with their own length, width and direction, and a veil."""
    layers = 1 + int(rng.integers(0, 1 + round(3 * severity)))
    main_angle = rng.normal(0.0, 25.0)
    spread = rng.choice((4.0, 30.0), p=(0.75, 0.25))
    make = _streaks if rng.random() < 0.65 else _strokes
    streaks = np.zeros(image.shape[:2], np.float32)
    for _ in range(layers):
        layer = make(image.shape[:2], severity / np.sqrt(layers), main_angle + rng.normal(0, spread), rng)
        streaks = np.maximum(streaks, layer) if rng.random() < 0.5 else streaks + layer
    adds = rng.random() < 0.5
    tint = (rng.uniform(0.75 if adds else 0.55, 1.0) + rng.normal(0.0, 0.02, 3)).astype(np.float32)
    streaks = np.clip(streaks, 0.0, 1.0)[..., None]
    wet = image + streaks * tint if adds else image + streaks * (tint - image)
    if rng.random() < 0.4:
        veil = rng.uniform(0.0, 0.3) * severity
        wet = wet * (1.0 - veil) + veil * rng.uniform(0.6, 0.9)
    if rng.random() < 0.15:  # a storm: the air softens all, and the sky is dark
        wet = softened(np.asarray(wet, np.float32), rng.uniform(0.3, 1.0 + 1.5 * severity))
        wet = wet * rng.uniform(1.0 - 0.5 * severity, 1.0)
    return np.asarray(wet, np.float32)


def snow(image: Image, severity: float, rng: Generator) -> Image:
    """Flakes of several sizes, sharp to blurred, still to streaked, or clumps in a gust, over a faint veil."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.float32)
    if rng.random() < 0.2:
        cover = _clumps((height, width), severity, rng)
        bleached = np.maximum(image, 0.5 + 1.5 * image.mean(axis=2, keepdims=True))
        image = (image + rng.uniform(0.0, 0.4) * severity * (bleached - image)).astype(np.float32)
    else:
        for size in rng.choice((0.7, 1.0, 1.6, 2.4, 3.6), int(rng.integers(2, 5)), replace=False):
            cover = np.maximum(cover, _flakes((height, width), float(size), severity, rng))
    opacity = rng.uniform(0.7, 1.0)
    flakes = (opacity * np.clip(cover, 0.0, 1.0))[..., None]
    white = (rng.uniform(0.85, 1.0) + rng.normal(0.0, 0.01, 3)).astype(np.float32)
    snowy = image * (1.0 - flakes) + white * flakes
    if rng.random() < 0.5:
        veil = rng.uniform(0.0, 0.25) * severity
        snowy = snowy * (1.0 - veil) + veil * 0.9
    return np.asarray(snowy, np.float32)


def _streaks(shape: tuple[int, int], strength: float, angle_degrees: float, rng: Generator) -> NDArray[np.float32]:
    """One layer of rain streaks in [0, 1]; `angle_degrees` from the vertical."""
    length = rng.uniform(6.0, 14.0) + 40.0 * rng.random() * strength
    width = rng.uniform(0.5, 1.0 + 1.0 * strength)
    if rng.random() < 0.15:  # near the lens
        width *= rng.uniform(1.5, 3.0)
    density = (0.004 + 0.035 * strength * rng.uniform(0.5, 1.5)) / max(width, 0.7)
    drops = (rng.random(shape) < density).astype(np.float32) * rng.uniform(0.4, 1.0, shape).astype(np.float32)
    half = int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    angle = np.deg2rad(angle_degrees)
    along = x * np.sin(angle) + y * np.cos(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    fade = np.clip((length / 2 - np.abs(along)) / (0.3 * length) + 0.3, 0.0, 1.0)
    kernel = (np.clip(width / 2 + 0.5 - np.abs(across), 0.0, 1.0) * fade).astype(np.float32)
    layer = cv2.filter2D(drops, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:  # rain comes in sheets
        layer = layer * (0.3 + 0.7 * smooth_field(shape, 3, rng))
    brightness = (0.15 + 0.75 * strength) * rng.uniform(0.7, 1.2)
    return np.asarray(np.clip(layer, 0.0, 1.0) * brightness, np.float32)


def _strokes(shape: tuple[int, int], strength: float, angle_degrees: float, rng: Generator) -> NDArray[np.float32]:
    """One layer of even strokes in [0, 1], sharp to soft; `angle_degrees` from the vertical."""
    height, width = shape
    thickness = int(rng.choice((1, 2, 3, 5, 7), p=(0.47, 0.27, 0.14, 0.09, 0.03)))
    near = max(thickness / 3.0, 1.0)  # wide strokes are near, so fewer, and out of focus
    count = int(height * width * (0.0002 + 0.0018 * strength) * rng.uniform(0.4, 1.5) / near**2) + 1
    lengths = (rng.uniform(8.0, 20.0) + 50.0 * rng.random() * strength) * rng.uniform(0.6, 1.2, count)
    angles = np.deg2rad(angle_degrees + rng.normal(0.0, rng.choice((0.0, 4.0)), count))
    starts = rng.random((count, 2)) * (width, height)
    ends = starts + lengths[:, None] * np.stack([np.sin(angles), np.cos(angles)], 1)
    layer = np.zeros(shape, np.uint8)
    strokes = np.rint(np.stack([starts, ends], 1) * 16).astype(np.int32)  # in sixteenths of a pixel
    cv2.polylines(layer, list(strokes), False, 255, thickness, cv2.LINE_AA, 4)
    drawn = layer.astype(np.float32) / np.float32(255.0)
    if rng.random() < 0.6 or near > 1.0:
        drawn = softened(drawn, rng.uniform(0.4, 2.2))
    return np.asarray(drawn * (rng.uniform(0.3, 1.0) / near), np.float32)


def _clumps(shape: tuple[int, int], severity: float, rng: Generator) -> NDArray[np.float32]:
    """Snow in a gust, in [0, 1]: the peaks of a grainy field, drawn out."""
    grain = rng.uniform(1.0, 4.0)
    coarse = (max(round(shape[1] / grain), 2), max(round(shape[0] / grain), 2))
    field = cv2.resize(rng.standard_normal(coarse[::-1], np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    share = (0.01 + 0.12 * severity) * rng.uniform(0.5, 1.5)
    peaks = np.clip(field - np.quantile(field, 1.0 - share), 0.0, 1.0).astype(np.float32)
    drawn = motion_blur(peaks, rng.uniform(0.1, 0.6), rng)
    return np.asarray(np.clip(drawn * (rng.uniform(1.0, 3.0) / (float(drawn.max()) + 1e-6)), 0.0, 1.0), np.float32)


def _flakes(shape: tuple[int, int], size: float, severity: float, rng: Generator) -> NDArray[np.float32]:
    """One layer of flakes of radius `size` px in [0, 1]."""
    density = (0.0015 + 0.02 * severity) * rng.uniform(0.5, 1.5) / (size**2 + 0.5)
    seeds = (rng.random(shape) < density).astype(np.float32) * rng.uniform(0.6, 1.0, shape).astype(np.float32)
    radius = int(np.ceil(size + 1))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    softness = rng.uniform(0.3, 1.5)
    stretch = rng.uniform(0.7, 1.0)
    flake = np.clip((size + 0.3 - np.hypot(x, y / stretch)) / softness, 0.0, 1.0)
    drift = cv2.filter2D(seeds, -1, flake.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    layer = np.asarray(drift, np.float32)
    if rng.random() < 0.5:
        layer = motion_blur(layer, rng.uniform(0.0, 0.25), rng) * 1.5
    return np.asarray(np.clip(layer, 0.0, 1.0), np.float32)
