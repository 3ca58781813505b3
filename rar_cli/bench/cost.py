"""Cost: seconds per stage, FLOPs per pixel, and the closed loop beside a disjoint one.

The disjoint loop leaves the latent space in every round, as pipelines of separate tools do: decode to an 8-bit picture,
encode it to assess it, encode it again to restore it. The weights are the same.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rar_cli.engine.engine import Engine, full_range
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.encoding import encode_picture
from rar_cli.pictures.images import Picture, image_to_picture
from rar_cli.types import Plan

REPEATS = 5
ROUNDS = 3


def cost(engine: Engine, image: Tensor) -> dict[str, Any]:
    """Medians after a warm-up for one picture, image (1, 3, h, w) in [0, 1]; seconds and FLOPs."""
    with torch.inference_mode():
        stages = stage_seconds(engine, image)
        loops = {name: median_seconds(partial(loop, engine, image)) for name, loop in LOOPS.items()}
    pixels = image.shape[-1] * image.shape[-2]
    per_round = {name: seconds / ROUNDS for name, seconds in loops.items()}
    return {
        "width": image.shape[-1],
        "height": image.shape[-2],
        "stage_seconds": stages,
        "flops_per_pixel": _flops(engine, image) / pixels,
        "seconds_per_extra_round": per_round,
        "disjoint_over_closed": per_round["disjoint"] / per_round["closed"],
        "peak_mib": peak_mib(engine.device),
    }


def peak_mib(device: torch.device) -> float | None:
    """Peak memory so far in MiB: of the process on the CPU, of the allocator on a GPU. None if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if importlib.util.find_spec("resource") is None:  # Windows
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def stage_seconds(engine: Engine, image: Tensor, repeats: int = REPEATS) -> dict[str, float]:
    """Median seconds of each stage for image (1, 3, h, w) in [0, 1], after one run to warm up."""
    size = (image.shape[-2], image.shape[-1])
    pixels = full_range(image.clone(), torch.uint8)
    picture = image_to_picture(pixels, Picture(pixels[0].permute(1, 2, 0).numpy(), "PNG"))
    data, _ = encode_picture(picture, "PNG")
    latent = engine.encode(image)
    condition = _condition(engine, latent)
    runs: dict[str, Callable[[], object]] = {
        "read": lambda: read_picture(data, "picture"),
        "encode": lambda: engine.encode(image),
        "assess": lambda: _condition(engine, latent),
        "transport": lambda: engine.move(latent, condition),
        "decode": lambda: engine.decode(latent, size, torch.uint8),
        "write": lambda: encode_picture(picture, "PNG"),
    }
    return {stage: median_seconds(run, repeats) for stage, run in runs.items()}


def closed_loop(engine: Engine, image: Tensor) -> Tensor:
    """`ROUNDS` rounds in the latent space, decoded once."""
    begun = engine.encode(image)
    latent = engine.move(begun, _condition(engine, begun))
    for _ in range(ROUNDS - 1):
        latent = engine.move(latent, _condition(engine, latent), begun)
    return engine.decode(latent, (image.shape[-2], image.shape[-1]), torch.uint8)


def disjoint_loop(engine: Engine, image: Tensor) -> Tensor:
    """`ROUNDS` rounds that each go through an 8-bit picture."""
    size = (image.shape[-2], image.shape[-1])
    for _ in range(ROUNDS):
        condition = _condition(engine, engine.encode(image))
        image = engine.decode(engine.move(engine.encode(image), condition), size, torch.uint8)
    return image


def _condition(engine: Engine, latent: Tensor) -> Tensor:
    """For everything, from one assessment of latent (b, c, h, w)."""
    return engine.condition(engine.assess(latent), [Plan()] * len(latent))


LOOPS: dict[str, Callable[[Engine, Tensor], Tensor]] = {"closed": closed_loop, "disjoint": disjoint_loop}


def _flops(engine: Engine, image: Tensor) -> float:
    """FLOPs of one assessed round with encoding and decoding; a multiplication and an addition are two.

    Convolutions count as direct ones, whatever runs without gradients.
    """
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        latent = engine.encode(image)
        moved = engine.move(latent, _condition(engine, latent))
        engine.decode(moved, (image.shape[-2], image.shape[-1]))
    return float(counter.get_total_flops())


def median_seconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of a run, after one to warm up."""
    run()
    seconds = []
    for _ in range(repeats):
        _wait()
        started = time.perf_counter()
        run()
        _wait()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _wait() -> None:
    """Wait for an accelerator, whose calls return before they have computed."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
