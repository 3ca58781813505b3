"""Checks of what Python callers pass, before any work. An error of errors.py names the fault."""

from __future__ import annotations

import torch
from torch import Tensor

from rar_cli.engine.finite import is_finite
from rar_cli.engine.options import EngineOptions
from rar_cli.errors import ImageError, UsageError
from rar_cli.loop.transport import SOLVERS

INTEGERS = (torch.uint8, torch.uint16)
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

MOST_STEPS = 100
"""Of a round; a grid of times without end would fill the memory."""


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


def check_options(options: EngineOptions) -> None:
    """Names are text; tile and steps are whole numbers of at least 1, steps at most 100. Raises UsageError."""
    for name in ("device", "dtype", "solver"):
        if not isinstance(value := getattr(options, name), str):
            raise UsageError(f"{name}: a name is needed, got {value!r}")
    for name in ("tile_px", "steps"):
        value = getattr(options, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name}: a whole number of at least 1 is needed, got {value!r}")
    if options.steps > MOST_STEPS:
        raise UsageError(f"steps: at most {MOST_STEPS}, got {options.steps}")
    if options.solver not in SOLVERS:
        raise UsageError(f"solver {options.solver}: use {', '.join(SOLVERS)}")
