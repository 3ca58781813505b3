"""Clean crops of photographs, and the harmless changes that they may get."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.compression import file_type, recompress
from rar_cli.synthesis.pixels import Image, to_linear, to_srgb
from rar_cli.train.data.photographs import Photo

OWN_SCALE_PX, MOST_OWN_SCALE = 512, 0.6
"""Share of the crops at a photograph's own scale: their side over the one, at most the other."""
FINE = (78, 99)
"""Qualities from the one to below the other, at which a file does not show: no damage, and no word of severity."""


def crop(photo: Photo, size_px: int, rng: Generator) -> Image:
    """A random crop at a random scale, down to the whole photograph; mirrored, sometimes turned.

    Mostly reduced below 0.75, so that the traces of the file's own compression are gone; at its own scale often
    enough for the assessor to know what photographs are like that are not, and the more often the larger the crop:
    a small part of a picture does not tell how bright or hazy it was.
    """
    height, width = photo.shape[:2]
    least = size_px / min(height, width)
    own = min(size_px / OWN_SCALE_PX, MOST_OWN_SCALE)
    scale = 1.0 if rng.random() < own else float(np.exp(rng.uniform(np.log(min(least, 0.75)), np.log(0.75))))
    side = min(int(round(size_px / max(scale, least))), height, width)
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    part = photo[y : y + side, x : x + side]
    if side != size_px:
        part = cv2.resize(part, (size_px, size_px), interpolation=cv2.INTER_AREA).astype(np.uint8)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.2:
        part = np.rot90(part, int(rng.integers(1, 4)))
    return np.ascontiguousarray(part, dtype=np.float32) / np.float32(255.0)


def retoned(image: Image, rng: Generator) -> Image:
    """The scene as it could have been and be clean: of another exposure, gamma, contrast or colour.

    A photograph seen often enough is known by heart, and with it how dark or pale it is by nature; then nothing teaches
    the assessor that a dim church is no dark photograph.
    """
    kind = int(rng.integers(4))
    if kind == 0:
        toned = to_srgb(to_linear(image) * 10.0 ** rng.uniform(-0.2, 0.1))
    elif kind == 1:
        toned = image ** np.exp(rng.uniform(np.log(0.8), np.log(1.35)))
    elif kind == 2:
        contrast = rng.uniform(0.8, 0.98)
        toned = image * contrast + rng.uniform(0.0, 0.85) * (1.0 - contrast)
    else:
        grey = image.mean(axis=2, keepdims=True)
        toned = (grey + (image - grey) * rng.uniform(0.3, 1.4)) * rng.uniform(0.88, 1.0, 3)
    return np.clip(toned, 0.0, 1.0).astype(np.float32)


def dimmed(image: Image, rng: Generator) -> Image:
    """A scene that is dim, dusky, pale or misty by nature, and clean: far beyond what `retoned` does.

    Night is no lack of exposure and mist no haze to take away; only what such scenes lose on their way to the file is.
    """
    kind = int(rng.integers(4))
    toned: NDArray[np.floating]
    if kind == 0:  # night and rooms: up to three stops down, some lamps stay as they are
        light = to_linear(image)
        lamps = np.clip((light.max(axis=2, keepdims=True) - 0.8) / 0.2, 0.0, 1.0) * (rng.random() < 0.5)
        toned = to_srgb((light * np.maximum(2.0 ** rng.uniform(-3.0, -0.5), lamps)).astype(np.float32))
    elif kind == 1:
        toned = image ** rng.uniform(1.3, 2.4)
    elif kind == 2:  # pale: the darkest is far from black, the lightest from white
        low, high = rng.uniform(0.05, 0.35), rng.uniform(0.65, 1.0)
        toned = low + image * (high - low)
    else:
        grey = image.mean(axis=2, keepdims=True)
        toned = (0.5 + (grey - 0.5) * rng.uniform(0.4, 0.8)) + (image - grey) * rng.uniform(0.2, 0.8)
        toned = toned + rng.uniform(-0.2, 0.25)
    if rng.random() < 0.4:  # lamps, dusk, shade
        toned = toned * rng.uniform(0.75, 1.0, 3)
    return np.clip(toned, 0.0, 1.0).astype(np.float32)


def resaved(image: Image, rng: Generator) -> Image:
    """The picture as it comes out of the file that most are kept in, a fine JPEG or WebP.

    Most photographs to train on are such files as well, and degrading them wipes out the traces: if no degraded picture
    had any, they would pass for a sign that nothing is wrong.
    """
    extension = file_type(rng)
    return recompress(image, int(rng.integers(*FINE)), extension, rng)


def tint(rng: Generator) -> NDArray[np.float32]:
    """A gamma per channel, as of a print in sepia or, sometimes, in blue."""
    strength = rng.uniform(-0.2, 0.5)
    return np.exp(np.float32(strength) * np.asarray((-0.6, 0.1, 1.0), np.float32))
