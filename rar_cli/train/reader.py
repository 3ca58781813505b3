"""Fits the assessor's blur reader before the first stage: cepstrum of a blurred picture -> that of its kernel.

In the cepstrum the kernel is added to the picture, so the fit is a kind of denoising. The losses of the stages say too
little about blur to teach it. So the reader is fitted beforehand, and the stages leave it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rar_cli.networks.adapters import BlurTokens
from rar_cli.networks.blur import half_plane
from rar_cli.networks.contracts import LinearCodec
from rar_cli.synthesis.degradations import degrade
from rar_cli.synthesis.pixels import quantise
from rar_cli.synthesis.recipes import Recipe, focused_recipe, random_recipe
from rar_cli.train.data import OnEach, Photo, crop, unseen
from rar_cli.types import Degradation

BLURS = (Degradation.MOTION_BLUR, Degradation.BLUR)
FOCUS = (Degradation.MOTION_BLUR, Degradation.MOTION_BLUR, Degradation.MOTION_BLUR, Degradation.BLUR)
FOCUSED = 0.7
"""Share of the pictures that are blurred, three of four by motion."""
SIDES_PX = (128, 160, 256, 320)
KERNEL_PX = 129
PICTURES, STEPS, BATCH = 48_000, 9_000, 256
LEAST_DEVIATION = 5e-4
"""Of a lag of the cepstrum, below which it says nothing."""
FAINT = 4e-3
"""Deviation of a kernel's lag at which its errors count half."""


def fit_reader(
    tokens: BlurTokens,
    codec: LinearCodec,
    photos: Sequence[Photo],
    seed: int,
    on_each: OnEach = unseen,
    pictures: int = PICTURES,
) -> None:
    """Fit reader and condition tokens in place; about ten minutes on two CPU cores at 48,000 pictures."""
    rng, generator = np.random.default_rng([seed, 1]), torch.Generator().manual_seed(seed)
    reader = tokens.reader
    reader.see_with(codec)
    short = [min(photo.shape[:2]) for photo in photos]
    sides = [side for side in SIDES_PX if side <= max(short)] or [max(short)]
    holding = {side: [photo for photo, least in zip(photos, short, strict=True) if least >= side] for side in sides}
    found, truth = [], []
    for number in range(pictures):
        on_each(number + 1, pictures, "measuring blur")
        side = sides[int(rng.integers(len(sides)))]
        clean = crop(holding[side][int(rng.integers(len(holding[side])))], side, rng)
        recipe = focused_recipe(rng, FOCUS) if rng.random() < FOCUSED else random_recipe(rng)
        degraded = torch.from_numpy(quantise(recipe.apply(clean)[-1])).permute(2, 0, 1)[None]
        with torch.no_grad():
            found.append(reader.cepstrum(codec.encode(degraded)))
        truth.append(kernel_cepstrum(recipe, reader.reach))
    cepstra, kernels = torch.cat(found), torch.cat(truth)
    with torch.no_grad():
        reader.usual.copy_(torch.stack([cepstra.mean(0), cepstra.std(0).clamp_min(LEAST_DEVIATION)]))
    measured = reader.measured(cepstra)
    _regress(reader.describe, measured, kernels, generator, on_each)
    with torch.no_grad():
        _whiten(tokens.to_condition, reader.describe(measured))


def kernel_cepstrum(recipe: Recipe, reach: int) -> Tensor:
    """Cepstrum (1, lags) of all blur in a recipe: what its steps make of a single point."""
    point = np.zeros((KERNEL_PX, KERNEL_PX, 3), np.float32)
    point[KERNEL_PX // 2, KERNEL_PX // 2] = 1.0
    for step in recipe.steps:
        if step.degradation in BLURS:
            point = degrade(point, step.degradation, step.severity, step.seed)
    power = torch.fft.rfft2(torch.from_numpy(point[..., 1])[None]).abs().square()
    return half_plane(torch.fft.irfft2((power + 1e-3).log(), (KERNEL_PX, KERNEL_PX)), reach)


def _regress(
    describe: nn.Module, cepstra: Tensor, kernels: Tensor, generator: torch.Generator, on_each: OnEach = unseen
) -> None:
    """Train `describe` under a linear head that predicts the kernels' cepstra."""
    width = describe(cepstra[:1]).shape[-1]
    head = nn.Linear(width, kernels.shape[-1])
    weight = 1.0 / (kernels.std(0) + FAINT)
    optimizer = torch.optim.AdamW([*describe.parameters(), *head.parameters()], lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, (i + 1) / 100) * (1.0 - i / STEPS))
    for number in range(STEPS):
        on_each(number + 1, STEPS, "learning to read blur")
        chosen = torch.randint(len(cepstra), (BATCH,), generator=generator)
        loss = ((head(describe(cepstra[chosen])) - kernels[chosen]) * weight).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _whiten(layer: nn.Linear, descriptions: Tensor) -> None:
    """Set a layer so that what varies little in a description counts as much as what varies most."""
    values, vectors = torch.linalg.eigh(torch.cov(descriptions.T))
    count = min(layer.out_features, layer.in_features)
    layer.weight.zero_()
    layer.weight[:count] = (vectors * (values + 2e-3 * values.max()).rsqrt())[:, -count:].T
    layer.bias.copy_(-layer.weight @ descriptions.mean(0))
