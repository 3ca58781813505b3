"""Views: a picture moved by half a latent cell, for a self-ensemble (after EDSR, arXiv 1707.02921, Sec. 3.3).

A network errs differently in another view, and its lattice of cells lies elsewhere. The mean of both is nearer to the
truth, and the lattice shows less. The usual mirror images would need a condition of their own, because the condition
holds the direction of a blur. The shift is made in pixels, so the codec must be linear.
"""

from __future__ import annotations

from torch import Tensor

from rar_cli.compute.tiling import pad_by
from rar_cli.networks.contracts import CodecLike


def moved(codec: CodecLike, latent: Tensor) -> Tensor:
    """latent (b, c, h, w) -> latent of the picture half a cell down and right, (b, c, h + 1, w + 1)."""
    return codec.encode(pad_by(codec.decode(latent), *_halves(codec)))


def moved_back(codec: CodecLike, latent: Tensor) -> Tensor:
    """The inverse of `moved`: (b, c, h + 1, w + 1) -> (b, c, h, w)."""
    before, after = _halves(codec)
    return codec.encode(codec.decode(latent)[..., before:-after, before:-after])


def _halves(codec: CodecLike) -> tuple[int, int]:
    """Pixels before and after the picture; together they make one cell."""
    half = codec.params.factor // 2
    return half, codec.params.factor - half
