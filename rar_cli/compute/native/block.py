"""A residual block of the restorer by the kernels: its convolutions, and one pass for all that lies between two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rar_cli.compute.native.convolution import convolved, laid_out, weight_gradient
from rar_cli.compute.native.library import TRAINING, call


def residual_block(
    x: Tensor, each: tuple[Tensor, Tensor, Tensor, Tensor | None], first: nn.Conv2d, second: nn.Conv2d
) -> Tensor:
    """x (b, c, h, w) -> the same shape: x + gate second(choice silu(first(scale norm(x) + shift))).

    each: scale, shift, gate and choice of every picture, (b, c).
    """
    parameters = (first.weight, first.bias, second.weight, second.bias)
    made: Tensor = _Block.apply(x.to(torch.bfloat16), *each, *parameters)  # type: ignore[no-untyped-call]
    return made


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, gate: Tensor, choice: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        x = laid_out(x)
        first, first_bias, second, second_bias = parameters
        each = [None if row is None else row.detach().float().contiguous() for row in (scale, shift, gate, choice)]
        size = _size(x)
        stats = torch.empty(size[0] * size[1] * 2)
        normed, active, result = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
        call(TRAINING, "rar_norm", x, each[0], each[1], normed, stats, *size)
        inner = convolved(normed, first, first_bias.detach().float())
        call(TRAINING, "rar_silu", inner, each[3], active, *size)
        change = convolved(active, second, second_bias.detach().float())
        call(TRAINING, "rar_gate", x, change, each[2], result, *size)
        ctx.save_for_backward(x, stats, normed, inner, active, change, each[0], each[2], each[3], first, second)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, stats, normed, inner, active, change, scale, gate, choice, first, second = ctx.saved_tensors
        gradient, size = laid_out(gradients[0]), _size(x)
        to_scale, to_shift, to_gate, to_choice, total, to_first_bias = torch.empty(6, size[0], size[2])
        back, result = torch.empty_like(x), torch.empty_like(x)
        call(TRAINING, "rar_gate_back", gradient, change, gate, back, to_gate, total, *size)
        to_second = weight_gradient(active, back)
        to_active = convolved(back, second, None, back=True)
        call(TRAINING, "rar_silu_back", to_active, inner, choice, back, to_choice, to_first_bias, *size)
        to_first = weight_gradient(normed, back)
        to_normed = convolved(back, first, None, back=True)
        call(TRAINING, "rar_norm_back", to_normed, x, stats, scale, gradient, result, to_scale, to_shift, *size)
        return (
            *(result, to_scale, to_shift, to_gate, None if choice is None else to_choice),
            *(to_first, to_first_bias.sum(0), to_second, (total * gate).sum(0)),
        )


def _size(x: Tensor) -> tuple[int, int, int]:
    """Pictures, pixels, channels."""
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]
