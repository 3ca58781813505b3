"""What computes the convolutions of restoring on a CPU: rar's kernels, Winograd's products by torch, or oneDNN."""

from __future__ import annotations

import torch
from torch import nn

from rar_cli.compute.native.library import RESTORING, bfloat16_gains, library
from rar_cli.compute.native.speed import speed_up_restoring
from rar_cli.compute.winograd import speed_up, winograd_wins


def quicken(module: nn.Module, dtype: torch.dtype) -> None:
    """Let a module on the CPU compute its 3x3 convolutions in `dtype` in the fastest way there is.

    Its state dict does not change. Kernels are compiled at first use, which takes seconds, once for each machine.
    """
    if _missing(dtype) is None:
        speed_up_restoring(module)
    elif dtype == torch.float32 and winograd_wins():
        speed_up(module)


def described(dtype: torch.dtype) -> str:
    """In words what `quicken` chooses, and why."""
    missing = _missing(dtype)
    if missing is None:
        return "by rar's kernels"
    return f"by torch ({missing})"


def _missing(dtype: torch.dtype) -> str | None:
    """Why the kernels are not used."""
    if dtype != torch.float32 and not (dtype == torch.bfloat16 and bfloat16_gains()):
        return f"the kernels do not gain in {str(dtype).removeprefix('torch.')} on this processor"
    found = library(RESTORING)
    return found if isinstance(found, str) else None
