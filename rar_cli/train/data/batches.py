"""One step's data as tensors: in 8 bits until a device has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One step's data; images (b, 3, context, context), in 8 bits until `to` makes them [0, 1]: they are rounded to
    that anyway, and processes hand over a quarter of the bytes.

    clean: fully clean. target: what the restorer is to reach (part of the degradations may stay).
    severities, remove_mask: (b, degradations). first_mask: (b, degradations), what the round before removed where
    there was one; another than remove_mask where a plan of the policy came first. t: (b,). forced: (b,) bool.
    unrolled, kept: (k,), their places.
    window: (b, n, 2) y, x of each picture's n windows in [0, 1) of the free range, their side `window_px`.
    """

    clean: Tensor
    degraded: Tensor
    target: Tensor
    severities: Tensor
    remove_mask: Tensor
    first_mask: Tensor
    t: Tensor
    forced: Tensor
    unrolled: Tensor
    kept: Tensor
    window: Tensor
    window_px: int

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, images in [0, 1], without waiting for the copy."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True)).unpacked()

    def unpacked(self) -> Batch:
        """Images in [0, 1]."""
        return self.each(_unpacked)

    def pin_memory(self) -> Batch:
        """Called by the data loader on CUDA, for copies that overlap."""
        return self.each(Tensor.pin_memory)

    @property
    def planned(self) -> Tensor:
        """(b,) bool, where a round came before that removed a part."""
        return (self.first_mask != self.remove_mask).any(1)

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {name: value for name, value in self.__dict__.items() if isinstance(value, Tensor)}

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of changed tensors."""
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in self.tensors().items()}
        return replace(self, **changed)


def _unpacked(tensor: Tensor) -> Tensor:
    """Images in 8 bits -> [0, 1]; all else as it is."""
    return tensor.float() / 255.0 if tensor.dtype == torch.uint8 else tensor
