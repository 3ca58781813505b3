"""3x3 convolutions of training by the kernels, and their gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from rar_cli.compute.native.library import TRAINING, call, direct

OUT_MULTIPLE, IN_MULTIPLE = 32, 16
"""Of the channels that the kernels take."""


def laid_out(x: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """The features as the kernels read them: in channels_last, without gradient."""
    return x.detach().to(dtype).contiguous(memory_format=torch.channels_last)


def convolved(x: Tensor, weight: Tensor, offset: Tensor | None, back: bool = False) -> Tensor:
    """x (b, in, h, w) as laid out -> (b, out, h, w); back: the gradient (b, in, h, w) of the input from that of the
    result."""
    out, inner = weight.shape[:2]
    made, taken = (inner, out) if back else (out, inner)
    if direct():
        rounded = laid_out(weight, x.dtype)
        if back:
            size = [len(x), inner, *x.shape[2:]]
            return laid_out(conv2d_input(size, rounded, x, padding=1))  # type: ignore[no-untyped-call]
        return laid_out(F.conv2d(x, rounded, None if offset is None else offset.to(x.dtype), padding=1))
    batch, _, height, width = x.shape
    wide = _wide(x)
    kernel = x.new_empty((36 if wide else 16) * out * inner)
    units = torch.empty(made) if wide else None
    call(TRAINING, "rar_kernel", laid_out(weight, torch.float32), kernel, units, inner, out, int(back))
    result = torch.empty((batch, made, height, width), dtype=x.dtype, memory_format=torch.channels_last)
    call(TRAINING, "rar_convolve", x, kernel, units, offset, result, batch, height, width, taken, made)
    return result


def _wide(x: Tensor) -> bool:
    """Whether F(4x4, 3x3) is taken (docs/decisions.md#kernels-of-training)."""
    return not any(side % 4 for side in x.shape[-2:])


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Input x (b, in, h, w) and gradient of the result (b, out, h, w), as laid out -> (out, in, 3, 3) in float32."""
    batch, inner, height, width = x.shape
    out = gradient.shape[1]
    if direct():
        found: Tensor = conv2d_weight(x, [out, inner, 3, 3], gradient, padding=1)  # type: ignore[no-untyped-call]
        return found.float()
    result = torch.empty((out, inner, 3, 3), memory_format=torch.channels_last)
    call(TRAINING, "rar_weight_gradient", x, gradient, result, batch, height, width, inner, out, int(_wide(x)))
    return result


def totals(gradient: Tensor) -> Tensor:
    """Sums (c,) over pictures and pixels of a gradient (b, c, h, w) as laid out, in float32: the gradient of an offset.

    They are a product, for a sum that widens bfloat16 copies all of it first.
    """
    pixels = rearrange(gradient, "b c h w -> (b h w) c")
    return (pixels.new_ones(1, len(pixels)) @ pixels)[0].float()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ready = laid_out(x)
        ctx.save_for_backward(ready, weight)
        return convolved(ready, weight, None if bias is None else bias.detach().float().contiguous())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = laid_out(gradients[0])
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            convolved(gradient, weight, None, back=True) if to_x else None,
            weight_gradient(x, gradient) if to_weight else None,
            totals(gradient) if to_bias else None,
        )


class NativeConv2d(nn.Conv2d):
    """A 3x3 convolution, stride and padding 1, whose autocast in bfloat16 on the CPU goes through the kernels."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer.in_channels, layer.out_channels, 3, padding=1, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """x (b, in, h, w) -> (b, out, h, w), channels_last."""
        if not takes(x) or (x.requires_grad and self.in_channels % OUT_MULTIPLE):
            return super().forward(x)
        made: Tensor = _Convolution.apply(x.to(torch.bfloat16), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return made


def takes(x: Tensor) -> bool:
    """Whether the kernels take features x (b, c, h, w) here and now."""
    if x.device.type != "cpu" or any(side % 2 for side in x.shape[-2:]):
        return False
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def suits(layer: nn.Module, out_multiple: int = OUT_MULTIPLE, in_multiple: int = IN_MULTIPLE) -> bool:
    """Whether a layer is a plain 3x3 convolution, by default one of channels that the kernels of training take."""
    if type(layer) is not nn.Conv2d:
        return False
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode)
    known = shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")
    return known and not layer.out_channels % out_multiple and not layer.in_channels % in_multiple
