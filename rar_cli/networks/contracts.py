"""What the engine and the loop need of a codec, an assessor and a restorer, whatever their size."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from rar_cli.types import Assessment, Conditioned


class CodecLike(Protocol):
    """image (b, 3, h, w) in [0, 1] <-> latent (b, c, h / f, w / f).

    linear: whether a latent can leave for pixels and come back exactly, part by part; self-ensembles and the tone of
    large pictures need it. halo_px: pixels beyond a tile that its latent and its picture depend on.
    """

    params: Any
    linear: bool
    halo_px: int

    def encode(self, image: Tensor) -> Tensor:
        """image -> latent."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """latent -> image, near [0, 1], not clamped."""
        ...

    def mse(self, latent: Tensor, reference: Tensor) -> Tensor:
        """Mean squared error (b,) in image units."""
        ...

    def let_learn(self, on: bool) -> None:
        """Let what training moves learn, or nothing."""
        ...


class AssessorLike(Protocol):
    """latent -> assessment -> condition."""

    params: Any

    def assess(self, latent: Tensor, tile: int | None = None) -> Assessment:
        """latent (b, c, h, w) -> assessment of b pictures."""
        ...

    def condition(
        self, assessment: Assessment, remove: Tensor | None = None, severities: Tensor | None = None
    ) -> Tensor:
        """assessment, what is removed (b, n) -> condition (b, m, d)."""
        ...

    def __call__(
        self,
        latent: Tensor,
        *,
        remove_mask: Tensor | None = None,
        severities: Tensor | None = None,
        tile: int | None = None,
    ) -> Conditioned:
        """Both at once, as training does."""
        ...

    def add_lora(self) -> None:
        """Add what learns beside weights that stay as they were published; nothing where all of them learn."""
        ...

    def let_learn(self, on: bool) -> None:
        """Let what training moves learn, or nothing."""
        ...


class RestorerLike(Protocol):
    """(z_t, t, condition, origin) -> velocity. params.multiple: what latent sides are multiples of; params.memory:
    whether it reads an origin."""

    params: Any

    def __call__(self, latent: Tensor, t: Tensor, condition: Tensor, origin: Tensor | None = None) -> Tensor:
        """latent (b, c, h, w), t (b,) -> velocity of the same shape."""
        ...

    def let_learn(self, on: bool) -> None:
        """Let what training moves learn, or nothing."""
        ...
