"""NaN and infinity end a picture before a byte of it is written."""

from __future__ import annotations

from torch import Tensor

from rar_cli.errors import ImageError


def require_finite(tensor: Tensor, what: str) -> Tensor:
    """The tensor itself, any shape, where all of it is finite. Raises ImageError that names `what` it is.

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
