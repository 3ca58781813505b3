"""What the sensor adds: noise. `camera` makes the noise of real sensors."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.fields import correlated
from rar_cli.synthesis.pixels import Image

FAINTEST, SPAN, BEND = 2.0, 68.0, 1.2
"""Standard deviation of noise in levels of 255: at severity 0, how much more at 1, and the bend between."""


def noise_sigma(severity: float) -> float:
    """severity [0, 1] -> standard deviation of the noise, white being 1."""
    return (FAINTEST + SPAN * severity**BEND) / 255.0


def noise_severity(sigma: float) -> float:
    """Standard deviation, white being 1 -> severity in [0, 1]; 0 from two levels down."""
    return float(np.clip((255.0 * sigma - FAINTEST) / SPAN, 0.0, 1.0) ** (1.0 / BEND))


def noise(image: Image, severity: float, rng: Generator) -> Image:
    """Gaussian, Poisson-Gaussian, chroma-correlated, film-grain, speckle or impulse noise; sigma 2 to 70 of 255."""
    sigma = noise_sigma(severity)
    kind = rng.choice(6, p=(0.43, 0.2, 0.13, 0.12, 0.07, 0.05))
    white = rng.standard_normal(image.shape, np.float32)
    if kind == 0:
        return image + sigma * white
    if kind == 1:  # shot noise grows with the square root of the signal; a part is read noise
        share = rng.uniform(0.0, 0.6)
        spread = np.sqrt(share + (1.0 - share) * image / 0.45)
        return image + sigma * spread.astype(np.float32) * white
    if kind == 2:  # demosaicked sensors: coarser and stronger in chroma than in luma
        grain = correlated(rng, image.shape, rng.uniform(0.4, 1.2))
        weights = np.asarray((rng.uniform(0.3, 0.8), 1.0, rng.uniform(0.7, 1.0)), np.float32)
        mixing = np.asarray(((1, 0, 1.4), (1, -0.34, -0.71), (1, 1.77, 0)), np.float32)
        chroma = (grain * weights) @ mixing.T
        return np.asarray(image + sigma * chroma / np.float32(chroma.std() + 1e-6), np.float32)
    if kind == 4:  # speckle: in proportion to the signal
        return np.asarray(image * (1.0 + 2.0 * sigma * white), np.float32)
    if kind == 5:  # dead and hot pixels, per colour or of all at once
        drawn = rng.random(image.shape if rng.random() < 0.6 else (*image.shape[:2], 1))
        share = 2.0 * sigma**2  # whose mean squared error is about that of sigma
        extremes = np.where(drawn < share, 0.0, np.where(drawn > 1.0 - share, 1.0, image))
        return extremes.astype(np.float32)
    luma = image.mean(axis=2, keepdims=True)
    grain = correlated(rng, (*image.shape[:2], 1), rng.uniform(0.3, 1.0))
    strength = 0.4 + 2.4 * luma * (1.0 - luma)  # film grain is strongest in the middle tones
    tinted = grain + rng.uniform(0.0, 0.3) * white
    return image + sigma * strength.astype(np.float32) * tinted
