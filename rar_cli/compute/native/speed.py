"""Which layers of a model learn and restore by the kernels."""

from __future__ import annotations

from typing import cast

from torch import nn

from rar_cli.compute.native.convolution import NativeConv2d, suits
from rar_cli.compute.native.doubling import DoublingConv, doubles
from rar_cli.compute.native.restoring import MULTIPLE, RestoringConv2d


def speed_up_training(module: nn.Module) -> None:
    """Replace the layers of a module that the kernels take. Its parameters and its state dict do not change."""
    for name, child in module.named_children():
        if suits(child):
            setattr(module, name, NativeConv2d(cast(nn.Conv2d, child)))
        elif doubles(child):
            setattr(module, name, DoublingConv(cast(nn.ConvTranspose2d, child)))
        else:
            speed_up_training(child)


def speed_up_restoring(module: nn.Module) -> None:
    """Replace the convolutions of a module that the kernels take. Its state dict does not change."""
    for name, child in module.named_children():
        if suits(child, MULTIPLE, MULTIPLE):
            setattr(module, name, RestoringConv2d(cast(nn.Conv2d, child)))
        else:
            speed_up_restoring(child)
