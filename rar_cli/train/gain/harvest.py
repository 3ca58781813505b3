"""Harvest: several plans for each of many pictures, carried out by the engine and measured against the truth.

Every assessment is a state, every transport a move from one state to another. Both are written in shards as they fill,
so that a harvest can be interrupted and resumed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import restoring
from rar_cli.errors import UsageError
from rar_cli.loop.policy import candidates
from rar_cli.loop.rounds import Restoring, looks_of
from rar_cli.networks.model import Rar
from rar_cli.train.gain.pictures import Photo, Tried
from rar_cli.train.gain.truth import psnr_db, quality_db
from rar_cli.types import ALL, DEGRADATIONS, Assessment, Plan

PLANS = 3
"""Plans tried on each input: everything, and others drawn from the candidates."""
FURTHER_ODDS = (1.0, 0.5, 0.15)
"""Probabilities of a second round, of another one after a different plan, and of a third."""
EVERYTHING_ODDS = 0.45
"""Probability that a further round removes everything."""
STRENGTHS = (0.25, 0.5, 0.75)
"""Each plan of the first round is also tried at one of these, which costs only decoding."""
SHARD = 240
"""Pictures in a shard."""

Batches = Callable[[int], Iterator[list[Tried]]]
"""The number of the first picture -> batches of pictures of one size, the same every time."""


@dataclass
class Shard:
    """States and moves of some pictures."""

    states: dict[str, list[Tensor]] = field(default_factory=dict)
    moves: dict[str, list[Tensor]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """States so far."""
        return sum(map(len, self.states.get("picture", ())))

    def add(self, where: dict[str, list[Tensor]], **columns: Tensor) -> None:
        """Append columns of one length."""
        for name, column in columns.items():
            where.setdefault(name, []).append(column.detach().cpu())

    def save(self, path: Path, following: int, origin: str) -> None:
        """Write it whole or not at all; following: the number of the harvest's next picture."""
        columns = {name: torch.cat(parts) for name, parts in {**self.states, **self.moves}.items()}
        about = {"kinds": json.dumps(self.kinds), "sources": json.dumps(self.sources)}
        about |= {"following": str(following), "origin": origin}
        save_file(columns, path.with_suffix(".part"), metadata=about)
        os.replace(path.with_suffix(".part"), path)


@dataclass(frozen=True)
class State:
    """Some pictures as they were assessed. numbers: (b,) of these states in the shard."""

    latent: Tensor
    assessment: Assessment
    numbers: Tensor
    psnr_db: Tensor


def harvest(
    engine: Engine, batches: Batches, out: Path, over: Callable[[], bool], say: Callable[[str], None], origin: str = ""
) -> int:
    """Fill `out` with shards until `over()`; returns the number of pictures. Shards that are there are kept.

    origin: hash of weights and photographs. Raises UsageError where `out` holds a harvest of another origin.
    """
    out.mkdir(parents=True, exist_ok=True)
    there = sorted(out.glob("shard-*.safetensors"))
    number, done, shard = len(there), following(there[-1], origin) if there else 0, Shard()
    for batch in batches(done):
        if over():
            break
        with torch.inference_mode():
            _Trial(engine, batch, shard, np.random.default_rng(done)).run()
        done += len(batch)
        if len(shard.kinds) >= SHARD:
            shard.save(out / f"shard-{number:05d}.safetensors", done, origin)
            say(f"harvest: {done} pictures")
            number, shard = number + 1, Shard()
    if shard.kinds:
        shard.save(out / f"shard-{number:05d}.safetensors", done, origin)
    return done


def following(path: Path, origin: str) -> int:
    """The number of the picture that comes after a shard. Raises UsageError where that is of another origin."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
    if about.get("origin", "") != origin:
        raise UsageError(f"{path.parent}: a harvest of other weights or photographs; delete it or choose another --out")
    return int(about["following"])


def origin_of(model: Rar, photos: Sequence[Photo]) -> str:
    """SHA-256 of what a harvest is made of: photographs, and weights but for the heads of gain, which learn from it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if ".gain." not in name:
            digest.update(name.encode() + tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    for photo in photos:
        digest.update(str(photo.shape).encode() + photo[::16, ::16].tobytes())
    return digest.hexdigest()


class _Trial:
    """One batch of pictures through its plans."""

    def __init__(self, engine: Engine, batch: Sequence[Tried], shard: Shard, rng: Generator) -> None:
        self.engine, self.shard, self.rng = engine, shard, rng
        self.model: Restoring = restoring(engine, engine.policy)
        self.image, self.clean = (
            torch.from_numpy(np.stack([getattr(t, side) for t in batch])).permute(0, 3, 1, 2).float()
            for side in ("degraded", "reference")
        )
        self.pictures = torch.arange(len(batch)) + len(shard.kinds)
        shard.kinds += [tried.kind for tried in batch]
        shard.sources += [tried.source for tried in batch]

    def run(self) -> None:
        """Several plans for the inputs, then further rounds after some of them."""
        begin = self._state(self.engine.encode(self.image), self.image, 0)
        tried = [self._drawn(begin, everything=0.0) for _ in range(PLANS - 1)]
        plans = [[Plan()] * len(self.pictures), *tried]
        ends = [self._move(begin, each, None, 1, fractions=True) for each in plans]
        for odds in FURTHER_ODDS[:2]:
            if self.rng.random() < odds:
                at = int(self.rng.integers(len(ends)))
                self._further(begin, ends[at], plans[at])

    def _further(self, begin: State, state: State, plans: Sequence[Plan]) -> None:
        """A second round, sometimes a third. Memory goes on after a plan that removed everything."""
        origin = _origin(plans, state.latent, begin.latent)
        second = self._drawn(state, EVERYTHING_ODDS)
        after = self._move(state, second, origin, 2)
        if self.rng.random() < FURTHER_ODDS[2]:
            self._move(after, self._drawn(after, EVERYTHING_ODDS), _origin(second, after.latent, origin), 3)

    def _drawn(self, state: State, everything: float) -> list[Plan]:
        """A plan for each picture at random: everything with that probability, else one of its candidates."""
        drawn = []
        for look in looks_of(state.assessment):
            others = [plan for plan in candidates(look, ALL, (1.0,)) if plan.remove != ALL]
            drawn.append(Plan() if self.rng.random() < everything else others[int(self.rng.integers(len(others)))])
        return drawn

    def _move(
        self, state: State, plans: Sequence[Plan], origin: Tensor | None, depth: int, fractions: bool = False
    ) -> State:
        """Carry out one plan for each picture, and note what it gained."""
        latent = self.model.transport(state.latent, state.assessment, plans, origin)
        after = self._state(latent, self._shown(latent), depth)
        self._note(state, plans, after.psnr_db, depth, after.numbers)
        if fractions:
            strength = float(self.rng.choice(STRENGTHS))
            part = psnr_db(self._shown(torch.lerp(state.latent, latent, strength)), self.clean)
            self._note(state, [replace(plan, strength=strength) for plan in plans], part, depth, None)
        return after

    def _state(self, latent: Tensor, image: Tensor, depth: int) -> State:
        assessment = self.model.assess(latent)
        assert assessment.features is not None
        first, psnr = self.shard.count, psnr_db(image, self.clean)
        self.shard.add(
            self.shard.states, picture=self.pictures, depth=torch.full_like(self.pictures, depth),
            features=assessment.features.half(), severities=assessment.severities.float(),
            score=assessment.score.float(), psnr_db=psnr, quality_db=quality_db(image, self.clean),
        )  # fmt: skip
        return State(latent, assessment, torch.arange(first, self.shard.count), psnr)

    def _note(self, state: State, plans: Sequence[Plan], psnr: Tensor, depth: int, numbers: Tensor | None) -> None:
        """Moves of one depth; numbers: of the states they led to, None where those were not assessed."""
        self.shard.add(
            self.shard.moves, before=state.numbers,
            after=torch.full_like(state.numbers, -1) if numbers is None else numbers,
            remove=torch.tensor([[float(d in plan.remove) for d in DEGRADATIONS] for plan in plans]),
            strength=torch.tensor([plan.strength for plan in plans]), gain_db=psnr - state.psnr_db,
            move_depth=torch.full_like(state.numbers, depth),
        )  # fmt: skip

    def _shown(self, latent: Tensor) -> Tensor:
        return self.engine.decode(latent, (self.clean.shape[-2], self.clean.shape[-1]))


def _origin(plans: Sequence[Plan], latent: Tensor, before: Tensor) -> Tensor:
    """The latent that memory begins with after some plans: `latent` where they restart memory, else `before`."""
    restart = torch.tensor([plan.restart for plan in plans], device=latent.device)[:, None, None, None]
    return torch.where(restart, latent, before)
