"""Restorer: the velocity field of noise-free flow matching (UIR in arXiv 2603.26385).

A U-Net of dense 3x3 residual blocks (per FLOP two to three times as fast on CPUs as depthwise
blocks) beside a global path: one matrix and offset per picture, predicted from the condition,
which is what low light and haze need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rar_cli.compute.native.block import residual_block
from rar_cli.compute.native.convolution import NativeConv2d, takes
from rar_cli.compute.native.restoring import RestoringConv2d, restored_block, runs
from rar_cli.compute.tiling import pad_to_multiple
from rar_cli.networks.adapters import AssessorParams
from rar_cli.networks.codec import zero_


@dataclass(frozen=True)
class RestorerParams:
    """channels: of the latent; widths, blocks: per level, finest first (the last level is the middle);
    detail_blocks, detail_width: of the level at twice the latent's resolution, on either side; 0 blocks: none.
    memory: later rounds see what earlier rounds removed. blur_tokens: the last tokens of the condition. Blocks below
    the level of detail scale their inner features by them, because filters for one direction of blur are of no use
    in another."""

    channels: int = 48
    widths: tuple[int, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (2, 3, 4)
    condition_tokens: int = AssessorParams().condition_tokens
    condition_width: int = 128
    modulation_width: int = 256
    detail_blocks: int = 0
    detail_width: int = 64
    memory: bool = False
    blur_tokens: int = 0

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"widths has {len(self.widths)} levels, blocks has {len(self.blocks)}")

    @property
    def multiple(self) -> int:
        """Latent sides must be a multiple of this; the restorer pads and crops by itself."""
        return int(2 ** (len(self.widths) - 1))


class Block(nn.Module):
    """Residual block: modulated layer norm over channels, 3x3, SiLU, 3x3; between those, inner features are scaled
    by what is known of the blur, where blur_width is not 0."""

    def __init__(self, width: int, modulation_width: int, blur_width: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5, bias=False)  # one pass on CPUs, which an RMS norm is not
        self.modulation = zero_(nn.Linear(modulation_width, 3 * width))
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.choice = zero_(nn.Linear(blur_width, width)) if blur_width else None
        nn.init.normal_(self.second.weight, std=0.1 / math.sqrt(9 * width))

    def forward(self, x: Tensor, e: Tensor, blur: Tensor | None = None) -> Tensor:
        """x (b, width, h, w), modulation e (b, m), blur (b, n) -> (b, width, h, w)."""
        scale, shift, gate = rearrange(self.modulation(e), "b (k c) -> k b c", k=3)
        if type(self.second) is NativeConv2d and takes(x):
            return residual_block(x, self._each(scale, shift, gate, blur), self.first, self.second)
        if type(self.second) is RestoringConv2d and runs(x):
            return restored_block(x, self._each(scale, shift, gate, blur), self.first, self.second)
        y = self.first(self._modulated(x, scale, shift))
        y = self._chosen(F.silu(y, inplace=not torch.is_grad_enabled()), blur)
        return torch.addcmul(x, y, 1 + gate[..., None, None])

    def _each(
        self, scale: Tensor, shift: Tensor, gate: Tensor, blur: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """What kernels scale by and add for every picture, (b, width), from the modulation and the blur."""
        choice = None if self.choice is None or blur is None else 1 + self.choice(blur).float()
        return self.norm.weight * (1 + scale.float()), shift, 1 + gate.float(), choice

    def _chosen(self, y: Tensor, blur: Tensor | None) -> Tensor:
        """The second convolution of inner features y (b, width, h, w), scaled as the blur (b, n) asks."""
        if self.choice is None or blur is None:
            return self.second(y)
        scale = 1 + self.choice(blur)
        if len(scale) > 1 or torch.is_grad_enabled() or type(self.second) is not nn.Conv2d:
            return self.second(y * scale[..., None, None])
        return F.conv2d(y, self.second.weight * scale[0, :, None, None], self.second.bias, padding=1)  # a pass saved

    def _modulated(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """x (b, width, h, w) normed over channels, scaled and shifted; scale, shift (b, width)."""
        views = x.permute(0, 2, 3, 1)  # contiguous in channels_last
        if torch.is_grad_enabled() or x.device.type != "cpu":
            normed = self._normed(views).permute(0, 3, 1, 2)
            return torch.addcmul(shift[..., None, None], normed, 1 + scale[..., None, None])
        # On CPUs memory is what counts: a norm that scales and shifts for each picture takes one pass, not two.
        with torch.autocast("cpu", enabled=False):
            weights = self.norm.weight * (1 + scale.float())
            size, eps = self.norm.normalized_shape, self.norm.eps
            each = [F.layer_norm(v, size, w, s, eps) for v, w, s in zip(views, weights, shift.float(), strict=True)]
            return (each[0][None] if len(each) == 1 else torch.stack(each)).permute(0, 3, 1, 2)

    def _normed(self, x: Tensor) -> Tensor:
        """The layer norm in the type that x has: autocast on CUDA would go through float32, there and back."""
        if x.dtype == torch.float32:
            normed: Tensor = self.norm(x)
            return normed
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.norm.normalized_shape, self.norm.weight.to(x.dtype), None, self.norm.eps)


class Detail(nn.Module):
    """The level at twice the latent's resolution, where noise differs from edges. It starts as nothing, so that it
    can be added to trained weights."""

    def __init__(self, params: RestorerParams) -> None:
        super().__init__()
        channels, width, below = params.channels, params.detail_width, params.widths[0]
        self.enter = nn.ConvTranspose2d(channels, width, 2, stride=2)
        self.down = nn.ModuleList(Block(width, params.modulation_width) for _ in range(params.detail_blocks))
        self.shrink = zero_(nn.Conv2d(width, below, 2, stride=2))
        self.grow = nn.ConvTranspose2d(below, width, 2, stride=2)
        self.up = nn.ModuleList(Block(width, params.modulation_width) for _ in range(params.detail_blocks))
        self.leave = zero_(nn.Conv2d(width, channels, 2, stride=2))
        self.recall = zero_(nn.ConvTranspose2d(channels, width, 2, stride=2, bias=False)) if params.memory else None

    def before(self, latent: Tensor, e: Tensor, taken: Tensor | None) -> tuple[Tensor, Tensor]:
        """latent (b, c, h, w), what has been taken from it (same shape) -> features (b, width, 2h, 2w), and their
        share in the level below (b, below, h, w)."""
        x = self.enter(latent)
        if self.recall is not None and taken is not None:
            x = x + self.recall(taken)
        for block in self.down:
            x = block(x, e)
        return x, self.shrink(x)

    def after(self, x: Tensor, features: Tensor, e: Tensor) -> Tensor:
        """From the level below (b, below, h, w), features (b, width, 2h, 2w) -> velocity (b, c, h, w)."""
        x = _joined(features, self.grow(x))
        for block in self.up:
            x = block(x, e)
        velocity: Tensor = self.leave(x)
        return velocity


class Restorer(nn.Module):
    """(z_t, t, condition) -> velocity v = z_1 - z_0; t = 0 is degraded, t = 1 restored."""

    def __init__(self, params: RestorerParams) -> None:
        super().__init__()
        self.params = params
        c, widths, m = params.channels, params.widths, params.modulation_width
        self.time = nn.Sequential(nn.Linear(32, m), nn.SiLU(), nn.Linear(m, m))
        self.condition = nn.Linear(params.condition_tokens * params.condition_width, m)
        self.mixer = nn.Sequential(nn.SiLU(), nn.Linear(m, m), nn.SiLU())
        self.enter = nn.Conv2d(c, widths[0], 3, padding=1)

        blur_width = params.blur_tokens * params.condition_width

        def level(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(Block(width, m, blur_width) for _ in range(count))

        self.down = nn.ModuleList(level(w, n) for w, n in zip(widths[:-1], params.blocks, strict=False))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.middle = level(widths[-1], params.blocks[-1])
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.up = nn.ModuleList(level(w, n) for w, n in zip(widths[:-1], params.blocks, strict=False))
        self.leave = zero_(nn.Conv2d(widths[0], c, 3, padding=1))
        # Without an offset: where nothing was removed it adds nothing, so the first round needs no memory.
        self.recall = zero_(nn.Conv2d(c, widths[0], 3, padding=1, bias=False)) if params.memory else None
        self.detail = Detail(params) if params.detail_blocks else None
        self.global_matrix = zero_(nn.Linear(m, c * c))
        self.global_offset = zero_(nn.Linear(m, c))

    def forward(self, latent: Tensor, t: Tensor, condition: Tensor, origin: Tensor | None = None) -> Tensor:
        """latent (b, c, h, w), t (b,) in [0, 1], condition (b, n, d) -> velocity (b, c, h, w).

        origin: the latent that the loop began with, for a restorer with memory; None: this very one.
        """
        height, width = latent.shape[-2:]
        e = self.mixer(self.time(_waves(t)) + self.condition(rearrange(condition, "b n d -> b (n d)")))
        blur = condition[:, -self.params.blur_tokens :].flatten(1) if self.params.blur_tokens else None
        matrix = rearrange(self.global_matrix(e), "b (o i) -> b o i", o=latent.shape[1])
        flat = rearrange(latent, "b c h w -> b c (h w)")
        whole = torch.baddbmm(self.global_offset(e).unsqueeze(-1), matrix, flat)
        padded = pad_to_multiple(latent, self.params.multiple)
        taken = None if origin is None else pad_to_multiple(origin - latent, self.params.multiple)
        x = self.enter(padded)
        if self.recall is not None and taken is not None:
            x = x + self.recall(taken)
        if self.detail is not None:
            features, coarse = self.detail.before(padded, e, taken)
            x = x + coarse
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, e, blur)
            skips.append(x)
            x = shrink(x)
        for block in self.middle:
            x = block(x, e, blur)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = _joined(skips.pop(), grow(x))
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, e, blur)
        velocity = self.leave(x)
        if self.detail is not None:
            velocity = velocity + self.detail.after(x, features, e)
        return velocity[..., :height, :width] + whole.reshape(latent.shape)

    def let_learn(self, on: bool) -> None:
        """Let the whole restorer learn, or nothing of it."""
        self.requires_grad_(on)


def _joined(kept: Tensor, grown: Tensor) -> Tensor:
    """Their sum; without gradients in the memory of `kept`, which nobody reads again."""
    return kept + grown if torch.is_grad_enabled() else kept.add_(grown)


def _waves(t: Tensor) -> Tensor:
    """t (b,) in [0, 1] -> sinusoidal features (b, 32)."""
    frequencies = torch.exp(torch.linspace(0.0, math.log(100.0), 16, device=t.device))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)
