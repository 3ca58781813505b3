"""Device and precision: by name, or what the machine has."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from rar_cli.errors import UsageError

M = TypeVar("M", bound=nn.Module)


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:i or mps -> device. Raises UsageError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in {"cpu", "cuda", "mps"}:
            raise ValueError(device.type)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        raise UsageError(f"device {name}: not available here; use auto, cpu, cuda, cuda:0 or mps") from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """auto, float32, bfloat16 or float16 -> dtype; auto is bfloat16 where the hardware has it."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
        return torch.bfloat16 if native and device.type != "mps" else torch.float32
    if name not in known:
        raise UsageError(f"dtype {name}: use auto, {', '.join(known)}")
    if name == "float16" and device.type == "cpu":
        raise UsageError("dtype float16: not on the CPU; use float32 or bfloat16")
    return known[name]


def channels_last(module: M) -> M:
    """The module itself, its tensors laid out as convolutions are fastest."""
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # which not every torch's own types know
    return module.to(**layout)


def _cpu_has_bfloat16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
