"""Blur, read from a picture's power spectrum: how long it is and in what direction.

Blur multiplies the spectrum: motion leaves parallel dark lines in it, a disc dark rings. In the cepstrum, the spectrum
of the log spectrum (Cannon, IEEE Trans. ASSP 24(1), 1976), it is added instead. The energies of latent channels, which
the image adapter goes by, cannot tell the direction: they are the same along both diagonals.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rar_cli.networks.contracts import LinearCodec

BLOCK_PX = 64
"""Side of the blocks whose power spectra are averaged (Welch's method); they overlap by half."""
FLOOR = 1e-6
"""Power added before the logarithm: about that of rounding to 8 bits."""
LUMA = (0.299, 0.587, 0.114)


class BlurReader(nn.Module):
    """latent (b, c, h, w) -> description of its blur (b, width).

    reach: lags of the cepstrum, in pixels, that are looked at. cell_px: pixels per latent cell along a side.
    usual: mean and deviation (2, lags) of a picture's cepstrum, which `rar_cli.train.reader` sets.
    """

    luma: Tensor
    usual: Tensor
    window: Tensor

    def __init__(self, channels: int, reach: int, width: int, cell_px: int) -> None:
        super().__init__()
        if not 0 < reach < BLOCK_PX // 2:
            raise ValueError(f"blur_reach must lie in 0..{BLOCK_PX // 2 - 1}, got {reach}")
        if BLOCK_PX // 2 % cell_px:
            raise ValueError(f"cell_px must divide {BLOCK_PX // 2}, got {cell_px}")
        self.reach, self.cell_px = reach, cell_px
        lags = (2 * reach + 1) * (reach + 1)
        self.describe = nn.Sequential(nn.Linear(lags, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.register_buffer("usual", torch.stack([torch.zeros(lags), torch.ones(lags)]))
        self.register_buffer("luma", torch.randn(cell_px**2, channels, 1, 1))
        hann = torch.hann_window(BLOCK_PX)
        self.register_buffer("window", hann[:, None] * hann / hann.square().mean(), persistent=False)

    @torch.no_grad()
    def see_with(self, codec: LinearCodec) -> None:
        """Take over how the codec makes luminance of a latent, but for a constant."""
        weights = torch.einsum("c k y x, k -> y x c", codec.synthesis.weight, codec.synthesis.weight.new_tensor(LUMA))
        self.luma.copy_(weights.flatten(0, 1)[..., None, None])

    def forward(self, latent: Tensor, tile: int | None = None) -> Tensor:
        """The description; a large latent is read in bands that hold no more cells than a tile of `tile` a side."""
        device = self.luma.device.type  # "meta" where sizes are counted, which has no autocast
        exact = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with exact:  # taps of the cepstrum span four decades
            description: Tensor = self.describe(self.measured(self.cepstrum(latent, tile)))
            return description

    def measured(self, cepstra: Tensor) -> Tensor:
        """Cepstra (b, lags) against what is usual."""
        mean, deviation = self.usual
        return (cepstra - mean) / deviation

    def cepstrum(self, latent: Tensor, tile: int | None = None) -> Tensor:
        """latent (b, c, h, w) -> cepstrum of the luminance, half a plane (b, (2 reach + 1) * (reach + 1)): the other
        half is the same."""
        block = BLOCK_PX // self.cell_px
        missing = [max(block - side, 0) for side in latent.shape[-2:]]
        if any(missing):
            latent = F.pad(latent, (0, missing[1], 0, missing[0]), mode="replicate")
        cells = latent.shape[-2] if tile is None else tile**2 // latent.shape[-1]
        band = max(cells // block, 1) * block
        power, count = torch.zeros((), device=self.luma.device), 0
        for top in range(0, latent.shape[-2] - block + 1, band):
            part = latent[..., top : top + band + block // 2, :]  # half a block more: blocks overlap from band to band
            sums, blocks = self._power(part.to(self.luma.device, torch.float32))
            power, count = power + sums, count + blocks
        cepstrum = torch.fft.irfft2((power / count + FLOOR).log(), (BLOCK_PX, BLOCK_PX))
        return half_plane(cepstrum, self.reach)

    def _power(self, latent: Tensor) -> tuple[Tensor, int]:
        """Sum of the power spectra (b, BLOCK_PX, BLOCK_PX // 2 + 1) of all blocks, and how many they are."""
        grey = F.pixel_shuffle(F.conv2d(latent, self.luma), self.cell_px).squeeze(1)
        step = BLOCK_PX // 2
        blocks = grey.unfold(1, BLOCK_PX, step).unfold(2, BLOCK_PX, step).flatten(1, 2)
        blocks = (blocks - blocks.mean((-2, -1), keepdim=True)) * self.window
        spectra = torch.view_as_real(torch.fft.rfft2(blocks)).square().sum(-1) / BLOCK_PX**2
        return spectra.sum(1), blocks.shape[1]


def half_plane(cepstrum: Tensor, reach: int) -> Tensor:
    """(b, n, n) with the origin at the corner -> (b, lags): rows -reach .. reach, columns 0 .. reach."""
    return torch.cat([cepstrum[:, -reach:], cepstrum[:, : reach + 1]], 1)[..., : reach + 1].flatten(1)
