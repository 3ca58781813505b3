"""The parts of a run on its devices: photographs, model, optimizer, average. `accelerate` handles several processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, broadcast_object_list
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rar_cli.compute.device import channels_last, pick_device, pick_dtype
from rar_cli.compute.memory import keep_freed
from rar_cli.compute.native.library import TRAINING, library
from rar_cli.compute.native.speed import speed_up_training
from rar_cli.errors import UsageError
from rar_cli.networks.model import Rar
from rar_cli.train.config import TrainConfig
from rar_cli.train.data import Batch, OnEach, StepBatches, load_photos, unseen
from rar_cli.train.run.checkpoint import model_of
from rar_cli.train.run.muon import Muon, matrices_of
from rar_cli.train.run.request import Say, TrainRequest
from rar_cli.train.stages import Losses, losses
from rar_cli.train.start import as_begun, starting_model

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Parts:
    """config: with the model that is trained. photos: how many there are. batches: what they give. body, optimizer:
    as `accelerator` prepared them. average: None where nothing is averaged."""

    config: TrainConfig
    accelerator: Accelerator
    photos: int
    batches: StepBatches
    body: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None

    @property
    def averaged_model(self) -> Rar | None:
        """The averaged copy inside torch's wrapper."""
        return None if self.average is None else cast(Rar, self.average.module)

    def agreed(self, decision: bool) -> bool:
        """The main process's decision, known to all: clocks differ, and a save or an end takes everybody."""
        if self.accelerator.num_processes == 1:
            return decision
        return bool(broadcast_object_list([decision])[0])


class Body(nn.Module):
    """The model behind one `forward`, so that `accelerate` can wrap it for many processes."""

    def __init__(self, model: Rar, begun: Rar | None = None) -> None:
        super().__init__()
        self.model = model
        self.begun = (begun,)  # no part of the module: it neither learns nor is saved with every checkpoint
        # What shards are gathered by: the layers that the public components name, where they are there.
        named = {name for part in model.modules() for name in getattr(part, "_no_split_modules", None) or ()}
        self._no_split_modules = sorted(named & {type(part).__name__ for part in model.modules()})

    def forward(self, batch: Batch, stage_name: str, config: TrainConfig) -> Losses:
        """The losses of a step of that stage."""
        stage = next(s for s in config.stages if s.name == stage_name)
        return losses(self.model, batch, stage, *self.begun)


def parts_of(config: TrainConfig, request: TrainRequest, say: Say, on_each: OnEach = unseen) -> Parts:
    """Photographs read, model begun or known from the run that is resumed, everything on its devices."""
    config = replace(config, mixed_precision=precision(config))
    accelerator = _accelerator(config)
    torch.manual_seed(config.seed)
    least_px = min(crops.context_px for stage in config.stages for crops in stage.crops)
    photos = load_photos(request.data, least_px, say if accelerator.is_main_process else None, on_each)
    batches = StepBatches(photos, config, accelerator.process_index)  # photographs too small are said before any fit
    known = model_of(request.out / "checkpoint") if request.resume else None
    model = starting_model(config, request.warm_start, photos, known, on_each)
    config = replace(config, model=model.params)
    average = _averaged(model, config.average_decay) if config.average_decay else None
    body: nn.Module = Body(model, as_begun(model, config, accelerator, request.out / "begun", request.resume))
    if accelerator.distributed_type is not DistributedType.FSDP:  # which shards contiguous tensors alone
        body = channels_last(body)
        if config.kernels:
            _take_kernels(model, accelerator, say)
    body, optimizer = accelerator.prepare(body, _optimizer(body, config, accelerator))
    if average is not None:
        average.module.to(accelerator.device)  # its counter stays: asking a device for it means waiting
    return Parts(config, accelerator, len(photos), batches, body, optimizer, average)


def precision(config: TrainConfig) -> Literal["no", "bf16", "fp16"]:
    """What the config names; auto is what restoring takes on the device that is there."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    return "bf16" if pick_dtype("auto", pick_device("auto")) == torch.bfloat16 else "no"


def _accelerator(config: TrainConfig) -> Accelerator:
    # Every stage leaves some parts out, so the processes must agree on what has a gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulate,
        kwargs_handlers=[unused],
    )
    shard_as_it_is(getattr(accelerator.state, "fsdp_plugin", None))
    if accelerator.device.type == "cpu":
        keep_freed()
    return accelerator


def shard_as_it_is(plugin: FullyShardedDataParallelPlugin | None) -> None:
    """Autocast casts what a sharded model computes with, and every process reads the weights: cast at the door,
    the truth that losses compare with would be rounded, and buffers (SD3's positions) cannot be sent around."""
    if plugin is None:
        return
    if plugin.fsdp_version != 2:
        raise UsageError("shards of FSDP's first kind are not supported; pass --fsdp_version 2 to accelerate launch")
    plugin.cpu_ram_efficient_loading = False
    if plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = replace(
            plugin.mixed_precision_policy, cast_forward_inputs=False, output_dtype=None
        )


def _take_kernels(model: Rar, accelerator: Accelerator, say: Say) -> None:
    """Let the convolutions learn by rar's kernels where the processor suits them, and say where they are missed."""
    if accelerator.device.type != "cpu" or accelerator.mixed_precision != "bf16":
        return
    found = library(TRAINING)
    if not isinstance(found, str):
        speed_up_training(model)
    elif accelerator.is_main_process:
        say(f"trains without rar's own kernels: {found}")


def _optimizer(body: nn.Module, config: TrainConfig, accelerator: Accelerator) -> torch.optim.Optimizer:
    """What the config names, over all parameters; the stages give the learning rate."""
    adamw: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": config.weight_decay}
    sharded = accelerator.distributed_type is DistributedType.FSDP
    if config.optimizer == "adamw":
        return torch.optim.AdamW(body.parameters(), fused=not sharded, **adamw)
    if sharded:
        raise UsageError('optimizer muon: needs whole matrices, which shards are not; set optimizer = "adamw"')
    dtype = torch.bfloat16 if config.mixed_precision == "bf16" else torch.float32
    return Muon(body.parameters(), matrices_of(body), dtype, fused=True, **adamw)


def _averaged(model: Rar, decay: float) -> AveragedModel:
    """Exponential moving average whose memory grows with the run up to `decay`."""

    def update(means: Tensors, now: Tensors, _: Tensor | int) -> None:
        count = float(average.n_averaged)  # not the one that is handed over: that is on the device
        torch._foreach_lerp_(means, now, 1.0 - min(decay, (1.0 + count) / (10.0 + count)))

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=False)
    return average
