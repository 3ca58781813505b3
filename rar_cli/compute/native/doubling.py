"""Transposed convolutions of 2x2 cells without overlap: their gradients as plain matrix products.

Those of oneDNN take three times as long in bfloat16 on CPUs; forward it is as fast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rar_cli.compute.native.convolution import laid_out, takes, totals


class _Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ready, rounded = laid_out(x), laid_out(weight)
        ctx.save_for_backward(ready, rounded)
        return F.conv_transpose2d(ready, rounded, None if bias is None else bias.detach().to(x.dtype), stride=2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        gradient = laid_out(gradients[0])
        cells = rearrange(gradient, "b c (h y) (w x) -> (b h w) (y x c)", y=2, x=2)
        matrix = rearrange(weight, "i o y x -> i (y x o)")
        into = of_weight = None
        if to_x:
            batch, _, height, width = x.shape
            into = rearrange(cells @ matrix.mT, "(b h w) i -> b i h w", b=batch, h=height, w=width)
        if to_weight:
            product = rearrange(x, "b i h w -> i (b h w)") @ cells
            of_weight = rearrange(product.float(), "i (y x o) -> i o y x", y=2, x=2)
        of_bias = totals(gradient) if to_bias else None
        return into, of_weight, of_bias


class DoublingConv(nn.ConvTranspose2d):
    """A transposed convolution of kernel and stride 2, whose autocast in bfloat16 on the CPU has these gradients."""

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__(layer.in_channels, layer.out_channels, 2, stride=2, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """x (b, in, h, w) -> (b, out, 2h, 2w), channels_last."""
        if not takes(x) or output_size is not None:
            return super().forward(x, output_size)
        made: Tensor = _Doubling.apply(x.to(torch.bfloat16), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return made


def doubles(layer: nn.Module) -> bool:
    """Whether it is such a convolution."""
    if type(layer) is not nn.ConvTranspose2d:
        return False
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding, layer.dilation, layer.groups)
    return shape == ((2, 2), (2, 2), (0, 0), (0, 0), (1, 1), 1)
