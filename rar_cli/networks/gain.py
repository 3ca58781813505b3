"""Heads of gain: what a plan would gain in dB, what a round has gained, and the score.

They read the first token of the IQA core, the mean of its image tokens and the statistics of the latent. They are
trained on the loop's own work (rar_cli/train/gain/). Their outputs are a mean and quantiles, because a mean alone does
not say how sure it is. Judging a round is the comparison of arXiv 2603.26385.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rar_cli.types import DEGRADATIONS, Gain, Look, Plan

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SCALE_DB = 8.0
"""What an output of 1 means."""
PLAN_WIDTH = 64
SURE = 0.002
"""Severities are read no closer to 0 and 1 than this."""


class GainHeads(nn.Module):
    """features (b, s) -> state (b, width); state and plan -> expected gain; two states -> gain.

    members: heads trained alike from other starts; their outputs are averaged.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, width: int, members: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.width = width
        self.members = nn.ModuleList(GainMember(features, width) for _ in range(members))

    def state(self, features: Tensor) -> Tensor:
        """features (b, s) -> (b, members * width), all that the heads need of one assessment."""
        normed = ((features.float() - self.mean) / self.spread).clamp(-6.0, 6.0)
        return torch.cat([member.describe(normed) for member in self.members], 1)  # type: ignore[operator]

    def expected(self, state: Tensor, severities: Tensor, remove: Tensor, strength: Tensor) -> Tensor:
        """state (b, members * width), severities (b, n), remove (b, n) of 1 and 0, strength (b,) -> (b, 1 + quantiles)
        in dB: the mean, then the quantiles."""
        parts = rearrange(state, "b (m w) -> m b w", w=self.width)
        gains = [m.expected(s, severities, remove, strength) for m, s in zip(self.members, parts, strict=True)]  # type: ignore[operator]
        return torch.stack(gains).mean(0)

    def score(self, state: Tensor) -> Tensor:
        """state (b, members * width) -> score (b,) in [0, 100]: quality whatever the exposure and the colours."""
        parts = rearrange(state, "b (m w) -> m b w", w=self.width)
        return torch.stack([m.score(s) for m, s in zip(self.members, parts, strict=True)]).mean(0)  # type: ignore[operator]

    def found(self, before: Tensor, after: Tensor) -> Tensor:
        """Two states (b, members * width) -> gain of the second over the first, (b, 1 + quantiles) in dB."""
        pairs = zip(*(rearrange(x, "b (m w) -> m b w", w=self.width) for x in (before, after)), strict=True)
        return torch.stack([m.found(*pair) for m, pair in zip(self.members, pairs, strict=True)]).mean(0)  # type: ignore[operator]


class GainMember(nn.Module):
    """One pair of heads over one description of a picture."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        outputs = 1 + len(QUANTILES)
        self.describe = nn.Sequential(nn.Dropout(0.15), nn.Linear(features, width))
        self.plan = nn.Sequential(
            nn.Linear(3 * len(DEGRADATIONS) + 1, PLAN_WIDTH), nn.SiLU(), nn.Linear(PLAN_WIDTH, 2 * width)
        )
        self.enter = nn.Linear(width, width)
        self.gain = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(width, width), nn.SiLU(), nn.Dropout(0.2), nn.Linear(width, outputs)
        )
        self.pair = nn.Sequential(
            nn.Linear(3 * width, width), nn.SiLU(), nn.Dropout(0.2),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs),
        )  # fmt: skip
        self.quality = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def expected(self, state: Tensor, severities: Tensor, remove: Tensor, strength: Tensor) -> Tensor:
        """As `GainHeads.expected`, for this member's state (b, width)."""
        level = torch.logit(severities.clamp(SURE, 1.0 - SURE)) / 4.0
        plan = torch.cat([remove, remove * level, (1.0 - remove) * level, strength[:, None]], 1)
        scale, shift = self.plan(plan).chunk(2, 1)
        gains: Tensor = SCALE_DB * self.gain(F.silu(self.enter(F.silu(state)) * (1.0 + scale) + shift))
        return gains

    def score(self, state: Tensor) -> Tensor:
        """state (b, width) -> score (b,) in [0, 100]."""
        return 100.0 * torch.sigmoid(self.quality(F.silu(state)).squeeze(-1))

    def found(self, before: Tensor, after: Tensor) -> Tensor:
        """As `GainHeads.found`, for this member's states (b, width)."""
        gains: Tensor = SCALE_DB * self.pair(torch.cat([F.silu(before), F.silu(after), after - before], 1))
        return gains


class Forecast:
    """Heads of gain as the policy uses them: looks and plans -> gains."""

    def __init__(self, heads: GainHeads) -> None:
        self.heads = heads

    @torch.inference_mode()
    def expected(self, look: Look, plans: Sequence[Plan]) -> list[Gain]:
        """What each plan would gain over the picture as it was seen."""
        count = len(plans)
        state, severities = (self._row(values).expand(count, -1) for values in (look.state, look.severities))
        remove = torch.tensor([[float(d in plan.remove) for d in DEGRADATIONS] for plan in plans])
        strength = torch.tensor([plan.strength for plan in plans])
        return self._gains(self.heads.expected(state, severities, *(x.to(state) for x in (remove, strength))))

    @torch.inference_mode()
    def found(self, before: Look, after: Look) -> Gain:
        """What the later look has gained over the earlier one."""
        (gain,) = self._gains(self.heads.found(self._row(before.state), self._row(after.state)))
        return gain

    def _row(self, values: Sequence[float]) -> Tensor:
        return torch.tensor([values], device=self.heads.mean.device)

    @staticmethod
    def _gains(table: Tensor) -> list[Gain]:
        return [Gain(row[0], row[1]) for row in table.float().cpu().tolist()]
