"""Noise of any camera, drawn by its statistics. One model of a camera cannot stand for all cameras.

Variance grows with the signal. Neighbours and colours are correlated. The camera denoises, sharpens and compresses.
Every number is drawn for each picture, from a wider range than that of one camera.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.compression import recompress
from rar_cli.synthesis.pixels import Image, quantise

MID = 0.4
"""Tone in [0, 1] whose noise has the drawn standard deviation."""
SIGMAS = (0.6, 18.0)
"""Standard deviations in levels of 255, drawn evenly by their logarithm."""
GAMMAS = (1.8, 2.6)
"""Exponents from tones to light."""
DIM = (1.0, 1.7)
"""Exponents of light that make a scene dim. What is bright stays bright, as in dim photographs."""
QUALITIES = (82, 100)
"""Of JPEG; the upper end is not drawn."""


def noisy_pair(image: Image, rng: Generator) -> tuple[Image, Image]:
    """Clean (h, w, 3) in [0, 1] -> (with noise, reference), both by the same camera and in [0, 1]."""
    gamma = float(rng.uniform(*GAMMAS))
    light = image**gamma
    if rng.random() < 0.5:  # dim by nature; a picture without any light part would lack exposure
        light = light ** np.float32(rng.uniform(*DIM))
    sigma = float(np.exp(rng.uniform(*np.log(SIGMAS)))) / 255.0 * gamma * MID ** (gamma - 1.0)
    noise = sigma * _spread(light, gamma, rng) * _field(image.shape[:2], rng)
    if rng.random() < 0.15:  # rows are read one by one
        noise = noise + 0.3 * sigma * rng.standard_normal((image.shape[0], 1, 1), np.float32)
    finish, seed = _Finish.drawn(rng), int(rng.integers(2**31))
    shown = [np.clip(each, 0.0, 1.0) ** (1.0 / gamma) for each in (light + noise, light)]
    noisy, reference = (finish(each.astype(np.float32)) for each in shown)
    if rng.random() < 0.8:
        noisy = recompress(noisy, int(rng.integers(*QUALITIES)), ".jpg", np.random.default_rng(seed))
    return quantise(noisy), quantise(reference)


def _spread(light: Image, gamma: float, rng: Generator) -> Image:
    """light (h, w, 3) -> standard deviation, 1 at `MID`. Photons cause a share of the variance, reading the rest."""
    share = rng.uniform(0.1, 1.0)
    return np.sqrt(1.0 - share + share * light / np.float32(MID**gamma)).astype(np.float32)


def _field(shape: tuple[int, int], rng: Generator) -> Image:
    """(h, w) -> noise (h, w, 3) of standard deviation about 1: fine or blotchy, with or without correlated colours."""
    white = rng.standard_normal((*shape, 3), np.float32)
    if rng.random() < 0.7:
        white = _blurred(white, float(rng.uniform(0.3, 1.4)))
    if rng.random() < 0.3:
        blotches = _blurred(rng.standard_normal((*shape, 3), np.float32), float(rng.uniform(2.0, 8.0)))
        white = white + np.float32(rng.uniform(0.1, 0.5)) * blotches
    white = white * rng.uniform((0.7, 0.8, 0.7), (2.2, 1.0, 2.2)).astype(np.float32)
    mixing = np.eye(3) + rng.uniform(-0.5, 0.3, (3, 3)) * (1.0 - np.eye(3)) * rng.uniform(0.0, 1.0)
    return np.asarray(white @ mixing.T.astype(np.float32), np.float32)


def _blurred(field: Image, sigma_px: float) -> Image:
    blurred = cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred / (blurred.std() + 1e-6), np.float32)


class _Finish:
    """The denoising and sharpening of one camera.

    smoothing: 0 bilateral, 1 median, 2 of colours alone, 3 Gaussian, -1 none. strength of the smoothing and share of it
    that is mixed in: both in [0, 1]. sharpening: 0 is none.
    """

    def __init__(self, smoothing: int, strength: float, share: float, sharpening: float, radius_px: float) -> None:
        self.smoothing, self.strength, self.share = smoothing, strength, np.float32(share)
        self.sharpening, self.radius_px = np.float32(sharpening), radius_px

    @classmethod
    def drawn(cls, rng: Generator) -> _Finish:
        """A camera at random: half of them denoise, half sharpen."""
        smoothing = int(rng.integers(4)) if rng.random() < 0.5 else -1
        sharpening = rng.uniform(0.1, 1.0) if rng.random() < 0.5 else 0.0
        strength, share, radius = rng.uniform(0.0, 1.0), rng.uniform(0.3, 1.0), rng.uniform(0.5, 1.5)
        return cls(smoothing, float(strength), float(share), float(sharpening), float(radius))

    def __call__(self, image: Image) -> Image:
        """(h, w, 3) in [0, 1] -> denoised and sharpened, in [0, 1]."""
        if self.smoothing >= 0:
            image = image + self.share * (self._smoothed(image) - image)
        if self.sharpening > 0.0:
            image = image + self.sharpening * (image - cv2.GaussianBlur(image, (0, 0), self.radius_px))
        return np.clip(image, 0.0, 1.0).astype(np.float32)

    def _smoothed(self, image: Image) -> Image:
        if self.smoothing == 0:
            smoothed = cv2.bilateralFilter(image, 5, 0.02 + 0.13 * self.strength, 1.0 + self.strength)
        elif self.smoothing == 1:
            smoothed = cv2.medianBlur(image, 3)
        elif self.smoothing == 2:  # colour alone, as nearly every camera does
            luma = image.mean(axis=2, keepdims=True)
            smoothed = luma + cv2.GaussianBlur(image - luma, (0, 0), 0.8 + 3.0 * self.strength)
        else:
            smoothed = cv2.GaussianBlur(image, (0, 0), 0.4 + 0.6 * self.strength)
        return np.asarray(smoothed, np.float32)
