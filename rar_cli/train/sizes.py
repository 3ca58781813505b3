"""What a training config needs: parameters, memory and FLOPs of the true sizes, without allocating them.

Everything runs on torch's `meta` device, which knows shapes alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from rar_cli.networks.model import PARTS, Rar
from rar_cli.train.config import TrainConfig
from rar_cli.train.stages import let_learn

GIB = 2**30

PICTURE_PX = 1024

GPUS = ((24, "24 GB (RTX 4090)"), (48, "48 GB (L40S)"), (80, "80 GB (A100, H100)"), (141, "141 GB (H200)"))
"""Memory in GiB -> the usual card that has it."""

OVERHEAD = 1.2
"""Beside weights: activations of one tile, the CUDA context, fragmentation."""


@dataclass(frozen=True)
class Part:
    """parameters, trained: counts. gib: of its weights in the type they are kept in. gflops: of one round."""

    name: str
    parameters: int
    trained: int
    gib: float
    gflops: float


@dataclass(frozen=True)
class Sizes:
    """inference_gib: weights and room to work. training_gib: with gradients, both moments of Adam, the average and the
    model at the start where a stage keeps to it.
    disjoint_over_closed: FLOPs of a round that decodes, assesses pixels and encodes again, beside a round in the
    latent space."""

    parts: tuple[Part, ...]
    inference_gib: float
    training_gib: float
    disjoint_over_closed: float

    @property
    def inference_gpu(self) -> str:
        """The smallest usual GPU that restores."""
        return _gpu(self.inference_gib)

    @property
    def training_gpu(self) -> str:
        """What training needs in one piece, or how many of the largest to shard over."""
        return _gpu(self.training_gib)


def sizes(config: TrainConfig, side_px: int = PICTURE_PX) -> Sizes:
    """Count on the `meta` device; FLOPs are those of one round of a picture of side_px x side_px."""
    with torch.device("meta"):
        model = Rar(config.model).requires_grad_(False)
    with torch.inference_mode():
        flops = _flops(model, side_px)
    model.assessor.add_lora()
    let_learn(model, config.learns)
    parts = []
    for name in PARTS:
        named = dict(getattr(model, name).named_parameters())
        count = sum(p.numel() for p in named.values())
        trained = sum(p.numel() for p in named.values() if p.requires_grad)
        gib = sum(p.numel() * p.element_size() for p in named.values()) / GIB
        parts.append(Part(name, count, trained, gib, sum(flops[name]) / 1e9))
    weights = sum(part.gib for part in parts)
    trained = sum(part.trained for part in parts)
    state = trained * 4 * 3 / GIB  # gradient and two moments in float32
    # the mean, and the model at the start
    copies = bool(config.average_decay) + any(stage.keeps for stage in config.stages)
    encode, decode = flops["codec"]
    closed = sum(flops["assessor"] + flops["restorer"])
    disjoint = (closed + decode + 2 * encode) / closed  # two tools, each of which encodes
    return Sizes(tuple(parts), weights * OVERHEAD, (weights * (1 + copies) + state) * OVERHEAD, disjoint)


def _flops(model: Rar, side_px: int) -> dict[str, tuple[float, ...]]:
    """Of each part's calls in a round: the codec encodes and decodes, the others are called once."""
    image = torch.empty(1, 3, side_px, side_px, device="meta")
    found: dict[str, tuple[float, ...]] = {}
    with FlopCounterMode(display=False) as encoder:
        latent = model.codec.encode(image)
    with FlopCounterMode(display=False) as decoder:
        model.codec.decode(latent)
    found["codec"] = (float(encoder.get_total_flops()), float(decoder.get_total_flops()))
    with FlopCounterMode(display=False) as assessor:
        condition = model.assessor(latent).condition
    found["assessor"] = (float(assessor.get_total_flops()),)
    with FlopCounterMode(display=False) as restorer:
        model.move(latent, condition)
    found["restorer"] = (float(restorer.get_total_flops()),)
    return found


def _gpu(gib: float) -> str:
    for memory, name in GPUS:
        if gib <= memory:
            return name
    count = -(-gib // GPUS[2][0])
    return f"{int(count)} x {GPUS[2][1]}, sharded"
