"""What happens before the lens: too little light, and haze."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.fields import depth_field, fractal_field
from rar_cli.synthesis.pixels import Image, to_linear, to_srgb


def low_light(image: Image, severity: float, rng: Generator) -> Image:
    """Linear-light under-exposure, gamma darkening, contrast loss or crushed blacks, with the noise it brings."""
    kind = rng.choice(4, p=(0.38, 0.34, 0.2, 0.08))
    if kind == 0:
        dark = to_srgb(to_linear(image) * 10.0 ** (-0.15 - 1.6 * severity))
    elif kind == 1:
        light = min(rng.uniform(1.0 - 0.5 * severity, 1.0 + 0.5 * severity), 1.0)  # half the time white stays white
        dark = (image * light) ** (1.2 + 2.8 * severity)
    elif kind == 2:
        dark = image * (1.0 - (0.25 + 0.6 * severity)) + rng.uniform(0.0, 0.03)
    else:
        dark = np.clip(image * (1.0 - 0.5 * severity) - rng.uniform(0.05, 0.1 + 0.3 * severity), 0.0, 1.0)
    if rng.random() < 0.3:  # tungsten or moonlight
        dark = dark * rng.uniform(0.85, 1.0, 3).astype(np.float32)
    if rng.random() < 0.5:
        read = rng.uniform(0.0, 0.012) * (0.3 + severity)
        shot = rng.uniform(0.0, 0.05) * severity * np.sqrt(np.clip(dark, 0.0, 1.0))
        grain = rng.standard_normal(image.shape, np.float32)
        return np.asarray(dark + (read + shot) * grain, np.float32)
    return np.asarray(dark, np.float32)


def haze(image: Image, severity: float, rng: Generator) -> Image:
    """Koschmieder's law, I = J t + A (1 - t), over depth-like fields of several kinds."""
    depth = depth_field(image, rng)
    transmission = np.exp(-(0.15 + 2.35 * severity) * depth)[..., None]
    airlight = np.clip(rng.uniform(0.65, 1.0) + rng.normal(0.0, 0.025, 3), 0, 1)
    if rng.random() < 0.2:  # lit unevenly, as banks of fog are
        airlight = airlight * rng.uniform(0.1, 0.9) ** fractal_field(image.shape[:2], rng)[..., None]
    return (image * transmission + airlight * (1.0 - transmission)).astype(np.float32)
