"""Steps -> batches, a pure function of the step.

Every batch depends only on (seed, step). So a run that is killed and resumed sees the same batches as an unbroken run.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rar_cli.errors import UsageError
from rar_cli.synthesis.camera import Camera
from rar_cli.synthesis.drawings import drawing
from rar_cli.synthesis.pixels import Image, greyed, quantise
from rar_cli.synthesis.recipes import Recipe, focused_recipe, random_recipe, stack
from rar_cli.train.config import Stage, TrainConfig
from rar_cli.train.data.batches import Batch
from rar_cli.train.data.crops import crop, dimmed, resaved, retoned, tint
from rar_cli.train.data.photographs import Photo
from rar_cli.types import DEGRADATIONS, Degradation

TINTED = 0.25
"""Share of the grey pictures that are tinted as a whole, grain and all."""
PLANNED_FROM = 0.05
"""Severity above which a degradation counts as there, for the plan of a first round."""
UNTOUCHED_DRAWINGS = 0.7
"""Share of the drawings without degradations."""


def leave_signals_to_the_run(_: int) -> None:
    """For a worker that makes batches: a terminal and a scheduler signal it too, and no step ends without it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class StepBatches(Dataset[Batch]):
    """Map-style data set whose index is the global step."""

    def __init__(self, photos: Sequence[Photo], config: TrainConfig, rank: int = 0) -> None:
        self.config, self.rank = config, rank
        contexts = {crops.context_px for stage in config.stages for crops in stage.crops}
        self.holding = {side: [p for p in photos if min(p.shape[:2]) >= side] for side in contexts}
        empty = sorted(side for side, chosen in self.holding.items() if not chosen)
        if empty:
            raise UsageError(f"no photograph holds crops of {empty[0]} px; add larger ones or lower context_px")

    def __len__(self) -> int:
        return self.config.total_steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        stage, at = self.config.stage_at(step)
        rng = np.random.default_rng([self.config.seed, step, self.rank])
        crops = stage.crops_at(at)
        focused = self._share(stage.focused, step, crops.pictures)
        rows = [self._sample(crops.context_px, stage, rng, place < focused) for place in range(crops.pictures)]
        clean, degraded, target, severities, remove = (np.stack(column) for column in zip(*rows, strict=True))
        size = crops.pictures
        t = np.where(rng.random(size) < stage.at_zero, 0.0, rng.random(size)).astype(np.float32)
        forced = rng.random(size) < stage.forcing_at(at)
        unrolled = np.flatnonzero(rng.permutation(size) < self._share(stage.unrolled, step, size))
        first = remove.copy()
        for place in unrolled:
            if _happens(stage.planned, rng):
                first[place] = _first_plan(severities[place], remove[place], rng)
        return Batch(
            clean=_channels_first(clean),
            degraded=_channels_first(degraded),
            target=_channels_first(target),
            severities=torch.from_numpy(severities),
            remove_mask=torch.from_numpy(remove),
            first_mask=torch.from_numpy(first),
            t=torch.from_numpy(t),
            forced=torch.from_numpy(forced & (first == remove).all(1)),
            unrolled=torch.from_numpy(unrolled),
            kept=torch.arange(focused if stage.keeps else size, size),
            window=torch.from_numpy(rng.random((size, crops.windows, 2)).astype(np.float32)),
            window_px=crops.window_px,
        )

    def _share(self, share: float, step: int, size: int) -> int:
        """How many pictures of a step a share of them is: as many in every process, for shards are gathered in step."""
        return int(share * size + np.random.default_rng([self.config.seed, step]).random())

    def _sample(
        self, size_px: int, stage: Stage, rng: Generator, focused: bool
    ) -> tuple[Photo, Photo, Photo, NDArray[np.float32], NDArray[np.float32]]:
        """Clean, degraded and target picture in 8 bits; severities, and what is to be removed."""
        scene, recipe, grey = self._scene(size_px, stage, rng, focused)
        shot = recipe.shot(scene, grey)
        clean, degraded, target = shot.reference, shot.degraded, shot.reference
        remove = np.ones(len(DEGRADATIONS), np.float32)
        if rng.random() < stage.partial:
            keep = _keep(rng)
            remove = np.asarray([d not in keep for d in DEGRADATIONS], np.float32)
            kept = recipe.keeping(keep)
            target = degraded if kept == recipe else kept.apply(scene, grey)[-1]
        if grey and rng.random() < TINTED:
            gamma = tint(rng)
            clean, degraded, target = (image**gamma for image in (clean, degraded, target))
        if _happens(stage.resaved, rng):
            degraded = resaved(degraded, rng)
        return _packed(clean), _packed(degraded), _packed(target), shot.severities, remove

    def _scene(self, size_px: int, stage: Stage, rng: Generator, focused: bool) -> tuple[Image, Recipe, bool]:
        """What is before the lens, what happens to it, and whether it has no colours.

        Settings that a stage leaves at 0 draw no numbers, so that its pictures are what they were without them.
        """
        if _happens(stage.drawn, rng):
            return drawing(size_px, rng), _recipe_of_a_drawing(rng), False
        photos = self.holding[size_px]
        scene = crop(photos[int(rng.integers(len(photos)))], size_px, rng)
        if _happens(stage.retoned, rng):
            scene = quantise(retoned(scene, rng))
        if _happens(stage.dim, rng):
            scene = quantise(dimmed(scene, rng))
        grey = _happens(stage.grey, rng)
        if grey:
            scene = greyed(scene)
        recipe = focused_recipe(rng, stage.focus) if focused else random_recipe(rng)
        if _happens(stage.lifelike, rng):
            recipe = recipe.lifelike()
        if _happens(stage.camera, rng):
            recipe = replace(recipe, camera=Camera.drawn(rng))
        return scene, recipe, grey


def _happens(share: float, rng: Generator) -> bool:
    """True with probability `share`; a share of 0 draws no number."""
    return share > 0 and bool(rng.random() < share)


def _recipe_of_a_drawing(rng: Generator) -> Recipe:
    """Mostly nothing: what a drawing teaches is to leave it alone; else a file or a scanner's noise."""
    if rng.random() < UNTOUCHED_DRAWINGS:
        return Recipe()
    name = Degradation.JPEG if rng.random() < 0.6 else Degradation.NOISE
    return stack((name,), float(rng.uniform(0.1, 0.7)), rng)


def _keep(rng: Generator) -> set[Degradation]:
    """What is to stay: one or two named ones (`--keep`), or all but one or two (`--only`)."""
    named = {DEGRADATIONS[i] for i in rng.choice(len(DEGRADATIONS), int(rng.integers(1, 3)), replace=False)}
    return named if rng.random() < 0.5 else set(DEGRADATIONS) - named


def _first_plan(severities: NDArray[np.float32], remove: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """What the round before removed, (degradations,): one degradation that is there, or all but one.

    `remove` itself if fewer than two are there.
    """
    there = np.flatnonzero(severities * remove > PLANNED_FROM)
    if len(there) < 2:
        return remove
    chosen = int(rng.choice(there))
    one = (np.arange(len(remove)) == chosen).astype(np.float32)
    return one if rng.random() < 0.5 else remove * (1.0 - one)


def _packed(image: Image) -> Photo:
    """[0, 1] -> 8 bits, one by one: what is as large as a batch is memory that the system has to clear every time."""
    return np.rint(image * np.float32(255.0)).astype(np.uint8)


def _channels_first(images: NDArray[np.uint8]) -> Tensor:
    """(b, h, w, 3) -> (b, 3, h, w), channels_last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
