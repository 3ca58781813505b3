"""Assessor: what is wrong with a latent, and how good it is (LQA in arXiv 2603.26385).

Image adapter (latent -> tokens of the IQA core), IQA core (a Llama fed through its embeddings, one
forward pass, nothing generated), heads (score, severities) and text adapter (IQA outputs ->
condition tokens for the restorer). No text exists anywhere in here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from rar_cli.compute.tiling import by_tiles
from rar_cli.networks.blur import BlurReader
from rar_cli.networks.codec import zero_
from rar_cli.networks.frames import FINENESS, FRAMED_CELLS, Frame, framed, frames_of
from rar_cli.networks.llama import Llama
from rar_cli.types import DEGRADATIONS, Assessment


@dataclass(frozen=True)
class AssessorParams:
    """channels: of the latent; stem: widths of the image adapter, halved in size from one to the next;
    grid: image tokens per side; width, layers, heads: of the IQA core; condition_width, free_tokens:
    shape of the condition beyond one token per degradation; stem_blocks: residual blocks after each
    width of the stem, none where empty. blur_reach, blur_width: lags of the cepstrum that blur is read from
    and width of its description, which makes blur_tokens more tokens of the condition, its last; a reach of
    0 goes without. cell_px: the codec's factor, which only this reading asks for. frames: outside training, the
    assessment of a large picture is the mean of those of the whole and of frames**2 parts of it; 0 goes without."""

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
    def condition_tokens(self) -> int:
        """Tokens of the condition: one per degradation, the free ones and those of the blur."""
        return len(DEGRADATIONS) + self.free_tokens + (self.blur_tokens if self.blur_reach else 0)


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


def present_and_removed(found: Tensor, severities: Tensor | None, remove_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Severities (b, degradations) to condition on, forced ones where given and not NaN, and those to be removed."""
    present = found if severities is None else torch.where(severities.isnan(), found, severities)
    return present, present if remove_mask is None else present * remove_mask


class TextAdapter(nn.Module):
    """IQA outputs -> condition (b, degradations + free, d): one token per degradation, then free tokens.

    A degradation's token knows the severity found and the severity to remove; the two differ
    when the user asks to keep something (steering) or, in training, when truth is forced.
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


class Assessor(nn.Module):
    """latent -> Assessment; one forward pass, gradients flow from every output to the latent."""

    def __init__(self, params: AssessorParams) -> None:
        super().__init__()
        self.params = params
        self.image_adapter = ImageAdapter(params)
        self.core = Llama(params.width, params.layers, params.heads)
        self.queries = nn.Parameter(0.02 * torch.randn(1 + len(DEGRADATIONS), params.width))
        self.shortcut = nn.Sequential(  # statistics say most of it; the core says the rest
            nn.LayerNorm(params.statistics),
            nn.Linear(params.statistics, 2 * params.width),
            nn.SiLU(),
            nn.Linear(2 * params.width, 2 * params.width),
            nn.SiLU(),
            nn.Linear(2 * params.width, 1 + len(DEGRADATIONS)),
        )
        self.score_head = nn.Linear(params.width, 1)
        self.severity_head = nn.Parameter(0.02 * torch.randn(len(DEGRADATIONS), params.width))
        self.severity_bias = nn.Parameter(torch.full((len(DEGRADATIONS),), -1.5))
        self.text_adapter = TextAdapter(params)
        self.blur = BlurTokens(params) if params.blur_reach else None

    def forward(
        self,
        latent: Tensor,
        *,
        remove_mask: Tensor | None = None,
        severities: Tensor | None = None,
        tile: int | None = None,
    ) -> Assessment:
        """Assess latent (b, c, h, w).

        remove_mask: (b, degradations) or (degradations,), 1 where a degradation is to be removed, 0 where it stays.
        severities: (b, degradations) in [0, 1] to condition on instead of those found (teacher forcing), NaN
        where those found are to be used; the returned severities are always those found.
        tile: cells per side from which the stem of the image adapter runs in exact tiles.
        """
        frames = self._frames(latent)
        count = max(len(frames), 1)
        tokens, statistics = self.image_adapter(latent, tile, frames)
        told = None if self.blur is None else self.blur(latent, tile)
        if told is not None:
            to_core = repeat(told[0], "b n w -> (f b) n w", f=count)
            tokens = torch.cat([tokens[:, :1] + to_core, tokens[:, 1:]], 1)
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        hidden = self.core(torch.cat([tokens, queries], dim=1))  # (f b, 1 + grid**2 + 1 + degradations, d)
        asked = hidden[:, -queries.shape[1] :]
        direct = self.shortcut(statistics).float()
        score = 100.0 * torch.sigmoid(self.score_head(asked[:, 0]).squeeze(-1).float() + direct[:, 0])
        logits = (asked[:, 1:] * self.severity_head).sum(-1).float() + self.severity_bias + direct[:, 1:]
        found = torch.sigmoid(logits)
        severities, remove_mask = (
            x if x is None or x.dim() == 1 else repeat(x, "b n -> (f b) n", f=count) for x in (severities, remove_mask)
        )
        present, remove = present_and_removed(found, severities, remove_mask)
        condition = self.text_adapter(hidden, asked[:, 1:], present, remove)
        if frames:
            score, found, condition = (
                rearrange(x, "(f b) ... -> f b ...", f=count).mean(0) for x in (score, found, condition)
            )
        if told is not None:
            blur = rearrange(told[1], "b (n d) -> b n d", d=condition.shape[-1])
            condition = torch.cat([condition, blur.to(condition.dtype)], 1)
        return Assessment(score=score, severities=found, condition=condition)

    def _frames(self, latent: Tensor) -> tuple[Frame, ...]:
        """What to look at of latent (b, c, h, w); a crop in training is one look already."""
        if self.training or min(latent.shape[-2:]) < FRAMED_CELLS:
            return ()
        return frames_of(self.params.grid, self.params.frames)

    def let_learn(self, on: bool) -> None:
        """Let the assessor learn, or nothing of it; its blur reader, which was fitted before, stays."""
        self.requires_grad_(on)
        if self.blur is not None:
            self.blur.reader.requires_grad_(False)
