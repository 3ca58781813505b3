"""Pictures in memory, and as tensors. `decoding` reads them from files, `encoding` writes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rar_cli.pictures.tags.metadata import Metadata

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """A still picture in memory, upright.

    pixels: (h, w, 3), uint8, uint16, or float32 in [0, 1], in the picture's own colour space. alpha: (h, w), same
    type, or None. grey: the file has one channel. jpeg: what its encoder used (tables, sampling).
    """

    pixels: Pixels
    format: str
    alpha: Pixels | None = None
    grey: bool = False
    metadata: Metadata = Metadata()
    jpeg: dict[str, Any] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def hollow(self) -> Picture:
        """The same picture without the memory of its pixels, all of which read 0."""
        nothing = np.zeros((1, 1, 1), self.pixels.dtype)
        return replace(self, pixels=np.broadcast_to(nothing, self.pixels.shape))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file could not be kept."""
        return self.metadata.warnings


def picture_to_image(picture: Picture) -> Tensor:
    """Picture -> image (1, 3, h, w), of the picture's own type, sharing memory where it can."""
    import torch

    pixels = np.ascontiguousarray(picture.pixels)
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1).unsqueeze(0)


def image_to_picture(image: Tensor, like: Picture) -> Picture:
    """Image (1, 3, h, w), float near [0, 1] or `like`'s own type -> picture with all else of `like`."""
    kind = like.pixels.dtype
    if image.is_floating_point():
        unit = image[0].float().clamp(0.0, 1.0)
        full = unit.mul(float(np.iinfo(kind).max)).round() if kind.kind == "u" else unit
        pixels = full.permute(1, 2, 0).cpu().numpy().astype(kind)
    else:
        pixels = image[0].permute(1, 2, 0).numpy()
    if like.grey:
        mean = pixels.mean(axis=2, keepdims=True, dtype=np.float32 if kind.kind == "u" else np.float64)
        mean = (np.rint(mean) if kind.kind == "u" else mean).astype(kind)
        pixels = np.broadcast_to(mean, pixels.shape)
    return replace(like, pixels=pixels)


def as_8_bit(picture: Picture) -> Picture:
    """uint16 and float -> uint8 by rounding; uint8 stays."""
    return _converted(picture, np.dtype(np.uint8))


def as_16_bit(picture: Picture) -> Picture:
    """float -> uint16 by rounding; integers stay."""
    return _converted(picture, np.dtype(np.uint16)) if picture.pixels.dtype.kind == "f" else picture


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def _converted(picture: Picture, kind: np.dtype[Any]) -> Picture:
    if picture.pixels.dtype == kind:
        return picture
    alpha = None if picture.alpha is None else _narrow(picture.alpha, kind)
    return replace(picture, pixels=_narrow(picture.pixels, kind), alpha=alpha)


def _narrow(x: Pixels, kind: np.dtype[Any]) -> Pixels:
    if x.dtype.kind == "f":
        return np.rint(x * np.float32(np.iinfo(kind).max)).astype(kind)
    return ((x.astype(np.uint32) + 128) // 257).astype(np.uint8)
