"""Assessor: what is wrong with a latent, and how good it is (LQA in arXiv 2603.26385).

Image adapter (latent -> tokens of the IQA core), IQA core (a Llama fed through its embeddings, one
forward pass, nothing generated), heads (score, severities) and text adapter (IQA outputs ->
condition tokens for the restorer). No text exists anywhere in here.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from rar_cli.networks.adapters import AssessorParams, BlurTokens, ImageAdapter, TextAdapter
from rar_cli.networks.frames import FRAMED_CELLS, Frame, frames_of
from rar_cli.networks.gain import GainHeads
from rar_cli.networks.llama import Llama
from rar_cli.types import DEGRADATIONS, Assessment, Conditioned


class Assessing(nn.Module):
    """What assessors of any size share: looking is apart from conditioning, and training does both at once."""

    @abstractmethod
    def assess(self, latent: Tensor, tile: int | None = None) -> Assessment:
        """latent (b, c, h, w) -> its assessment; tile: cells per side from which the stem runs in exact tiles."""

    @abstractmethod
    def condition(
        self, assessment: Assessment, remove: Tensor | None = None, severities: Tensor | None = None
    ) -> Tensor:
        """An assessment of b pictures -> condition (b, n, d) for what is to be removed.

        remove: (b, degradations) or one row of it, 1 where a degradation is removed, 0 where it stays; None: all are.
        severities: (b, degradations) in [0, 1] to condition on instead of the assessed ones, NaN for those.
        """

    def add_lora(self) -> None:  # noqa: B027 - most assessors have none
        """Add what learns beside weights that stay as they were published: nothing, all of them learn."""

    def forward(
        self,
        latent: Tensor,
        *,
        remove_mask: Tensor | None = None,
        severities: Tensor | None = None,
        tile: int | None = None,
    ) -> Conditioned:
        """`assess` and `condition` in one; the severities returned are always the assessed ones."""
        seen = self.assess(latent, tile)
        return Conditioned(seen.score, seen.severities, self.condition(seen, remove_mask, severities))


def present_and_removed(by_view: Tensor, remove: Tensor | None, severities: Tensor | None) -> tuple[Tensor, Tensor]:
    """by_view (b, f, degradations) -> severities to condition on (b f, degradations), and of these what is removed."""
    views = by_view.shape[1]
    flat = rearrange(by_view, "b f n -> (b f) n")
    remove, severities = (
        x if x is None or x.dim() == 1 else repeat(x, "b n -> (b f) n", f=views) for x in (remove, severities)
    )
    present = flat if severities is None else torch.where(severities.isnan(), flat, severities)
    return present, present if remove is None else present * remove


class Assessor(Assessing):
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
        features = params.gain_features
        self.gain = GainHeads(features, params.gain_width, params.gain_members) if params.gain_width else None

    def assess(self, latent: Tensor, tile: int | None = None) -> Assessment:
        """latent (b, c, h, w) -> its assessment; tile: cells per side from which the stem runs in exact tiles."""
        frames = self._frames(latent)
        views = max(len(frames), 1)
        tokens, statistics = self.image_adapter(latent, tile, frames)
        blur = None if self.blur is None else self.blur(latent, tile)
        if blur is not None:
            to_core = repeat(blur[0], "b n w -> (f b) n w", f=views)
            tokens = torch.cat([tokens[:, :1] + to_core, tokens[:, 1:]], 1)
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        hidden = self.core(torch.cat([tokens, queries], dim=1))  # (f b, 1 + grid**2 + 10, d)
        answers = hidden[:, -queries.shape[1] :]
        direct = self.shortcut(statistics).float()
        score = 100.0 * torch.sigmoid(self.score_head(answers[:, 0]).squeeze(-1).float() + direct[:, 0])
        logits = (answers[:, 1:] * self.severity_head).sum(-1).float() + self.severity_bias + direct[:, 1:]
        severities = torch.sigmoid(logits)
        features = features_of(hidden, statistics, views)
        state = None if self.gain is None else self.gain.state(features)
        extra = None if blur is None else rearrange(blur[1], "b (n d) -> b n d", n=self.params.blur_tokens)
        return Assessment(
            score=self._score(score, state, views),
            severities=rearrange(severities, "(f b) n -> f b n", f=views).mean(0) if frames else severities,
            hidden=rearrange(hidden, "(f b) m d -> b f m d", f=views),
            by_view=rearrange(severities, "(f b) n -> b f n", f=views),
            extra=extra,
            features=features,
            state=state,
        )

    def condition(
        self, assessment: Assessment, remove: Tensor | None = None, severities: Tensor | None = None
    ) -> Tensor:
        """An assessment of b pictures -> condition (b, n, d); see `Assessing.condition`."""
        assert assessment.hidden is not None
        assert assessment.by_view is not None
        hidden = rearrange(assessment.hidden, "b f m d -> (b f) m d")
        present, removed = present_and_removed(assessment.by_view, remove, severities)
        condition = self.text_adapter(hidden, hidden[:, -len(DEGRADATIONS) :], present, removed)
        if (views := assessment.hidden.shape[1]) > 1:
            condition = reduce(condition, "(b f) n d -> b n d", "mean", f=views)
        if assessment.extra is not None:
            condition = torch.cat([condition, assessment.extra.to(condition.dtype)], 1)
        return condition

    def _score(self, by_view: Tensor, state: Tensor | None, views: int) -> Tensor:
        """Of the heads of gain where there are any, but in training; else the mean of what each view says."""
        if self.gain is not None and state is not None and not self.training:
            return self.gain.score(state)
        return rearrange(by_view, "(f b) -> f b", f=views).mean(0) if views > 1 else by_view

    def _frames(self, latent: Tensor) -> tuple[Frame, ...]:
        """What to look at of latent (b, c, h, w); a crop in training is one look already."""
        if self.training or min(latent.shape[-2:]) < FRAMED_CELLS:
            return ()
        return frames_of(self.params.grid, self.params.frames)

    def let_learn(self, on: bool) -> None:
        """Let the assessor learn, or nothing of it; its blur reader and its heads of gain are fitted apart."""
        self.requires_grad_(on)
        if self.gain is not None:
            self.gain.requires_grad_(False)
        if self.blur is not None:
            self.blur.reader.requires_grad_(False)


def features_of(hidden: Tensor, statistics: Tensor, views: int) -> Tensor:
    """hidden (f b, m, d) with its queries last, statistics (f b, s) -> what the heads of gain read, (b, k).

    The first token, the mean of the image tokens, and the statistics; means over the f views.
    """
    queries = 1 + len(DEGRADATIONS)
    parts = [hidden[:, 0], hidden[:, 1:-queries].mean(1), statistics]
    return reduce(torch.cat([part.float() for part in parts], 1), "(f b) k -> b k", "mean", f=views)
