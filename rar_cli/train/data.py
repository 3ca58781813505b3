"""Training data: folders of clean photographs -> batches of degraded crops, a pure function of the step.

Because every batch depends only on (seed, step), a run that is killed and resumed sees the very
batches that an unbroken run sees.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rar_cli.errors import UsageError
from rar_cli.synthesis.compression import file_type, recompress
from rar_cli.synthesis.pixels import Image, greyed, quantise, to_linear, to_srgb
from rar_cli.synthesis.recipes import focused_recipe, random_recipe
from rar_cli.train.config import Stage, TrainConfig
from rar_cli.types import DEGRADATIONS, Degradation

Photo = NDArray[np.uint8]
OWN_SCALE_PX, MOST_OWN_SCALE = 512, 0.6
"""Share of the crops at a photograph's own scale: their side over the one, at most the other."""
TINTED = 0.25
"""Share of the grey pictures that are tinted as a whole, grain and all."""
FINE = (78, 99)
"""Qualities from the one to below the other, at which a file does not show: no damage, and no word of severity."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Batch:
    """One step's data; images (b, 3, context, context), in 8 bits until `to` makes them [0, 1]: they are rounded to
    that anyway, and processes hand over a quarter of the bytes.

    clean: fully clean. target: what the restorer is to reach (part of the degradations may stay).
    severities, remove_mask: (b, degradations). t: (b,). forced: (b,) bool. unrolled, kept: (k,), their places.
    window: (b, n, 2) y, x of each picture's n windows in [0, 1) of the free range, their side `window_px`.
    """

    clean: Tensor
    degraded: Tensor
    target: Tensor
    severities: Tensor
    remove_mask: Tensor
    t: Tensor
    forced: Tensor
    unrolled: Tensor
    kept: Tensor
    window: Tensor
    window_px: int

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, images in [0, 1], without waiting for the copy."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True)).unpacked()

    def unpacked(self) -> Batch:
        """Images in [0, 1]."""
        return self.each(_unpacked)

    def pin_memory(self) -> Batch:
        """Called by the data loader on CUDA, for copies that overlap."""
        return self.each(Tensor.pin_memory)

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {name: value for name, value in self.__dict__.items() if isinstance(value, Tensor)}

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of changed tensors."""
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in self.tensors().items()}
        return replace(self, **changed)


def load_photos(folders: Sequence[Path], least_px: int) -> list[Photo]:
    """All photographs below `folders` whose short side is at least `least_px`, as RGB uint8."""
    paths = sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    photos: list[Photo] = []
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is not None and min(pixels.shape[:2]) >= least_px:
            photos.append(np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8))
    if not photos:
        names = ", ".join(str(f) for f in folders)
        raise UsageError(f"{names}: no photographs of at least {least_px} px; pass --data a folder of photos")
    return photos


def crop(photo: Photo, size_px: int, rng: Generator) -> Image:
    """A random crop at a random scale, down to the whole photograph; mirrored, sometimes turned.

    Mostly reduced below 0.75, so that the traces of the file's own compression are gone; at its own scale often
    enough for the assessor to know what photographs are like that are not, and the more often the larger the crop:
    a small part of a picture does not tell how bright or hazy it was.
    """
    height, width = photo.shape[:2]
    least = size_px / min(height, width)
    own = min(size_px / OWN_SCALE_PX, MOST_OWN_SCALE)
    scale = 1.0 if rng.random() < own else float(np.exp(rng.uniform(np.log(min(least, 0.75)), np.log(0.75))))
    side = min(int(round(size_px / max(scale, least))), height, width)
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    part = photo[y : y + side, x : x + side]
    if side != size_px:
        part = cv2.resize(part, (size_px, size_px), interpolation=cv2.INTER_AREA).astype(np.uint8)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.2:
        part = np.rot90(part, int(rng.integers(1, 4)))
    return np.ascontiguousarray(part, dtype=np.float32) / np.float32(255.0)


def retoned(image: Image, rng: Generator) -> Image:
    """The scene as it could have been and be clean: of another exposure, gamma, contrast or colour.

    A photograph seen often enough is known by heart, and with it how dark or pale it is by nature; then nothing teaches
    the assessor that a dim church is no dark photograph.
    """
    kind = int(rng.integers(4))
    if kind == 0:
        toned = to_srgb(to_linear(image) * 10.0 ** rng.uniform(-0.2, 0.1))
    elif kind == 1:
        toned = image ** np.exp(rng.uniform(np.log(0.8), np.log(1.35)))
    elif kind == 2:
        contrast = rng.uniform(0.8, 0.98)
        toned = image * contrast + rng.uniform(0.0, 0.85) * (1.0 - contrast)
    else:
        grey = image.mean(axis=2, keepdims=True)
        toned = (grey + (image - grey) * rng.uniform(0.3, 1.4)) * rng.uniform(0.88, 1.0, 3)
    return np.clip(toned, 0.0, 1.0).astype(np.float32)


def resaved(image: Image, rng: Generator) -> Image:
    """The picture as it comes out of the file that most are kept in, a fine JPEG or WebP.

    Most photographs to train on are such files as well, and degrading them wipes out the traces: if no degraded picture
    had any, they would pass for a sign that nothing is wrong.
    """
    extension = file_type(rng)
    return recompress(image, int(rng.integers(*FINE)), extension, rng)


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
        rows = [self._sample(crops.context_px, stage, rng, at < focused) for at in range(crops.pictures)]
        clean, degraded, target, severities, remove = (np.stack(column) for column in zip(*rows, strict=True))
        size = crops.pictures
        t = np.where(rng.random(size) < stage.at_zero, 0.0, rng.random(size)).astype(np.float32)
        return Batch(
            clean=_channels_first(clean),
            degraded=_channels_first(degraded),
            target=_channels_first(target),
            severities=torch.from_numpy(severities),
            remove_mask=torch.from_numpy(remove),
            t=torch.from_numpy(t),
            forced=torch.from_numpy(rng.random(size) < stage.forcing_at(at)),
            unrolled=torch.from_numpy(np.flatnonzero(rng.permutation(size) < self._share(stage.unrolled, step, size))),
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
        photos = self.holding[size_px]
        clean = crop(photos[int(rng.integers(len(photos)))], size_px, rng)
        if stage.retoned and rng.random() < stage.retoned:
            clean = quantise(retoned(clean, rng))
        grey = stage.grey > 0 and bool(rng.random() < stage.grey)
        if grey:
            clean = greyed(clean)
        recipe = focused_recipe(rng, stage.focus) if focused else random_recipe(rng)
        degraded = recipe.apply(clean, grey)[-1]
        remove = np.ones(len(DEGRADATIONS), np.float32)
        target = clean
        if rng.random() < stage.partial:
            keep = _keep(rng)
            remove = np.asarray([d not in keep for d in DEGRADATIONS], np.float32)
            kept = recipe.keeping(keep)
            target = degraded if kept == recipe else kept.apply(clean, grey)[-1]
        if grey and rng.random() < TINTED:
            tint = _tint(rng)
            clean, degraded, target = (image**tint for image in (clean, degraded, target))
        if stage.resaved and rng.random() < stage.resaved:
            degraded = resaved(degraded, rng)
        return _packed(clean), _packed(degraded), _packed(target), recipe.severities(), remove


def _tint(rng: Generator) -> NDArray[np.float32]:
    """A gamma per channel, as of a print in sepia or, sometimes, in blue."""
    strength = rng.uniform(-0.2, 0.5)
    return np.exp(np.float32(strength) * np.asarray((-0.6, 0.1, 1.0), np.float32))


def _keep(rng: Generator) -> set[Degradation]:
    """What is to stay: one or two named ones (`--keep`), or all but one or two (`--only`)."""
    named = {DEGRADATIONS[i] for i in rng.choice(len(DEGRADATIONS), int(rng.integers(1, 3)), replace=False)}
    return named if rng.random() < 0.5 else set(DEGRADATIONS) - named


def _packed(image: Image) -> Photo:
    """[0, 1] -> 8 bits, one by one: what is as large as a batch is memory that the system has to clear every time."""
    return np.rint(image * np.float32(255.0)).astype(np.uint8)


def _channels_first(images: NDArray[np.uint8]) -> Tensor:
    """(b, h, w, 3) -> (b, 3, h, w), channels_last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _unpacked(tensor: Tensor) -> Tensor:
    """Images in 8 bits -> [0, 1]; all else as it is."""
    return tensor.float() / 255.0 if tensor.dtype == torch.uint8 else tensor
