"""3x3 convolutions of restoring by the kernels, and the restorer's residual blocks, each in one call.

Covered: without gradients on the CPU, in float32, or under autocast in bfloat16, to which features are rounded between
layers. Products are of 16-bit integers (docs/decisions.md#winograd). All else runs by torch.
"""

from __future__ import annotations

from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from rar_cli.compute.native.convolution import laid_out
from rar_cli.compute.native.library import RESTORING, bfloat16_gains, call
from rar_cli.compute.remade import Remade

MULTIPLE = 16
"""Of the channels that the kernels take."""


class RestoringConv2d(nn.Conv2d):
    """A trained 3x3 convolution, stride and padding 1."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer.in_channels, layer.out_channels, 3, padding=1, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.kernel = Remade(prepared)  # at first use, for `rar assess` never needs the restorer's

    def forward(self, x: Tensor) -> Tensor:
        """x (b, in, h, w) -> (b, out, h, w), channels_last."""
        return layer(self, _ready(x)) if runs(x) else super().forward(x)


def prepared(weight: Tensor) -> Tensor:
    """weight (out, in, 3, 3) -> its kernel, transformed and scaled: twice the memory, but made once."""
    out, inner = weight.shape[:2]
    packed = rearrange(weight.float(), "(k l) i y x -> k i y x l", l=MULTIPLE).contiguous()
    kernel = torch.empty(36 * out * (-(-inner // 32) * 16 + 1), dtype=torch.int32)
    call(RESTORING, "rar_prepare", packed, kernel, inner, out, torch.get_num_threads())
    return kernel


def layer(conv: RestoringConv2d, x: Tensor) -> Tensor:
    """x (b, in, h, w) as made ready -> (b, out, h, w)."""
    batch, channels, height, width = x.shape
    size = (batch, conv.out_channels, height, width)
    result = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)  # first: it fills a gap that is large
    call(
        *(RESTORING, "rar_layer", x, conv.kernel.of(conv.weight), _offset(conv), result, batch, height, width),
        *(channels, conv.out_channels, int(x.dtype == torch.bfloat16), torch.get_num_threads()),
    )
    return result


def restored_block(
    x: Tensor, each: tuple[Tensor, Tensor, Tensor, Tensor | None], first: nn.Conv2d, second: nn.Conv2d
) -> Tensor:
    """x (b, c, h, w) -> the same shape: x + gate second(choice silu(first(scale norm(x) + shift))).

    each: scale, shift, gate and choice of every picture, (b, c).
    """
    x = _ready(x)
    batch, channels, height, width = x.shape
    result = torch.empty_like(x)
    scale, shift, gate, choice = (None if row is None else row.float().contiguous() for row in each)
    begin, end = cast(RestoringConv2d, first), cast(RestoringConv2d, second)
    call(
        *(RESTORING, "rar_residual", x, scale, shift, choice, gate),
        *(begin.kernel.of(begin.weight), _offset(begin), end.kernel.of(end.weight), _offset(end), result),
        *(batch, height, width, channels, int(x.dtype == torch.bfloat16), torch.get_num_threads()),
    )
    return result


def runs(x: Tensor) -> bool:
    """Whether the kernels take features x (b, c, h, w) here and now."""
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16 and bfloat16_gains()
    return x.dtype == torch.float32


def _ready(x: Tensor) -> Tensor:
    return laid_out(x, torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)


def _offset(conv: nn.Conv2d) -> Tensor | None:
    return None if conv.bias is None else conv.bias.detach().float().contiguous()
