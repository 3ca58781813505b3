"""Adapters of the assessor: latent -> tokens of the IQA core, and IQA outputs -> condition tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rar_cli.compute.tiling import by_tiles
from rar_cli.networks.blur import BlurReader
from rar_cli.networks.codec import zero_
from rar_cli.networks.frames import FINENESS, Frame, framed
from rar_cli.types import DEGRADATIONS


@dataclass(frozen=True)
class AssessorParams:
    """channels: of the latent; stem: widths of the image adapter, halved in size from one to the next;
    grid: image tokens per side; width, layers, heads: of the IQA core; condition_width, free_tokens:
    shape of the condition beyond one token per degradation; stem_blocks: residual blocks after each
    width of the stem, none where empty. blur_reach, blur_width: lags of the cepstrum that blur is read from
    and width of its description, which makes blur_tokens more tokens of the condition, its last; a reach of
    0 goes without. cell_px: the codec's factor, which only this reading asks for. frames: outside training, the
    assessment of a large picture is the mean of those of the whole and of frames**2 parts of it; 0 goes without.
    gain_width, gain_members: of the heads of gain; a width of 0 goes without."""

    channels: int = 48
    stem: tuple[int, ...] = (64, 96, 160)
    grid: int = 8
    width: int = 160
    layers: int = 3
    heads: int = 5
    condition_width: int = 128
    free_tokens: int = 8
    stem_blocks: tuple[int, ...] = ()
    blur_reach: int = 0
    blur_width: int = 208
    blur_tokens: int = 1
    cell_px: int = 4
    frames: int = 0
    gain_width: int = 0
    gain_members: int = 1

    def __post_init__(self) -> None:
        if self.stem_blocks and len(self.stem_blocks) != len(self.stem):
            raise ValueError(f"stem has {len(self.stem)} widths, stem_blocks {len(self.stem_blocks)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")

    @property
    def statistics(self) -> int:
        """Numbers that describe the whole latent: four per channel and one per feature of the stem."""
        return 4 * self.channels + self.stem[-1]

    @property
    def gain_features(self) -> int:
        """Numbers of one assessment that the heads of gain read."""
        return 2 * self.width + self.statistics

    @property
    def condition_tokens(self) -> int:
        """Tokens of the condition: one per degradation, the free ones and those of the blur."""
        return len(DEGRADATIONS) + self.free_tokens + self.made_of_blur

    @property
    def made_of_blur(self) -> int:
        """Tokens of the condition that know of the blur, its last."""
        return self.blur_tokens if self.blur_reach else 0

    @property
    def needed_factor(self) -> int | None:
        """The factor that a codec must have, None for any."""
        return self.cell_px if self.blur_reach else None


class StemBlock(nn.Module):
    """Residual block of the image adapter; starts as nothing, so that it can be added to trained weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = zero_(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """x (b, width, h, w) -> the same shape."""
        return x + self.second(F.silu(self.first(x)))


class ImageAdapter(nn.Module):
    """latent (b, c, h, w) -> tokens (b, 1 + grid**2, d) and statistics (b, s) of the whole picture.

    A token per grid cell holds the means of local features and the log energy of each channel; the
    first token holds the statistics. All are plain means, so a large picture may be fed in pieces.
    """

    def __init__(self, params: AssessorParams) -> None:
        super().__init__()
        self.grid = params.grid
        layers: list[nn.Module] = []
        self.shrink, self.halo, before = 1, 0, params.channels
        for width, blocks in zip(params.stem, params.stem_blocks or len(params.stem) * (0,), strict=True):
            self.halo += self.shrink
            self.shrink *= 2 if layers else 1
            self.halo += 2 * blocks * self.shrink
            layers += [nn.Conv2d(before, width, 3, stride=2 if layers else 1, padding=1), nn.SiLU()]
            layers += [StemBlock(width) for _ in range(blocks)]
            before = width
        self.halo = -(-self.halo // self.shrink) * self.shrink  # cells beyond a tile that its features depend on
        self.stem = nn.Sequential(*layers)
        self.cells = nn.Linear(params.stem[-1] + params.channels, params.width)
        self.position = nn.Parameter(0.02 * torch.randn(params.grid**2, params.width))
        self.statistics = nn.Linear(params.statistics, params.width)

    def forward(self, latent: Tensor, tile: int | None = None, frames: tuple[Frame, ...] = ()) -> tuple[Tensor, Tensor]:
        """latent (b, c, h, w) -> (tokens, statistics); the stem runs in tiles of `tile` cells.

        frames: parts of the picture, each looked at as if it were the whole: n of them make n * b of each, all of the
        first frame first. Features are computed once, whatever their number.
        """
        device = self.position.device

        def stem(part: Tensor) -> Tensor:
            return self.stem(part.to(device, torch.float32))

        features = stem(latent) if tile is None else by_tiles(stem, latent, tile, self.halo, (1, self.shrink))
        grid = self.grid * (FINENESS if frames else 1)
        pooled = F.adaptive_avg_pool2d(features.float(), grid)
        mean, energy = (x.to(device) for x in _moments(latent, grid if frames else 1, grid))
        if frames:
            pooled, mean, energy = (
                torch.cat([framed(x, frame, self.grid) for frame in frames]) for x in (pooled, mean, energy)
            )
        mean, energy = mean.mean((2, 3)), energy.add(1e-4).log()
        cells = self.cells(rearrange(torch.cat([pooled, energy], 1), "b c y x -> b (y x) c")) + self.position
        # The quietest cells tell noise from texture, as noise estimators do.
        summary = torch.cat(
            [mean, energy.mean((2, 3)), energy.amin((2, 3)), energy.amax((2, 3)), pooled.mean((2, 3))], 1
        )
        return torch.cat([self.statistics(summary).unsqueeze(1), cells], dim=1), summary


def _moments(latent: Tensor, coarse: int, grid: int) -> tuple[Tensor, Tensor]:
    """latent (b, c, h, w) -> its means (b, c, coarse, coarse) and its energies (b, c, grid, grid).

    A few channels at a time, so that a large latent in half precision is never copied whole.
    """
    means, energies = [], []
    for part in torch.split(latent, 8, dim=1):
        real = part.float()
        means.append(F.adaptive_avg_pool2d(real, coarse))
        energies.append(F.adaptive_avg_pool2d(real.square(), grid))
    return torch.cat(means, 1), torch.cat(energies, 1)


class TextAdapter(nn.Module):
    """IQA outputs -> condition (b, degradations + free, d): one token per degradation, then free tokens.

    A degradation's token holds its assessed severity and the severity to remove. The two differ when a plan keeps
    something (steering) or, in training, when truth is forced.
    """

    def __init__(self, params: AssessorParams) -> None:
        super().__init__()
        width, d = params.width, params.condition_width
        self.found = nn.Linear(width, d)
        self.asked = nn.Sequential(nn.Linear(2, d), nn.SiLU(), nn.Linear(d, d))
        self.name = nn.Parameter(0.02 * torch.randn(len(DEGRADATIONS), d))
        self.queries = nn.Parameter(0.02 * torch.randn(params.free_tokens, d))
        self.key = nn.Linear(width, d)
        self.value = nn.Linear(width, d)
        self.mix = nn.Sequential(nn.Linear(d, 2 * d), nn.SiLU(), nn.Linear(2 * d, d))

    def forward(self, hidden: Tensor, queries: Tensor, present: Tensor, remove: Tensor) -> Tensor:
        """hidden (b, m, w), queries (b, degradations, w), severities (b, degradations) twice -> (b, n, d)."""
        asked = self.asked(torch.stack([present, remove], dim=-1))
        named = self.found(queries) * 0.1 + asked + self.name
        free = self.queries.expand(hidden.shape[0], -1, -1)
        free = free + F.scaled_dot_product_attention(free, self.key(hidden), self.value(hidden))
        return torch.cat([named, free + self.mix(free)], dim=1)


class BlurTokens(nn.Module):
    """latent -> what its power spectrum says of blur: added to the core's first token, and tokens of the condition.

    Starts as nothing to the core, so that it can be added to trained weights.
    """

    def __init__(self, params: AssessorParams) -> None:
        super().__init__()
        self.reader = BlurReader(params.channels, params.blur_reach, params.blur_width, params.cell_px)
        self.to_core = zero_(nn.Linear(params.blur_width, params.width))
        self.to_condition = nn.Linear(params.blur_width, params.blur_tokens * params.condition_width)

    def forward(self, latent: Tensor, tile: int | None) -> tuple[Tensor, Tensor]:
        """latent (b, c, h, w) -> (b, 1, width), (b, blur_tokens * d)."""
        description = self.reader(latent, tile)
        return self.to_core(description).unsqueeze(1), self.to_condition(description)
