"""What Python callers give: checked before any work, with an error of errors.py that names what was given."""

from __future__ import annotations

import torch
from torch import Tensor

from rar_cli.engine.finite import is_finite
from rar_cli.errors import ImageError, UsageError
from rar_cli.types import DEGRADATIONS

INTEGERS = (torch.uint8, torch.uint16)
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_image(image: object, most: int | None = None) -> Tensor:
    """An image (b, 3, h, w) of at least 1x1: uint8 or uint16 at full range, or float and finite.

    most: pictures in a batch at most. Raises UsageError for what is no such tensor, ImageError for NaN and infinity.
    """
    if not isinstance(image, Tensor):
        raise UsageError(f"image: a torch.Tensor (b, 3, h, w) is needed, got {type(image).__name__}")
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        raise UsageError(f"image: shape (b, 3, h, w) with at least one picture and pixel is needed, got {shape}")
    if most is not None and shape[0] > most:
        raise UsageError(f"image: at most {most} in a batch here, got {shape[0]}")
    if image.dtype not in INTEGERS + FLOATS:
        known = ", ".join(str(kind).removeprefix("torch.") for kind in INTEGERS + FLOATS)
        raise UsageError(f"image: dtype must be one of {known}, got {str(image.dtype).removeprefix('torch.')}")
    if image.device.type == "meta" or image.layout is not torch.strided:
        raise UsageError(f"image: has no pixels to read (device {image.device}, layout {image.layout})")
    if not is_finite(image):
        raise ImageError("image: holds NaN or infinity; floats in [0, 1] are needed")
    return image


def check_mask(mask: object) -> Tensor | None:
    """What is to be removed: None for everything, or a tensor (9,) in [0, 1]. Raises UsageError."""
    count = len(DEGRADATIONS)
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or tuple(mask.shape) != (count,):
        given = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise UsageError(f"remove_mask: None or a tensor of shape ({count},) is needed, got {given}")
    if not is_finite(mask) or bool((mask < 0).any()) or bool((mask > 1).any()):
        raise UsageError(f"remove_mask: values in [0, 1] are needed, got {[float(value) for value in mask]}")
    return mask


def check_options(tile_px: object, steps: object) -> None:
    """The numbers of an engine: whole, and at least 1. Raises UsageError."""
    for name, value in (("tile_px", tile_px), ("steps", steps)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name}: a whole number of at least 1 is needed, got {value!r}")
