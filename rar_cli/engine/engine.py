"""The main path of one batch: encode -> repeat(assess, verdict, transport) -> decode.

`Engine` is the model on a device: it knows precision, tiles and steps, so that nothing else has to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from rar_cli.compute.memory import keep_freed
from rar_cli.compute.tiling import by_tiles, by_windows
from rar_cli.compute.winograd import speed_up, winograd_wins
from rar_cli.engine.canvas import Canvas, canvas_of
from rar_cli.engine.finite import require_finite
from rar_cli.engine.grain import NOISE, Grain, stays
from rar_cli.engine.inputs import check_image, check_mask, check_options
from rar_cli.engine.tone import Tone
from rar_cli.engine.views import moved, moved_back
from rar_cli.errors import UsageError
from rar_cli.loop.rounds import Assess, Move, Pass, rounds, settle
from rar_cli.loop.transport import time_grid
from rar_cli.networks.codec import Codec
from rar_cli.networks.model import Rar
from rar_cli.types import DEGRADATIONS, TILE_PX, Assessment, Degradation, Restoration, StopPolicy
from rar_cli.weights.find import find

OVERLAP_PX = 176
"""Of neighbouring windows; so much lets tiles agree with the whole to 2 grey levels."""
LARGE_PX = 16_000_000
"""Above this, latents stay on the CPU and only tiles visit the device."""


@dataclass(frozen=True)
class Outcome:
    """One restored picture. image: (1, 3, h, w) on the CPU, None where the input is kept.

    images: every round's picture where asked for, round 1 first.
    """

    restoration: Restoration
    image: Tensor | None
    images: tuple[Tensor, ...] = ()


class Engine:
    """A model on a device with a precision, a tile size and a number of solver steps.

    self_ensemble: every round is the mean of two views of the picture; better, at twice the price.
    """

    def __init__(
        self,
        model: Rar,
        device: str = "auto",
        dtype: str = "auto",
        tile_px: int = TILE_PX,
        steps: int = 1,
        self_ensemble: bool = False,
    ) -> None:
        check_options(tile_px, steps)
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            keep_freed()
        if self.device.type == "cpu" and self.dtype == torch.float32 and winograd_wins():
            speed_up(model.assessor)
            speed_up(model.restorer)
        self.policy = model.policy
        self.times = time_grid(steps)
        if self_ensemble and not isinstance(model.codec, Codec):
            raise UsageError("--self-ensemble: the autoencoder of these weights loses by every view; go without")
        self.self_ensemble = self_ensemble
        factor = model.params.codec.factor
        step = factor * model.params.restorer.multiple
        self.tile_px = max(tile_px // step, 1) * step
        if self.tile_px <= OVERLAP_PX:
            raise UsageError(f"--tile {tile_px} is too small: it must exceed {OVERLAP_PX} px")

    def shrink_tile(self) -> bool:
        """Halve the tile for all that follows; False where it is as small as it gets."""
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

    def assess(self, latent: Tensor, remove_mask: Tensor | None = None) -> Assessment:
        """latent -> Assessment of the whole picture, whatever its size; remove_mask as the assessor takes it."""
        with self.autocast():
            seen = self.model.assessor(latent, remove_mask=remove_mask, tile=self.tile_px // self.factor)
        require_finite(seen.score, "the score")
        return seen

    def move(self, latent: Tensor, condition: Tensor, origin: Tensor | None = None) -> Tensor:
        """One round's transport in overlapping windows that share the picture's condition; origin as the model
        takes it."""

        def window(*parts: Tensor) -> Tensor:
            part, *begun = (each.to(self.device, torch.float32) for each in parts)
            end = self._moved(part, condition, *begun)
            if self.self_ensemble:
                codec = self.model.codec
                other = self._moved(moved(codec, part), condition, *(moved(codec, each) for each in begun))
                end = (end + moved_back(codec, other)) / 2
            return end.to(latent.device, latent.dtype)

        tile, overlap = self.tile_px // self.factor, OVERLAP_PX // self.factor
        return by_windows(window, latent, tile, overlap, self.model.params.restorer.multiple, origin)

    def for_the_loop(self, remove_mask: Tensor | None) -> tuple[Assess, Move]:
        """Assess and move as the loop takes them, for what is to be removed, (9,)."""
        assess: Assess = self.assess
        move: Move = self.move
        if isinstance(self.model.codec, Codec):
            tone = Tone(self.model.codec, assess, move, self.tile_px // self.factor, self.device)
            assess, move = tone.assess, tone.move
        if stays(remove_mask):
            grain = Grain(assess, move, self.policy.clear_severities(0)[NOISE])
            assess, move = grain.assess, grain.move
        return assess, move

    def _moved(self, *told: Tensor) -> Tensor:
        with self.autocast():
            return self.model.move(*told, times=self.times).float()

    def decode(self, latent: Tensor, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> Tensor:
        """latent -> image (b, 3, h, w) on the CPU: float in [0, 1], or an integer type at full range."""

        def tile(part: Tensor) -> Tensor:
            image = self.model.codec.decode(part.to(self.device, torch.float32))
            return full_range(require_finite(image, "the restored picture").clamp_(0.0, 1.0).cpu(), dtype)

        halo = self.model.codec.halo_px // self.factor
        image = by_tiles(tile, latent, self.tile_px // self.factor, halo, (self.factor, 1))
        return image[..., : size[0], : size[1]]


def unit_range(image: Tensor) -> Tensor:
    """integers at full range -> [0, 1]; floats are clipped to that, as they would be in a file."""
    if image.is_floating_point():
        return image.clamp(0.0, 1.0)  # trained on files, the restorer undoes what clipping does to the light
    return image.float().div_(torch.iinfo(image.dtype).max)


def full_range(image: Tensor, dtype: torch.dtype) -> Tensor:
    """[0, 1] -> integers at full range, rounded; floats stay."""
    return image if dtype.is_floating_point else image.mul_(torch.iinfo(dtype).max).round_().to(dtype)


def load(
    name: str = "rar-s",
    device: str = "auto",
    dtype: str = "auto",
    tile_px: int = TILE_PX,
    steps: int = 1,
    self_ensemble: bool = False,
) -> Engine:
    """An engine from shipped weights or a weights folder, verified. Raises WeightsError, UsageError."""
    return Engine(Rar.load(find(name).folder), device, dtype, tile_px, steps, self_ensemble)


def restore(
    engine: Engine,
    image: Tensor,
    policy: StopPolicy | None = None,
    remove_mask: Tensor | None = None,
    keep_rounds: bool = False,
    on_pass: Callable[[Pass], None] | None = None,
    whole: bool = False,
) -> tuple[Outcome, ...]:
    """Restore a batch, image (b, 3, h, w): encoded once, decoded once per picture. A border of one colour stays.

    image: float in [0, 1], or uint8 or uint16 at full range; outcomes come in the same type.
    policy: when to stop, by default as fitted with the weights. remove_mask: (9,), see `mask_of`.
    keep_rounds: decode every round too (for looking; the one case of more than one decode).
    on_pass: told of each round as soon as it is judged. whole: nothing is a border, and the networks see the picture
    from its corner, wherever its blocks of compression begin.
    """
    check_mask(remove_mask)
    size = (check_image(image).shape[-2], image.shape[-1])
    if not whole:
        canvases = [canvas_of(each) for each in image]
        if any(canvas != Canvas(0, size[0], 0, size[1]) for canvas in canvases):
            return _on_canvases(canvases, engine, image, policy, remove_mask, keep_rounds, on_pass)
    with torch.inference_mode():
        mask = None if remove_mask is None else remove_mask.to(engine.device)
        stop = policy or engine.policy
        # The loop alone holds the latent, and nobody the picture: of a large one, that is all that fits.
        kind = image.dtype
        passes: Iterable[Pass] = rounds(*engine.for_the_loop(remove_mask), engine.encode(image), stop, mask)
        del image
        if on_pass is not None:
            passes = _told(passes, on_pass)
        seen: dict[int, list[Tensor]] = {}
        if keep_rounds:
            passes = list(passes)
            for step in passes[1:]:
                for place, picture in enumerate(step.pictures):
                    one = step.latent[place : place + 1]
                    seen.setdefault(picture, []).append(engine.decode(one, size, kind))
        outcomes = []
        for i, kept in enumerate(settle(iter(passes))):
            decoded = None if kept.best_round == 0 else engine.decode(kept.latent, size, kind)
            slim = replace(kept, latent=kept.latent[..., :0, :0])  # do not hold on to the memory
            outcomes.append(Outcome(slim, decoded, tuple(seen.get(i, ()))))
        return tuple(outcomes)


def _on_canvases(
    canvases: Sequence[Canvas],
    engine: Engine,
    image: Tensor,
    policy: StopPolicy | None,
    remove_mask: Tensor | None,
    keep_rounds: bool,
    on_pass: Callable[[Pass], None] | None,
) -> tuple[Outcome, ...]:
    """`restore` of what the networks are to see, where that is not all; alike canvases as one batch."""
    found: dict[int, Outcome] = {}
    for canvas in dict.fromkeys(canvases):
        members = [at for at, each in enumerate(canvases) if each == canvas]
        tell = None if on_pass is None else partial(_tell_of, on_pass, members)
        # Only `restore` holds what is seen, so that it can let go of it once it is encoded.
        outcomes = restore(
            engine,
            torch.cat([canvas.of(image[at : at + 1]) for at in members]),
            policy, remove_mask, keep_rounds, tell, whole=True,
        )  # fmt: skip
        for at, outcome in zip(members, outcomes, strict=True):
            picture = image[at : at + 1]
            found[at] = replace(
                outcome,
                image=None if outcome.image is None else canvas.put_back(outcome.image, picture),
                images=tuple(canvas.put_back(each, picture) for each in outcome.images),
            )
    return tuple(found[at] for at in range(len(canvases)))


def _tell_of(on_pass: Callable[[Pass], None], members: Sequence[int], step: Pass) -> None:
    """Tell of a round of some pictures of a batch, by their places in all of it."""
    on_pass(replace(step, pictures=tuple(members[at] for at in step.pictures)))


def _told(passes: Iterable[Pass], on_pass: Callable[[Pass], None]) -> Iterator[Pass]:
    for step in passes:
        on_pass(step)
        yield step


def assess(engine: Engine, image: Tensor) -> Assessment:
    """Assess a picture, image (1, 3, h, w), as `restore` takes it, without restoring it: what a border leaves of it."""
    check_image(image, most=1)
    with torch.inference_mode():
        return engine.assess(engine.encode(canvas_of(image[0]).of(image)))


def mask_of(only: Sequence[Degradation], keep: Sequence[Degradation]) -> Tensor | None:
    """(9,) with 1 for what is to be removed: just `only`, or all but `keep`; None for everything."""
    if only and keep:
        raise UsageError("--only and --keep exclude each other: give one of them")
    if only:
        return torch.tensor([float(d in only) for d in DEGRADATIONS])
    if keep:
        return torch.tensor([float(d not in keep) for d in DEGRADATIONS])
    return None


def pick_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:i or mps -> device. Raises UsageError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in {"cpu", "cuda", "mps"}:
            raise ValueError(device.type)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise UsageError(f"--device {name}: not available here; use auto, cpu, cuda, cuda:0 or mps") from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """auto, float32, bfloat16 or float16 -> dtype; auto is bfloat16 where the hardware has it."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
        return torch.bfloat16 if native and device.type != "mps" else torch.float32
    if not isinstance(name, str) or name not in known:
        raise UsageError(f"--dtype {name}: use auto, {', '.join(known)}")
    if name == "float16" and device.type == "cpu":
        raise UsageError("--dtype float16: not on the CPU; use float32 or bfloat16")
    return known[name]


def _cpu_has_bfloat16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
