"""Validation while training: mean PSNR per suite on fixed crops of held-out photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rar_cli.loop.rounds import rounds, settle
from rar_cli.networks.model import Rar
from rar_cli.synthesis.compression import recompress
from rar_cli.synthesis.pixels import quantise
from rar_cli.synthesis.recipes import STACKED, stack
from rar_cli.train.data import Photo
from rar_cli.types import DEGRADATIONS, Degradation

SUITES: dict[str, tuple[Degradation, ...]] = {
    "clean": (),
    **{d.value: (d,) for d in DEGRADATIONS},
    **{"+".join(names): names for names in STACKED},
}

VALIDATION_PX = 256
"""The least that a held-out photograph has, and the side of the crops for figures while training."""

KEPT_QUALITIES = (97, 92, 87)
"""Of JPEGs that cameras and editors write."""


def centre_crops(photos: Sequence[Photo], side: int) -> Tensor:
    """(n, 3, side, side) in [0, 1] from photographs at least `side` px on both sides."""
    return torch.stack([whole(photo, side) for photo in photos])


def whole(photo: Photo, most: int) -> Tensor:
    """(3, h, w) in [0, 1]: the middle of a photograph, all of it where no side exceeds `most` px."""
    height, width = (min(side, most) for side in photo.shape[:2])
    y, x = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return torch.from_numpy(photo[y : y + height, x : x + width].copy()).permute(2, 0, 1).float() / 255.0


def as_kept(photos: Sequence[Photo], most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Clean pictures (3, h, w) as archives hold them: each as `whole` has it, and as fine JPEGs, beside the first."""
    for place, photo in enumerate(photos):
        picture = whole(photo, most)
        yield picture, picture
        pixels, rng = picture.permute(1, 2, 0).numpy(), np.random.default_rng(place)
        for quality in KEPT_QUALITIES:
            yield torch.from_numpy(recompress(pixels, quality, ".jpg", rng)).permute(2, 0, 1), picture


@torch.inference_mode()
def validate(model: Rar, clean: Tensor, severity: float = 0.5, seed: int = 1) -> dict[str, list[float]]:
    """suite -> [PSNR of the input, after one round, of the final picture] in dB.

    clean: (n, 3, h, w) on the model's device. Seeds are fixed, so figures compare across runs.
    """
    table = {}
    for name, degradations in SUITES.items():
        rng = np.random.default_rng(seed)
        images = [x.permute(1, 2, 0).cpu().numpy() for x in clean]
        degraded = [quantise(stack(degradations, severity, rng).apply(x)[-1]) for x in images]
        batch = torch.from_numpy(np.stack(degraded)).permute(0, 3, 1, 2).to(clean.device)
        latent = model.codec.encode(batch)
        condition = model.assessor(latent).condition
        once = model.codec.decode(model.move(latent, condition))
        outcome = settle(rounds(model, latent, model.policy))
        final = torch.stack(
            [batch[i] if r.best_round == 0 else model.codec.decode(r.latent)[0] for i, r in enumerate(outcome)]
        )
        table[name] = [float(psnr_db(x, clean).mean()) for x in (batch, once, final)]
    return table


def psnr_db(images: Tensor, clean: Tensor) -> Tensor:
    """PSNR (b,) of images (b, 3, h, w), clamped to [0, 1]; 60 dB at most."""
    mse = (images.clamp(0, 1) - clean).square().mean(dim=(1, 2, 3)).clamp_min(1e-6)
    return -10 * mse.log10()
