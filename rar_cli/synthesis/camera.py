"""A camera: scene light -> raw mosaic with shot and read noise -> the picture that it writes.

After Brooks et al., Unprocessing Images for Learned Raw Denoising (arXiv 1811.11127): a picture is taken
back to linear light, and through a camera of its own again. The reference of a noisy picture is the same
scene through the same camera without noise.
Covered: exposure, white balance, colour matrix, optical low-pass, Bayer mosaic, row noise, the camera's own
denoising, tone curve and sharpening. Not covered: hot pixels, lens shading, several frames merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.pixels import Image, softened, to_linear, to_srgb

ISOS = (100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200)
SHOT_PERCENTILES, READ_PERCENTILES = (0.05, 0.5, 0.95), (0.25, 0.5, 0.95)
SHOT = (
    (0.9e-6, 3.1e-6, 1.7e-5), (1.7e-6, 5.4e-6, 2.8e-5), (3.3e-6, 9.7e-6, 5.4e-5), (6.3e-6, 1.9e-5, 1.1e-4),
    (1.2e-5, 3.6e-5, 2.2e-4), (2.1e-5, 6.9e-5, 4.2e-4), (3.5e-5, 1.3e-4, 7.6e-4), (7.9e-5, 2.4e-4, 8.9e-4),
    (1.2e-4, 3.6e-4, 8.2e-4), (1.7e-4, 4.6e-4, 1.2e-3),
)  # fmt: skip
READ = (
    (3.3e-10, 3.4e-9, 5.7e-8), (2.2e-9, 8.1e-9, 1.2e-7), (6.0e-9, 1.7e-8, 2.9e-7), (1.4e-8, 4.1e-8, 8.2e-7),
    (3.3e-8, 1.1e-7, 2.5e-6), (8.3e-8, 2.6e-7, 6.3e-6), (1.7e-7, 6.0e-7, 8.7e-6), (4.2e-7, 1.3e-6, 1.4e-5),
    (6.7e-7, 1.9e-6, 2.1e-5), (7.9e-7, 1.9e-6, 2.9e-5),
)  # fmt: skip
"""Variance of a channel is shot * signal + read, both in [0, 1]: percentiles over 374 cameras and 6,555 profiles of
their green channels in darktable 4.2.1's noiseprofiles.json."""

DEMOSAICKED = 3.0
"""Those profiles were measured after demosaicing, which averages neighbours."""

SMALLEST_SENSOR = 25.0
"""They are of large sensors mostly; a phone's gathers up to so many times less light."""

RED_GAIN, BLUE_GAIN = (1.16, 1.72, 2.21, 2.50, 2.89), (1.21, 1.65, 1.87, 2.20, 3.46)
GAIN_PERCENTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""White balance against green, as the ratios of the profiles' channels say."""

CROSSTALK = ((0.0, -0.45, -0.05), (-0.2, 0.0, -0.3), (0.0, -0.5, 0.0))
"""What a usual colour matrix, camera to sRGB, subtracts of the other channels; rows sum to 1."""

FULL_SCALE, BLACK = 50_000.0, 6_000.0
"""White and black of the 16-bit mosaic: noise goes below black."""

TABLE = 2**16
"""Entries of a tone curve's table."""

Pattern = Literal["edges", "linear", "reduced"]


BASE_ISO = 200.0
"""Of a picture that lacks light and has no noise to speak of."""


def under_exposure(severity: float) -> float:
    """Severity of low light -> share of the light that is left: half a stop to six stops are lost."""
    return float(10.0 ** (-0.15 - 1.6 * severity))


@dataclass(frozen=True)
class Camera:
    """One camera as it is set; `drawn` makes a likely one.

    gains: white balance of red, green, blue. matrix: (3, 3), camera to sRGB. contrast: of the tone curve, in [0, 1].
    area: how many times smaller than a large sensor's its pixels are. luck: percentile of its noise among such.
    rows: noise that a whole row shares, against the read noise. low_pass: sigma in px of what lies before the sensor.
    pattern: how the mosaic is filled in, by edges or linearly; "reduced" is a picture made smaller, without mosaic.
    calm: strength of the camera's own denoising, in [0, 1]. sharpening: amount of its unsharp mask.
    quality: of the JPEG that it writes; None for one without loss.
    """

    gains: tuple[float, float, float]
    matrix: tuple[tuple[float, float, float], ...]
    contrast: float
    area: float
    luck: float
    rows: float
    low_pass: float
    pattern: Pattern
    calm: float
    sharpening: float
    quality: int | None

    @classmethod
    def drawn(cls, rng: Generator) -> Camera:
        """A likely camera."""
        red, blue = (float(np.interp(rng.random(), GAIN_PERCENTILES, gain)) for gain in (RED_GAIN, BLUE_GAIN))
        off = np.asarray(CROSSTALK) * rng.uniform(0.0, 1.3) * rng.uniform(0.7, 1.3, (3, 3))
        matrix = off + np.diag(1.0 - off.sum(axis=1))
        pattern: tuple[Pattern, ...] = ("edges", "linear", "reduced")
        return cls(
            gains=(red, 1.0, blue),
            matrix=tuple((float(a), float(b), float(c)) for a, b, c in matrix),
            contrast=float(rng.uniform(0.0, 0.8)),
            area=float(SMALLEST_SENSOR ** rng.random()),
            luck=float(rng.random()),
            rows=float(rng.uniform(0.0, 0.6)) if rng.random() < 0.2 else 0.0,
            low_pass=float(rng.uniform(0.4, 0.75)),
            pattern=pattern[int(rng.choice(3, p=(0.45, 0.2, 0.35)))],
            calm=float(rng.uniform(0.1, 1.0)) if rng.random() < 0.5 else 0.0,
            sharpening=float(rng.uniform(0.1, 1.0)) if rng.random() < 0.6 else 0.0,
            quality=int(rng.integers(88, 100)) if rng.random() < 0.8 else None,
        )

    def iso_at(self, severity: float) -> float:
        """Severity of noise -> the sensitivity that it is set to, from 100 to 51,200 and less for small sensors."""
        return float(100.0 * 2.0 ** (9.0 * severity) / self.area ** (0.4 * severity))

    def noise_at(self, iso: float) -> tuple[float, float]:
        """(shot, read) of the raw signal in [0, 1]: its variance is shot * signal + read."""
        shot, read = (
            10.0 ** np.interp(np.log(iso), np.log(ISOS), np.log10([np.interp(self.luck, at, row) for row in rows]))
            for at, rows in ((SHOT_PERCENTILES, SHOT), (READ_PERCENTILES, READ))
        )
        return float(shot * DEMOSAICKED * self.area), float(read * DEMOSAICKED * self.area**1.25)

    def develop(self, scene: Image, exposure: float = 1.0, iso: float | None = None, seed: int = 0) -> Image:
        """scene (h, w, 3), sRGB in [0, 1] -> the camera's picture of it, likewise.

        exposure: share of the light that reaches the sensor; nothing makes up for what is lost. iso: None for none of
        the noise.
        """
        light = to_linear(self._toned(np.clip(scene, 0.0, 1.0), back=True)) * np.float32(exposure)
        gains = np.asarray(self.gains, np.float32)
        matrix = np.asarray(self.matrix, np.float32)
        raw = np.clip(light @ np.linalg.inv(matrix).T.astype(np.float32), 0.0, 1.0) / gains
        raw = softened(raw.astype(np.float32), self.low_pass)
        if iso is not None:
            raw = raw + self._noise(raw, iso, np.random.default_rng(seed))
        balanced = np.clip(self._filled(raw) * gains, 0.0, 1.0)
        seen = to_srgb(np.clip(balanced @ matrix.T, 0.0, 1.0).astype(np.float32))
        toned = self._toned(self._calmed(seen), back=False)
        return self._sharpened(toned)

    def _noise(self, raw: Image, iso: float, rng: Generator) -> Image:
        """Of every pixel of the three channels; the mosaic takes one of them."""
        shot, read = self.noise_at(iso)
        noise = np.sqrt(shot * raw + read) * rng.standard_normal(raw.shape, np.float32)
        banded = self.rows * np.sqrt(read) * rng.standard_normal((raw.shape[0], 1, 1), np.float32)
        return np.asarray(noise + banded, np.float32)

    def _filled(self, raw: Image) -> Image:
        """Through the mosaic and back; a picture that was made smaller has none."""
        height, width = raw.shape[:2]
        if self.pattern == "reduced" or min(height, width) < 8:
            return raw
        padded = np.pad(raw, ((0, height % 2), (0, width % 2), (0, 0)), mode="symmetric")
        mosaic = padded[..., 1].copy()
        mosaic[0::2, 0::2] = padded[0::2, 0::2, 0]
        mosaic[1::2, 1::2] = padded[1::2, 1::2, 2]
        counts = np.clip(np.rint(mosaic * FULL_SCALE + BLACK), 0, 65535).astype(np.uint16)
        counts = cv2.copyMakeBorder(counts, 4, 4, 4, 4, cv2.BORDER_REFLECT_101)
        way = cv2.COLOR_BayerRGGB2RGB_EA if self.pattern == "edges" else cv2.COLOR_BayerRGGB2RGB
        filled = np.asarray(cv2.cvtColor(counts, way), np.float32)[4 : 4 + height, 4 : 4 + width]
        return ((filled - BLACK) / FULL_SCALE).astype(np.float32)

    def _calmed(self, seen: Image) -> Image:
        """The camera's own denoising: colour much, lightness a little."""
        if not self.calm:
            return seen
        opponent = cv2.cvtColor(seen, cv2.COLOR_RGB2YCrCb)
        light = cv2.bilateralFilter(opponent[..., 0], 5, 0.01 + 0.06 * self.calm, 1.5)
        colour = softened(np.asarray(opponent[..., 1:], np.float32), 0.5 + 2.0 * self.calm)
        opponent = np.dstack([opponent[..., 0] + self.calm * (light - opponent[..., 0]), colour])
        return np.clip(cv2.cvtColor(opponent.astype(np.float32), cv2.COLOR_YCrCb2RGB), 0.0, 1.0).astype(np.float32)

    def _toned(self, image: Image, back: bool) -> Image:
        """Through the tone curve, an S around the middle, or back through it; image in [0, 1]."""
        if not self.contrast:
            return image
        levels = np.linspace(0.0, 1.0, TABLE)
        curve = (1.0 - self.contrast) * levels + self.contrast * levels**2 * (3.0 - 2.0 * levels)
        table = (np.interp(levels, curve, levels) if back else curve).astype(np.float32)
        return np.take(table, (image * np.float32(TABLE - 1) + np.float32(0.5)).astype(np.int32))

    def _sharpened(self, image: Image) -> Image:
        sharper = image + np.float32(self.sharpening) * (image - softened(image, 0.9))
        return np.clip(sharper, 0.0, 1.0).astype(np.float32)
