"""The record of a run: lines for the ledger and the terminal, figures on held-out photographs."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from rar_cli.train.config import TrainConfig
from rar_cli.train.data import OnEach, load_photos, unseen
from rar_cli.train.run.clock import Clock
from rar_cli.train.run.ledger import Ledger
from rar_cli.train.run.parts import Parts
from rar_cli.train.run.request import Say, TrainRequest
from rar_cli.train.validation import VALIDATION_PX, centre_crops, validate

LOG_EVERY = 100
"""Steps between two "step" lines of the ledger."""

VALIDATION_SPREAD = 16
VALIDATION_PHOTOS = 6
"""Figures while training rest on that many of as many evenly spread held-out photographs: the same ones
since the first run, so that learning curves compare."""


class Record:
    """Writes on the main process alone; figures need an average and held-out photographs."""

    def __init__(self, parts: Parts, request: TrainRequest, clock: Clock, say: Say) -> None:
        self.parts, self.request, self.clock, self.say = parts, request, clock, say
        self.main = parts.accelerator.is_main_process
        self.ledger = Ledger(request.out / "training.jsonl")
        self.sums: dict[str, Tensor] = {}
        self.seen = 0
        self.crops: Tensor | None = None

    def begin(self, step: int, held_out: Tensor | None) -> None:
        """Where the run begins or goes on, and crops of held-out photographs, where there are some."""
        if self.main:
            photos, config = self.parts.photos, _plain(self.parts.config)
            self.ledger.write("begin", step=step, seconds=self.clock.before, photos=photos, config=config)
        self.crops = None if held_out is None else held_out.to(self.parts.accelerator.device)

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """What one step lost, until the next line; nothing waits for the device."""
        self.seen += 1
        for name, value in losses.items():
            before = self.sums.get(name)
            self.sums[name] = value.detach() + (torch.zeros_like(value) if before is None else before)

    def step(self, step: int, stage_name: str, rate: float) -> None:
        """The mean losses since the last line, where a line is due after `step` steps."""
        config = self.parts.config
        if not self.main or (step % LOG_EVERY and step != config.total_steps):
            return
        means = {name: float(total) / self.seen for name, total in self.sums.items()}
        self.ledger.write(
            "step", step=step, stage=stage_name, seconds=self.clock.seconds(), lr=rate,
            samples=config.samples_before(step), losses=means,
        )  # fmt: skip
        listed = " ".join(f"{name}={mean:.4f}" for name, mean in means.items())
        self.say(f"step {step} {stage_name} {self.clock.seconds():.0f} s {listed}")
        self.sums, self.seen = {}, 0

    def validation(self, step: int, stage_name: str) -> None:
        """Figures on held-out photographs, where there are some."""
        model = self.parts.averaged_model if self.main else None
        if model is None or self.crops is None:
            return
        table = validate(model.eval(), self.crops)
        seconds = self.clock.seconds()
        self.ledger.write("validation", step=step, stage=stage_name, seconds=seconds, psnr_db=table)
        figures = ", ".join(f"{k} {a:.1f}>{b:.1f}>{c:.1f}" for k, (a, b, c) in table.items())
        self.say(f"validation at {step}: {figures}")
        model.train()

    def end(self, step: int) -> None:
        """The last line: who waits for it finds everything in place."""
        if self.main:
            finished = step >= self.parts.config.total_steps
            self.ledger.write("end", step=step, seconds=self.clock.seconds(), finished=finished)


def validation_crops(request: TrainRequest, on_each: OnEach = unseen) -> Tensor | None:
    """Crops (n, 3, h, w) in [0, 1] of a few held-out photographs; None without such. Raises UsageError where all are
    too small."""
    if not request.valid:
        return None
    photos = load_photos(request.valid, VALIDATION_PX, on_each=on_each)
    chosen = photos[:: max(len(photos) // VALIDATION_SPREAD, 1)][:VALIDATION_SPREAD]
    random.Random(0).shuffle(chosen)
    return centre_crops(chosen[:VALIDATION_PHOTOS], VALIDATION_PX)


def _plain(config: TrainConfig) -> dict[str, object]:
    return json.loads(json.dumps(asdict(config)))
