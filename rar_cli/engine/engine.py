"""Engine: a model on a device. Only the engine knows precision and tiles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from rar_cli.compute.convolutions import quicken
from rar_cli.compute.device import channels_last, pick_device, pick_dtype
from rar_cli.compute.memory import keep_freed
from rar_cli.compute.tiling import by_tiles, by_windows
from rar_cli.engine.finite import require_finite
from rar_cli.engine.inputs import check_options
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.views import moved, moved_back
from rar_cli.errors import UsageError
from rar_cli.loop.transport import SOLVERS, time_grid
from rar_cli.networks.model import Rar
from rar_cli.types import Assessment, Plan
from rar_cli.weights.find import find

OVERLAP_PX = 176
"""Of neighbouring windows; so much lets tiles agree with the whole to 2 grey levels."""
LARGE_PX = 16_000_000
"""Above this, latents stay on the CPU and only tiles visit the device."""


class Engine:
    """A model on a device. Raises UsageError for options that the device or the weights do not have."""

    def __init__(self, model: Rar, options: EngineOptions = EngineOptions()) -> None:
        check_options(options)
        self.options = options
        self.device = pick_device(options.device)
        self.dtype = pick_dtype(options.dtype, self.device)
        self.model = channels_last(model.to(self.device))
        if self.device.type == "cpu":
            keep_freed()
            for name in ("assessor", "restorer"):
                quicken(model.get_submodule(name), self.dtype)
        self.policy = model.policy
        self.times = time_grid(options.steps)
        if options.self_ensemble and not model.codec.linear:
            raise UsageError("self-ensemble: the autoencoder of these weights loses by every view; go without")
        step = self.factor * model.params.restorer.multiple
        self.tile_px = max(options.tile_px // step, 1) * step
        if self.tile_px <= OVERLAP_PX:
            raise UsageError(f"tile {options.tile_px} is too small: it must exceed {OVERLAP_PX} px")

    @property
    def tile(self) -> int:
        """Latent cells along a side of a tile."""
        return self.tile_px // self.factor

    def shrink_tile(self) -> bool:
        """Halve the tile from here on; False if it has the smallest size already."""
        step = self.factor * self.model.params.restorer.multiple
        smaller = self.tile_px // 2 // step * step
        if smaller <= OVERLAP_PX:
            return False
        self.tile_px = smaller
        return True

    @property
    def factor(self) -> int:
        """Pixels per latent cell along a side."""
        return self.model.params.codec.factor

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision of this engine."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def home(self, pixels: int) -> tuple[torch.device, torch.dtype]:
        """Where latents of a picture of so many pixels live: large ones on the CPU, in half precision."""
        return (self.device, torch.float32) if pixels <= LARGE_PX else (torch.device("cpu"), torch.float16)

    def encode(self, image: Tensor) -> Tensor:
        """image (b, 3, h, w), float, clipped to [0, 1], or integer at full range -> latent, tile by tile, exactly."""
        home = self.home(image.shape[-2] * image.shape[-1])

        def tile(part: Tensor) -> Tensor:
            part = unit_range(part.to(self.device, non_blocking=True))
            return self.model.codec.encode(part.contiguous(memory_format=torch.channels_last)).to(*home)

        return by_tiles(tile, image, self.tile_px, self.model.codec.halo_px, (1, self.factor))

    def assess(self, latent: Tensor) -> Assessment:
        """latent -> assessment of the whole picture, whatever its size."""
        with self.autocast():
            assessment: Assessment = self.model.assessor.assess(latent, self.tile)
        require_finite(assessment.score, "the score")
        return assessment

    def condition(self, assessment: Assessment, plans: Sequence[Plan]) -> Tensor:
        """Condition (b, n, d) for each picture's plan."""
        with self.autocast():
            return self.model.condition(assessment, plans)

    def move(self, latent: Tensor, condition: Tensor, origin: Tensor | None = None) -> Tensor:
        """One transport in overlapping windows that share the picture's condition; origin as the model takes it."""

        def window(part: Tensor, begun: Tensor | None = None) -> Tensor:
            part = part.to(self.device, torch.float32)
            begun = None if begun is None else begun.to(self.device, torch.float32)
            end = self._moved(part, condition, begun)
            if self.options.self_ensemble:
                codec = self.model.codec
                other = self._moved(moved(codec, part), condition, None if begun is None else moved(codec, begun))
                end = (end + moved_back(codec, other)) / 2
            return end.to(latent.device, latent.dtype)

        overlap = OVERLAP_PX // self.factor
        return by_windows(window, latent, self.tile, overlap, self.model.params.restorer.multiple, origin)

    def transport(
        self, latent: Tensor, assessment: Assessment, plans: Sequence[Plan], origin: Tensor | None = None
    ) -> Tensor:
        """One round as the loop takes it: condition and move."""
        return self.move(latent, self.condition(assessment, plans), origin)

    def _moved(self, latent: Tensor, condition: Tensor, origin: Tensor | None) -> Tensor:
        solver = SOLVERS[self.options.solver]
        with self.autocast():
            return self.model.move(latent, condition, origin, times=self.times, solver=solver).float()

    def decode(self, latent: Tensor, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> Tensor:
        """latent -> image (b, 3, h, w) on the CPU: float in [0, 1], or an integer type at full range."""

        def tile(part: Tensor) -> Tensor:
            image = self.model.codec.decode(part.to(self.device, torch.float32))
            return full_range(require_finite(image, "the restored picture").clamp_(0.0, 1.0).cpu(), dtype)

        halo = self.model.codec.halo_px // self.factor
        image = by_tiles(tile, latent, self.tile, halo, (self.factor, 1))
        return image[..., : size[0], : size[1]]


def unit_range(image: Tensor) -> Tensor:
    """integers at full range -> [0, 1]; floats are clipped to that, as they would be in a file."""
    if image.is_floating_point():
        return image.clamp(0.0, 1.0)  # trained on files, the restorer undoes what clipping does to the light
    return image.float().div_(torch.iinfo(image.dtype).max)


def full_range(image: Tensor, dtype: torch.dtype) -> Tensor:
    """[0, 1] -> integers at full range, rounded; floats stay."""
    return image if dtype.is_floating_point else image.mul_(torch.iinfo(dtype).max).round_().to(dtype)


def load(name: str = "rar-s", options: EngineOptions = EngineOptions()) -> Engine:
    """An engine from shipped weights or a weights folder, verified. Raises WeightsError, UsageError."""
    return Engine(Rar.load(find(name).folder), options)
