"""Codec at paper scale: a pretrained autoencoder of `diffusers`, kept as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rar_cli.compute.tiling import pad_to_multiple
from rar_cli.networks.large.component import SHARED, Component, checked, hint

CLASSES = ("AutoencoderKL", "AutoencoderDC")


@dataclass(frozen=True)
class AutoencoderParams(Component):
    """An AutoencoderKL or AutoencoderDC, named by `_class_name` in its config."""

    kind: str = "autoencoder"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.get("_class_name") not in CLASSES:
            raise ValueError(f"codec: _class_name must be one of {', '.join(CLASSES)}")

    @property
    def channels(self) -> int:
        """Of the latent."""
        return int(self.config["latent_channels"])

    @property
    def factor(self) -> int:
        """Pixels per latent cell along a side."""
        is_kl = self.config["_class_name"] == "AutoencoderKL"
        stages = self.config["block_out_channels" if is_kl else "encoder_block_out_channels"]
        return int(2 ** (len(stages) - 1))


class AutoencoderCodec(nn.Module):
    """image (b, 3, h, w) in [0, 1] <-> latent (b, c, ceil(h/f), ceil(w/f)), scaled as its publisher does."""

    linear = AutoencoderParams.linear
    halo_px = 128
    scale: Tensor

    def __init__(self, params: AutoencoderParams, pretrained: bool = False, folder: Path | None = None) -> None:
        super().__init__()
        self.params = params
        self.autoencoder = diffusers_component(params, torch.float32, pretrained, folder, "autoencoder")
        self.register_buffer("scale", torch.ones(params.channels), persistent=False)

    def encode(self, image: Tensor) -> Tensor:
        """image (b, 3, h, w) in [0, 1] -> latent; the mean where the autoencoder has a distribution."""
        found = self.autoencoder.encode(2.0 * pad_to_multiple(image, self.params.factor) - 1.0)
        latent = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latent
        return (latent - self._shift) * self._scaling

    def decode(self, latent: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """latent -> image (b, 3, h, w), cropped to `size` = (h, w); near [0, 1], not clamped."""
        image = 0.5 + 0.5 * self.autoencoder.decode(latent / self._scaling + self._shift).sample
        return image if size is None else image[..., : size[0], : size[1]]

    @torch.no_grad()
    def mse(self, latent: Tensor, reference: Tensor) -> Tensor:
        """Mean squared error (b,) of the decoded pictures: no latent distance stands for it here."""
        pictures = (self.decode(x).float().clamp(0, 1) for x in (latent, reference))
        first, second = pictures
        return (first - second).square().mean(dim=(1, 2, 3))

    def let_learn(self, on: bool) -> None:
        """The autoencoder stays as it was published, whatever the stage."""
        self.requires_grad_(False)

    def checkpoint_gradients(self) -> None:
        """Trade compute for memory in training."""
        if getattr(self.autoencoder, "_supports_gradient_checkpointing", False):  # AutoencoderDC cannot
            self.autoencoder.enable_gradient_checkpointing()

    def save_component(self, folder: Path) -> None:
        """Write the autoencoder in its public folder form."""
        self.autoencoder.save_pretrained(folder / "autoencoder", safe_serialization=True)

    @property
    def _scaling(self) -> float:
        return float(self.autoencoder.config.get("scaling_factor") or 1.0)

    @property
    def _shift(self) -> float:
        return float(self.autoencoder.config.get("shift_factor") or 0.0)


def diffusers_component(params: Component, dtype: torch.dtype, pretrained: bool, folder: Path | None, name: str) -> Any:
    """A component of `diffusers` in a type: from `name` in a part's folder, pretrained, or with random weights."""
    try:
        import diffusers
    except ImportError as error:
        raise hint("diffusers", error) from error
    kind = getattr(diffusers, params.config["_class_name"])
    if folder is None and not (pretrained and params.pretrained):
        fresh = kind.from_config(dict(params.config))
        return fresh if dtype == fresh.dtype else fresh.to(dtype)
    source, where = params.source(None if folder is None else folder / name)
    return checked(kind.from_pretrained(source, torch_dtype=dtype, **where, **SHARED), source)
