"""Winograd's minimal filtering for 3x3 convolutions on CPUs in float32: F(4x4, 3x3), Lavin and Gray, arXiv 1509.09308.

A quarter of the multiplications of a direct convolution, as matrix products, which every BLAS does well. oneDNN has no
such kernel for CPUs. Results differ from the direct ones by rounding alone (docs/decisions.md#winograd).
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rar_cli.compute.native.convolution import suits
from rar_cli.compute.remade import Remade

OUT, IN = 4, 6
"""Cells along a side that a tile writes, and that it reads."""

CHUNK = 2**19
"""Numbers in the transformed tiles of one step; they fit the cache of a core."""

LEAST_CHANNELS = 32
LEAST_CELLS = 8
"""Below these the transforms cost more than they save."""


def _squared(rows: list[list[float]]) -> Tensor:
    """The transform of a tile from that of a row: the Kronecker product with itself."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix)


FROM_INPUT = _squared(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
).float()  # B^T, (36, 36)
FROM_KERNEL = _squared(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)  # G, (36, 9)
TO_OUTPUT = _squared(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
).float()  # A^T, (16, 36)


def winograd_wins() -> bool:
    """Whether it beats oneDNN's direct convolutions here: only without AVX-512."""
    return torch.backends.cpu.get_cpu_capability() != "AVX512"


def speed_up(module: nn.Module) -> None:
    """Replace the 3x3 convolutions of a module that gain by it. Its state dict does not change."""
    for name, child in module.named_children():
        layer = cast(nn.Conv2d, child)
        if suits(child, 1, 1) and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS:
            setattr(module, name, WinogradConv2d(layer))
        else:
            speed_up(child)


class WinogradConv2d(nn.Conv2d):
    """A trained 3x3 convolution, stride and padding 1.

    The direct one runs with gradients, in half precision and on other devices.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer.in_channels, layer.out_channels, 3, padding=1, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.transformed = Remade(transformed)  # at first use, for `rar assess` never needs the restorer's

    def forward(self, x: Tensor) -> Tensor:
        """x (b, in, h, w) -> (b, out, h, w), channels_last."""
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if torch.is_grad_enabled() or not plain or min(x.shape[-2:]) < LEAST_CELLS:
            return super().forward(x)
        return winograd(x, self.transformed.of(self.weight), self.bias)


def transformed(weight: Tensor) -> Tensor:
    """weight (out, in, 3, 3) -> (36, in, out)."""
    return torch.einsum("kp,oip->kio", FROM_KERNEL, weight.double().flatten(2)).float()


def winograd(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve x (b, in, h, w) with a transformed kernel (36, in, out), zeros around."""
    height, width = x.shape[-2:]
    down, across = -(-height // OUT), -(-width // OUT)
    around = (0, 0, 1, across * OUT + 1 - width, 1, down * OUT + 1 - height)
    padded = F.pad(rearrange(x, "b c h w -> b h w c"), around)
    out = x.new_empty(x.shape[0], down, OUT, across, OUT, kernel.shape[2])
    offset = x.new_zeros(()) if bias is None else bias
    rows = max(1, CHUNK // (IN * IN * across * max(kernel.shape[1:])))
    for picture, result in zip(padded, out, strict=True):
        for first in range(0, down, rows):
            last = min(first + rows, down)
            strip = picture[first * OUT : last * OUT + IN - OUT]
            tiles = strip.unfold(0, IN, OUT).unfold(1, IN, OUT)  # (rows, across, in, 6, 6), a view
            read = torch.matmul(FROM_INPUT, rearrange(tiles, "r t c y x -> (r t) (y x) c"))
            product = torch.bmm(read.transpose(0, 1), kernel)
            made = torch.matmul(TO_OUTPUT, product.transpose(0, 1))
            placed = rearrange(made, "(r t) (y x) c -> r y t x c", t=across, y=OUT)
            torch.add(placed, offset, out=result[first:last])
    image = rearrange(out, "b r y t x c -> b (r y) (t x) c")
    return rearrange(image[:, :height, :width], "b h w c -> b c h w")
