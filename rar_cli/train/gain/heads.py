"""Trains the heads of gain on a harvest, in minutes on two cores. Whole photographs are held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from rar_cli.errors import UsageError
from rar_cli.networks.gain import QUANTILES, GainHeads, GainMember
from rar_cli.train.data import OnEach, unseen
from rar_cli.train.gain.truth import quality_to_score

EPOCHS, BATCH, RATE, DECAY = 12, 128, 1.5e-3, 0.05
ONWARD_RATE = 1e-3
"""Of heads that know an earlier harvest already."""
ONWARD_SHARE = 0.85
"""What they became, in their mean with what they were; the rest keeps what only the earlier harvest taught."""
JITTER = 0.05
"""Standard deviation of noise on normed features: a harvest is small."""
LARGEST_DB = 25.0
"""Gains beyond are as good, or as bad."""
HUBER_DB, QUANTILE_WEIGHT, REVERSED_WEIGHT = 2.0, 0.7, 0.3
"""Where the loss of the mean turns linear; weights of the quantiles, and of each pair of states turned around."""


@dataclass(frozen=True)
class Harvest:
    """Columns of all shards: states, and moves between them by their numbers; kinds and sources by picture."""

    columns: dict[str, Tensor]
    kinds: tuple[str, ...]
    sources: tuple[str, ...]

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]

    @property
    def states(self) -> int:
        """How many."""
        return len(self["picture"])


STATE_NUMBERS, PICTURE_NUMBERS = ("before", "after"), ("picture",)


def read_harvest(folders: Sequence[Path]) -> Harvest:
    """All shards below some folders as one. Raises UsageError where there is none."""
    paths = sorted(path for folder in folders for path in folder.glob("shard-*.safetensors"))
    if not paths:
        raise UsageError(f"{', '.join(map(str, folders))}: no shards of a harvest; run `rar train --gain` with --data")
    parts: dict[str, list[Tensor]] = {}
    kinds: list[str] = []
    sources: list[str] = []
    states = 0
    for path in paths:
        with safe_open(path, "pt") as file:
            about = file.metadata()
        columns = load_file(path)
        for name, column in columns.items():
            shift = states if name in STATE_NUMBERS else len(kinds) if name in PICTURE_NUMBERS else 0
            parts.setdefault(name, []).append(torch.where(column >= 0, column + shift, column) if shift else column)
        states += len(columns["picture"])
        kinds += json.loads(about["kinds"])
        sources += json.loads(about["sources"])
    return Harvest({name: torch.cat(each) for name, each in parts.items()}, tuple(kinds), tuple(sources))


def fit_heads(
    heads: GainHeads,
    harvest: Harvest,
    learned: Tensor,
    epochs: int = EPOCHS,
    onward: bool = False,
    on_each: OnEach = unseen,
) -> None:
    """Learn from the moves that begin in `learned` states (a mask over states), every member from its own seed.

    onward: from what the heads know already; else anew. on_each: called after every epoch.
    """
    features = harvest["features"].float()
    if not onward:
        heads.mean.copy_(features[learned].mean(0))
        heads.spread.copy_(features[learned].std(0) + 1e-3)
    plan = Schedule(epochs, ONWARD_RATE if onward else RATE, onward, on_each)
    normed = ((features - heads.mean) / heads.spread).clamp(-6.0, 6.0)
    moves = learned[harvest["before"]].nonzero()[:, 0]
    known = [parameter.detach().clone() for parameter in heads.parameters()]
    for seed, member in enumerate(heads.members):
        assert isinstance(member, GainMember)
        _fit_member(member, harvest, normed, moves, seed, plan)
    heads.eval().requires_grad_(False)
    for parameter, was in zip(heads.parameters(), known, strict=True) if onward else ():
        parameter.lerp_(was, 1.0 - ONWARD_SHARE)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast heads learn; onward: from what they know already."""

    epochs: int
    rate: float
    onward: bool
    on_each: OnEach


def _fit_member(member: GainMember, harvest: Harvest, normed: Tensor, moves: Tensor, seed: int, plan: Schedule) -> None:
    torch.manual_seed(seed)
    for module in () if plan.onward else member.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    member.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(member.parameters(), plan.rate, weight_decay=DECAY)
    steps = plan.epochs * -(-len(moves) // BATCH)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=steps, pct_start=0.1)
    for epoch in range(plan.epochs):
        for batch in torch.split(moves[torch.randperm(len(moves))], BATCH):
            optimizer.zero_grad()
            _loss(member, harvest, normed, batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(member.parameters(), 5.0)
            optimizer.step()
            rates.step()
        plan.on_each(epoch + 1, plan.epochs, "learning what plans gain, in epochs")


def _loss(member: GainMember, harvest: Harvest, normed: Tensor, moves: Tensor) -> Tensor:
    """Of some moves: what is expected of each plan, what each pair of states shows, and the score of each state."""

    def state(numbers: Tensor) -> Tensor:
        x = normed[numbers]
        described: Tensor = member.describe(x + JITTER * torch.randn_like(x))
        return described

    before, after = harvest["before"][moves], harvest["after"][moves]
    gain = harvest["gain_db"][moves].clamp(-LARGEST_DB, LARGEST_DB)
    begun = state(before)
    severities, remove, strength = harvest["severities"][before], harvest["remove"][moves], harvest["strength"][moves]
    loss = gain_loss(member.expected(begun, severities, remove, strength), gain)
    loss = loss + score_loss(member.score(begun), harvest["quality_db"][before])
    if (known := after >= 0).any():
        ended, from_there = state(after[known]), begun[known]
        loss = loss + gain_loss(member.found(from_there, ended), gain[known])
        loss = loss + REVERSED_WEIGHT * gain_loss(member.found(ended, from_there), -gain[known])
        loss = loss + score_loss(member.score(ended), harvest["quality_db"][after[known]])
    return loss


def gain_loss(said: Tensor, gain_db: Tensor) -> Tensor:
    """said (b, 1 + quantiles) in dB, gain (b,) -> Huber loss of the mean and pinball loss of the quantiles."""
    mean, quantiles = said[:, 0], said[:, 1:]
    levels = torch.tensor(QUANTILES, device=said.device)
    error = gain_db[:, None] - quantiles
    pinball = torch.maximum(levels * error, (levels - 1.0) * error).mean()
    return F.huber_loss(mean, gain_db, delta=HUBER_DB) + QUANTILE_WEIGHT * pinball


def score_loss(said: Tensor, quality_db: Tensor) -> Tensor:
    """said (b,), a score in [0, 100]; quality (b,) in dB."""
    return 4.0 * F.smooth_l1_loss(said / 100.0, quality_to_score(quality_db) / 100.0, beta=0.05)


def held_out(harvest: Harvest, share: float = 0.2, seed: int = 0) -> Tensor:
    """A mask over states: those of a share of the photographs, chosen by their names."""
    names = sorted(set(harvest.sources))
    generator = torch.Generator().manual_seed(seed)
    chosen = {
        names[i] for i in torch.randperm(len(names), generator=generator)[: max(round(share * len(names)), 1)].tolist()
    }
    by_picture = torch.tensor([source in chosen for source in harvest.sources])
    return by_picture[harvest["picture"]]
