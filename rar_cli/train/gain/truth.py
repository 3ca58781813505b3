"""The targets of the heads: PSNR, and a quality that ignores changes of exposure and colour."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_DB = 50.0
"""Above this, two pictures count as the same."""
QUALITY_DB = (12.0, 40.0)
"""The quality that scores 0 and the one that scores 100; linear between."""


def psnr_db(image: Tensor, reference: Tensor) -> Tensor:
    """PSNR (b,) of images (b, 3, h, w), clamped to [0, 1], in dB, at most `MOST_DB`."""
    return _db((image.clamp(0, 1) - reference).square().mean((1, 2, 3)))


def quality_db(image: Tensor, reference: Tensor) -> Tensor:
    """PSNR (b,) of images (b, 3, h, w) in dB, at most `MOST_DB`, after the best gain and offset of each channel.

    Structure, noise, sharpness and artefacts count. Brightness and tint do not, because a picture does not show how
    bright and tinted its scene was. The error is the part that an affine fit of the reference leaves unexplained, at
    the contrast of the reference.
    """
    x, y = (each.clamp(0, 1).flatten(2) for each in (image, reference))
    x_centred, y_centred = (each - each.mean(2, keepdim=True) for each in (x, y))
    covariance = (x_centred * y_centred).mean(2)
    own, true = x_centred.square().mean(2), y_centred.square().mean(2)
    unexplained = (own - covariance.square() / true.clamp_min(1e-8)).clamp_min(0)
    return _db((unexplained * (true / own.clamp_min(1e-6)).clamp(max=1e4)).mean(1))


def quality_to_score(quality: Tensor) -> Tensor:
    """Quality in dB -> score in [0, 100]."""
    low, high = QUALITY_DB
    return 100.0 * ((quality - low) / (high - low)).clamp(0.0, 1.0)


def _db(mse: Tensor) -> Tensor:
    return (-10.0 * torch.log10(mse.clamp_min(1e-9))).clamp(max=MOST_DB)
