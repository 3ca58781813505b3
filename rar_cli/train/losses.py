"""Losses, and the true score that the assessor learns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rar_cli.networks.codec import mse_of
from rar_cli.networks.contracts import LinearCodec

SCORE_PSNR_DB = (10.0, 45.0)
"""The PSNR that scores 0 and the one that scores 100; linear between."""

NEGLIGIBLE_MSE = 2e-5
"""About one grey level of 255; smaller errors need no gradient."""

AROUND_CELLS = 9
"""Side of the square of cells whose mean is the light around a cell."""


def psnr_to_score(psnr_db: Tensor) -> Tensor:
    """PSNR in dB -> score in [0, 100]."""
    low, high = SCORE_PSNR_DB
    return 100.0 * ((psnr_db - low) / (high - low)).clamp(0.0, 1.0)


def mse_to_psnr(mse: Tensor) -> Tensor:
    """Mean squared error of images in [0, 1] -> PSNR in dB."""
    return -10.0 * torch.log10(mse.clamp_min(1e-10))


def charbonnier(latent: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Charbonnier distance of latents (b, c, h, w), each channel weighted by scale**0.7.

    The loss of the first stages, for `log_mse` from scratch learns the identity (docs/decisions.md#loss).
    """
    weight = scale**0.7
    difference = (latent - target).float() * weight[:, None, None]
    return (difference.square() + 1e-6).sqrt().mean() / weight.mean()


def log_mse(latent: Tensor, target: Tensor, scale: Tensor, beside: Tensor | float = 0.0) -> Tensor:
    """Mean over the batch of log(MSE) / 10 in image units: the negative PSNR up to a factor.

    Every picture counts by the decibels that it gains. Otherwise dark and hazy pictures would take the whole gradient,
    for their errors are ten times those of compressed ones. beside: a further error of each picture, (b,).
    """
    return 0.1 * (mse_of(latent, target, scale) + beside + NEGLIGIBLE_MSE).log().mean()


def log_detail(latent: Tensor, target: Tensor, codec: LinearCodec) -> Tensor:
    """Mean over the batch of log(MSE) / 10 of the fine error: the error less its mean colour around each cell.

    After haze and low light the light of the whole picture is often wrong. That error is a hundred times the others, so
    a weave in even areas costs nothing in `log_mse`.
    """
    with torch.autocast(latent.device.type, enabled=False):
        error = (latent - target).float()
        light = torch.einsum("bkyx,kc->bcyx", error, codec.synthesis.weight.mean(dim=(2, 3)))  # of each cell
        slow = F.avg_pool2d(light, AROUND_CELLS, stride=1, padding=AROUND_CELLS // 2, count_include_pad=False)
        slow = torch.einsum("bcyx,kc->bkyx", slow, codec.analysis.weight.sum(dim=(2, 3)))
        return log_mse(error, slow, codec.scale)


RESTORATION_LOSSES = {"charbonnier": charbonnier, "log_mse": log_mse}


def severity_loss(assessed: Tensor, truth: Tensor, known: Tensor | None = None) -> Tensor:
    """Cross-entropy with soft targets, a mean over all pictures; assessed, truth: (b, degradations) in [0, 1].

    known: (b,) bool; pictures whose truth is not known add 0. None: all are known.
    """
    weight = None if known is None else known[:, None].to(truth.dtype)
    with torch.autocast(assessed.device.type, enabled=False):
        return F.binary_cross_entropy(assessed.float().clamp(1e-5, 1 - 1e-5), truth, weight)


def score_loss(score: Tensor, truth: Tensor) -> Tensor:
    """Smooth L1 of scores (b,) in [0, 100], in units of ten points."""
    return F.smooth_l1_loss(score / 10.0, truth / 10.0)


def ranking_loss(better_by: Tensor, truth_by: Tensor) -> Tensor:
    """Logistic loss on the sign of a change of score (b,), weighted by how much it truly changed."""
    weight = (truth_by.abs() / 5.0).clamp(max=1.0)
    return (weight * F.softplus(-better_by / 2.0 * truth_by.sign())).mean()
