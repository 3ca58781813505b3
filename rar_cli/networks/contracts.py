"""Contracts: what the engine and the loop need from a codec, an assessor and a restorer of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from torch import Tensor, nn

from rar_cli.types import Assessment, Conditioned

if TYPE_CHECKING:
    from rar_cli.networks.adapters import BlurTokens
    from rar_cli.networks.gain import GainHeads


class CodecLike(Protocol):
    """image (b, 3, h, w) in [0, 1] <-> latent (b, c, h / f, w / f).

    linear: whether it is a `LinearCodec`. halo_px: pixels beyond a tile that its latent and its picture depend on.
    scale: (c,), the size of a channel's unit in image units; ones if latent distances do not measure it.
    """

    params: Any
    linear: bool
    halo_px: int
    scale: Tensor

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


class LinearCodec(CodecLike, Protocol):
    """A codec whose latents become pixels and latents again exactly, part by part. It is fitted, not trained.

    Self-ensembles, the tone of large pictures, the blur reader and the loss of detail need it.
    """

    analysis: nn.Conv2d
    synthesis: nn.ConvTranspose2d

    def encode_change(self, change: Tensor) -> Tensor:
        """A change of an image -> that of its latent."""
        ...

    def fit(self, patches: Tensor) -> None:
        """Set analysis and synthesis from patches (n, 3, f, f) in [0, 1]."""
        ...


def is_linear(codec: CodecLike) -> TypeGuard[LinearCodec]:
    """Whether it is a `LinearCodec`, by its own word."""
    return codec.linear


class AssessorLike(Protocol):
    """latent -> assessment -> condition.

    blur: the reader of blur, or None. gain: the heads of gain, or None.
    """

    params: Any

    @property
    def blur(self) -> BlurTokens | None:
        """The reader of blur."""
        ...

    @property
    def gain(self) -> GainHeads | None:
        """The heads of gain."""
        ...

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
        """Add trainable weights beside published ones that stay fixed; nothing if all of them learn."""
        ...

    def let_learn(self, on: bool) -> None:
        """Let what training moves learn, or nothing."""
        ...


class RestorerLike(Protocol):
    """(z_t, t, condition, origin) -> velocity. params.multiple: latent sides must be multiples of it; params.memory:
    whether it reads an origin."""

    params: Any

    def __call__(self, latent: Tensor, t: Tensor, condition: Tensor, origin: Tensor | None = None) -> Tensor:
        """latent (b, c, h, w), t (b,) -> velocity of the same shape."""
        ...

    def let_learn(self, on: bool) -> None:
        """Let what training moves learn, or nothing."""
        ...
