"""Refuses NaN and infinity before a picture is written."""

from __future__ import annotations

from torch import Tensor

from rar_cli.errors import ImageError


def require_finite(tensor: Tensor, what: str) -> Tensor:
    """Return a tensor of any shape if it is finite. Else raise ImageError; `what` names the tensor in it.

    Makes no copy: a large picture has no room for one.
    """
    if not is_finite(tensor):
        raise ImageError(f"{what} is not finite (NaN or infinity); try float32, or other weights")
    return tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any shape and type holds neither NaN nor infinity."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(end.isfinite()) for end in tensor.aminmax())
