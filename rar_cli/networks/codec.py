"""Codec: image <-> latent. A linear projection that is exact from step 0, plus residual branches.

The shortcut projects each f x f patch on the principal components of training photographs; the
residual branches start at zero (the residual autoencoding of DC-AE, arXiv 2410.10733, Sec. 3.1)
and are moved by end-to-end training alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rar_cli.compute.tiling import pad_to_multiple


@dataclass(frozen=True)
class CodecParams:
    """factor: pixels per latent cell along a side; channels: at most 3 * factor**2; width: of the branches, 0 goes
    without."""

    factor: int = 4
    channels: int = 48
    width: int = 48
    linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        most = 3 * self.factor**2
        if not 1 <= self.channels <= most:
            raise ValueError(f"channels must lie in 1..{most} for factor {self.factor}, got {self.channels}")


class Codec(nn.Module):
    """image (b, 3, h, w) in [0, 1] <-> latent (b, c, ceil(h/f), ceil(w/f)), scaled and shifted."""

    linear = CodecParams.linear
    halo_px = 32
    """Pixels beyond a tile that its latent and its picture depend on."""

    scale: Tensor

    def __init__(self, params: CodecParams) -> None:
        super().__init__()
        self.params = params
        f, c, width = params.factor, params.channels, params.width
        self.analysis = nn.Conv2d(3, c, f, stride=f)
        self.synthesis = nn.ConvTranspose2d(c, 3, f, stride=f)
        self.encoder_branch = self.decoder_branch = None
        if width:
            self.encoder_branch = nn.Sequential(
                nn.Conv2d(3, width, f, stride=f), nn.SiLU(), zero_(nn.Conv2d(width, c, 1))
            )
            self.decoder_branch = nn.Sequential(
                nn.Conv2d(c, width, 3, padding=1), nn.SiLU(), zero_(nn.ConvTranspose2d(width, 3, f, stride=f))
            )
        self.register_buffer("scale", torch.ones(c))

    def encode(self, image: Tensor) -> Tensor:
        """image (b, 3, h, w) in [0, 1] -> latent (b, c, ceil(h/f), ceil(w/f)), roughly unit variance."""
        image = pad_to_multiple(image, self.params.factor)
        latent: Tensor = self.analysis(image)
        return latent if self.encoder_branch is None else latent + self.encoder_branch(image)

    def decode(self, latent: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """latent -> image (b, 3, h, w), cropped to `size` = (h, w); near [0, 1], not clamped."""
        image: Tensor = self.synthesis(latent)
        if self.decoder_branch is not None:
            image = image + self.decoder_branch(latent)
        return image if size is None else image[..., : size[0], : size[1]]

    def encode_change(self, change: Tensor) -> Tensor:
        """What a change of an image, (b, 3, h, w), with sides in whole cells, changes of its latent; branches apart."""
        return F.conv2d(change, self.analysis.weight, stride=self.params.factor)

    def mse(self, latent: Tensor, reference: Tensor) -> Tensor:
        """Mean squared error (b,) in image units, without decoding: the basis is orthonormal up to `scale`."""
        return mse_of(latent, reference, self.scale)

    def let_learn(self, on: bool) -> None:
        """Let the residual branches learn; the exact shortcut stays."""
        self.requires_grad_(on)
        self.analysis.requires_grad_(False)
        self.synthesis.requires_grad_(False)

    @torch.no_grad()
    def fit(self, patches: Tensor, floor: float = 0.03) -> None:
        """Set the shortcut from principal components of patches (n, 3, f, f) in [0, 1].

        floor: least standard deviation, in image units, that a channel is scaled by; it keeps
        the noise of almost empty channels from swamping the latent.
        """
        f, c = self.params.factor, self.params.channels
        rows = rearrange(patches.double(), "n c y x -> n (c y x)")
        colour = rearrange(rows, "n (c p) -> c (n p)", c=3).mean(1)
        mean = colour.repeat_interleave(f * f)  # flat, as `synthesis` has one bias per colour
        variances, basis = torch.linalg.eigh(torch.cov(rows.T))
        basis = basis.flip(1)[:, :c].T  # (c, 3 f f), strongest first
        scale = (variances.flip(0)[:c].clamp_min(0) + floor**2).sqrt()
        self.scale.copy_(scale)
        analysis = basis / scale[:, None]
        self.analysis.weight.copy_(rearrange(analysis, "k (c y x) -> k c y x", c=3, y=f))
        self.analysis.bias.copy_(-(analysis @ mean))  # type: ignore[union-attr]
        self.synthesis.weight.copy_(rearrange(basis * scale[:, None], "k (c y x) -> k c y x", c=3, y=f))
        self.synthesis.bias.copy_(colour)  # type: ignore[union-attr]


def mse_of(latent: Tensor, reference: Tensor, scale: Tensor) -> Tensor:
    """Mean squared error (b,) of latents (b, c, h, w), each channel in units of its scale (c,)."""
    difference = (latent - reference).float() * scale[:, None, None]
    return difference.square().mean(dim=(1, 2, 3))


def zero_(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> nn.Module:
    """Zero a layer, so that the branch it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def patches_of(images: Iterable[Tensor], factor: int, per_image: int, generator: torch.Generator) -> Tensor:
    """Random patches (n, 3, f, f) from images (3, h, w) in [0, 1], for `Codec.fit`."""
    found = []
    for image in images:
        ys = torch.randint(image.shape[1] - factor + 1, (per_image,), generator=generator)
        xs = torch.randint(image.shape[2] - factor + 1, (per_image,), generator=generator)
        found += [image[:, y : y + factor, x : x + factor] for y, x in zip(ys.tolist(), xs.tolist(), strict=True)]
    return torch.stack(found)
