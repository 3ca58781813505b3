"""Restorer at paper scale: a pretrained diffusion transformer of `diffusers`, conditioned by tokens.

Those models were trained with time running from picture (0) to noise (1000) and a velocity that
points to the noise. Here time runs from degraded (0) to restored (1): this file is the one place
that converts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from rar_cli.compute.tiling import pad_to_multiple
from rar_cli.networks.large.codec import diffusers_component
from rar_cli.networks.large.component import Component

CLASSES = {"SD3Transformer2DModel": "joint_attention_dim", "SanaTransformer2DModel": "caption_channels"}
"""Class -> the entry of its config that holds the width of its condition."""

TIME_SCALE = 1000.0


@dataclass(frozen=True)
class TransformerParams(Component):
    """An SD3Transformer2DModel or SanaTransformer2DModel, named by `_class_name` in its config."""

    kind: str = "transformer"
    condition_tokens: int = 154
    memory: ClassVar[bool] = False
    blur_tokens: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.get("_class_name") not in CLASSES:
            raise ValueError(f"restorer: _class_name must be one of {', '.join(CLASSES)}")

    @property
    def channels(self) -> int:
        """Of the latent."""
        return int(self.config["in_channels"])

    @property
    def condition_width(self) -> int:
        """Of the condition tokens."""
        return int(self.config[CLASSES[self.config["_class_name"]]])

    @property
    def multiple(self) -> int:
        """Latent sides must be a multiple of this; the restorer pads and crops by itself."""
        return int(self.config.get("patch_size") or 1)


class TransformerRestorer(nn.Module):
    """(z_t, t, condition) -> velocity v = z_1 - z_0; t = 0 is degraded, t = 1 restored."""

    def __init__(self, params: TransformerParams, pretrained: bool = False, folder: Path | None = None) -> None:
        super().__init__()
        self.params = params
        self.transformer = diffusers_component(params, params.torch_dtype, pretrained, folder, "transformer")
        pooled = params.config.get("pooled_projection_dim")
        self.pool = nn.Linear(params.condition_width, int(pooled)) if pooled else None

    def forward(self, latent: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """latent (b, c, h, w), t (b,) in [0, 1], condition (b, n, d) -> velocity (b, c, h, w)."""
        height, width = latent.shape[-2:]
        kind = self.transformer.dtype
        inputs: dict[str, Any] = {
            "hidden_states": pad_to_multiple(latent, self.params.multiple).to(kind),
            "encoder_hidden_states": condition.to(kind),
            "timestep": (1.0 - t) * TIME_SCALE,
        }
        if self.pool is not None:
            inputs["pooled_projections"] = self.pool(condition.mean(dim=1)).to(kind)
        towards_noise = self.transformer(**inputs).sample
        return -towards_noise[..., :height, :width].to(latent.dtype)

    def let_learn(self, on: bool) -> None:
        """Let the whole transformer learn, or nothing of it."""
        self.requires_grad_(on)

    def checkpoint_gradients(self) -> None:
        """Trade compute for memory in training."""
        self.transformer.enable_gradient_checkpointing()

    def save_component(self, folder: Path) -> None:
        """Write the transformer in its public folder form."""
        self.transformer.save_pretrained(folder / "transformer", safe_serialization=True)
