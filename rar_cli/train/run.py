"""`rar train`: the stages in order, resumable at any step; `accelerate` carries devices and processes."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, broadcast_object_list
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Sampler

from rar_cli.compute.device import pick_device, pick_dtype
from rar_cli.compute.memory import keep_freed
from rar_cli.errors import UsageError
from rar_cli.networks.large.assessor import LanguageAssessor
from rar_cli.networks.model import Rar
from rar_cli.train.checkpoint import Checkpoint, model_of
from rar_cli.train.config import TrainConfig
from rar_cli.train.data import Batch, StepBatches, leave_signals_to_the_run, load_photos
from rar_cli.train.graphs import graphs_of
from rar_cli.train.ledger import Ledger
from rar_cli.train.muon import Muon, matrices_of
from rar_cli.train.stages import Losses, losses
from rar_cli.train.start import as_begun, starting_model
from rar_cli.train.validation import VALIDATION_PX, centre_crops, validate
from rar_cli.weights.find import write_manifest

LOG_EVERY = 100
"""Steps between two "step" lines of the ledger."""

AGREE_EVERY = 20
"""Steps after which several processes agree on saving and ending."""

Tensors = tuple[Tensor, ...] | list[Tensor]
LICENCE = "the terms of the photographs it was trained on"

VALIDATION_SPREAD = 16
VALIDATION_PHOTOS = 6
"""Figures while training rest on that many of as many evenly spread held-out photographs: the same ones
since the first run, so that learning curves compare."""


@dataclass(frozen=True)
class TrainRequest:
    """data, valid: folders of photographs. out: where checkpoints, ledger and weights go.

    warm_start: a weights folder to begin from. hours: stop after so many, at a checkpoint. interrupted: asked after
    every step; once true, the run leaves a whole state behind and returns, without measuring what it learned.
    """

    data: Sequence[Path]
    out: Path
    valid: Sequence[Path] = ()
    warm_start: Path | None = None
    resume: bool = False
    hours: float | None = None
    interrupted: Callable[[], bool] = lambda: False


class _Training(nn.Module):
    """The model behind one `forward`, so that `accelerate` can wrap it for many processes."""

    def __init__(self, model: Rar, begun: Rar | None = None) -> None:
        super().__init__()
        self.model = model
        self.begun = (begun,)  # no part of the module: it neither learns nor is saved with every checkpoint
        # What shards are gathered by: the layers that the public components name, where they are there.
        named = {name for part in model.modules() for name in getattr(part, "_no_split_modules", None) or ()}
        self._no_split_modules = sorted(named & {type(part).__name__ for part in model.modules()})

    def forward(self, batch: Batch, stage_name: str, config: TrainConfig) -> Losses:
        stage = next(s for s in config.stages if s.name == stage_name)
        return losses(self.model, batch, stage, *self.begun)


class _From(Sampler[int]):
    """Steps in order, from where the run stands."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last))

    def __len__(self) -> int:
        return self.last - self.first


def train(config: TrainConfig, request: TrainRequest, say: Callable[[str], None]) -> Path:
    """Train, and return the folder of the averaged weights (`out/weights`)."""
    # 1. data and model
    config = replace(config, mixed_precision=_precision(config))
    # Every stage leaves some parts out, so the processes must agree on what has a gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.accumulate,
        kwargs_handlers=[unused],
    )
    _shard_as_it_is(getattr(accelerator.state, "fsdp_plugin", None))
    if accelerator.device.type == "cpu":
        keep_freed()
    torch.manual_seed(config.seed)
    photos = load_photos(request.data, min(c.context_px for s in config.stages for c in s.crops))
    known = model_of(request.out / "checkpoint") if request.resume else None
    model = starting_model(config, request.warm_start, photos, known)
    config = replace(config, model=model.params)
    average = _averaged(model, config.average_decay) if config.average_decay else None
    body = _Training(model, as_begun(model, config, accelerator, request.out / "begun", request.resume))
    if accelerator.distributed_type is not DistributedType.FSDP:  # which shards contiguous tensors alone
        body = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    body, optimizer = accelerator.prepare(body, _optimizer(body, config, accelerator))
    if average is not None:
        average.module.to(accelerator.device)  # its counter stays: asking a device for it means waiting
    # 2. resume
    state = Checkpoint(request.out / "checkpoint", accelerator, body, average, optimizer)
    step, seconds = state.load() if request.resume else (0, 0.0)
    ledger = Ledger(request.out / "training.jsonl")
    if accelerator.is_main_process:
        ledger.write("begin", step=step, seconds=seconds, photos=len(photos), config=_plain(config))
    crops = _validation_crops(request, accelerator.device)
    measured = average if accelerator.is_main_process else None
    # 3. steps
    batches = DataLoader(
        StepBatches(photos, config, accelerator.process_index),
        batch_size=None,
        sampler=_From(step, config.total_steps),
        num_workers=config.workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=leave_signals_to_the_run,
    )
    # The CPU's flash kernel takes many times as long as plain products for so few tokens in bfloat16.
    plain = partial(sdpa_kernel, SDPBackend.MATH) if accelerator.device.type == "cpu" else nullcontext

    def forward_and_back(batch: Batch, stage_name: str) -> Losses:
        with plain():  # going back as well, where checkpointed layers run once more
            with accelerator.autocast():
                found = body(batch, stage_name, config)
            accelerator.backward(found.total)
        return found

    graphs = graphs_of(config, accelerator, forward_and_back, body)
    clock = _Clock(seconds, request.hours)
    sums: dict[str, Tensor] = {}
    norm = torch.zeros((), device=accelerator.device)
    seen = 0
    stage_name = ""
    for batch in batches:
        stage, at = config.stage_at(step)
        stage_name = stage.name
        rate = stage.rate_at(at) * clock.fall(config.landing)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.accumulate(body):
            if graphs is not None:
                found = graphs(batch, stage.name)
            else:
                found = forward_and_back(batch.to(accelerator.device), stage.name)
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(body.parameters(), config.clip_norm)
                if torch.isfinite(norm):
                    optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if average is not None:
                    average.update_parameters(accelerator.unwrap_model(body).model)
        step += 1
        seen += 1
        for name, value in {**found.parts, "grad_norm": norm}.items():
            sums[name] = sums.get(name, torch.zeros((), device=accelerator.device)) + value.detach()
        # 4. the record
        if accelerator.is_main_process and (step % LOG_EVERY == 0 or step == config.total_steps):
            parts = {k: float(v) / seen for k, v in sums.items()}
            ledger.write(
                "step", step=step, stage=stage.name, seconds=clock.seconds(), lr=rate,
                samples=config.samples_before(step), losses=parts,
            )  # fmt: skip
            say(
                f"step {step} {stage.name} {clock.seconds():.0f} s "
                + " ".join(f"{k}={v:.4f}" for k, v in parts.items())
            )
            sums, seen = {}, 0
        if not accelerator.sync_gradients or (accelerator.num_processes > 1 and step % AGREE_EVERY):
            continue  # what follows is done by all processes together, and never between two halves of a step
        if _agreed(accelerator, clock.due("checkpoint", config.checkpoint_minutes)):
            state.save(step, clock.seconds())
            _weights(state, config, request)
        if measured and crops is not None and clock.due("validate", config.validate_minutes):
            _validate(measured, crops, ledger, step, stage.name, clock.seconds(), say)
        if _agreed(accelerator, clock.over() or request.interrupted()):
            break
    # 5. leave a whole state behind
    state.save(step, clock.seconds())
    if measured and crops is not None and not request.interrupted():
        _validate(measured, crops, ledger, step, stage_name, clock.seconds(), say)
    folder = _weights(state, config, request)
    if accelerator.is_main_process:  # last of all: who waits for it finds everything in place
        ledger.write("end", step=step, seconds=clock.seconds(), finished=step >= config.total_steps)
    return folder


def _precision(config: TrainConfig) -> Literal["no", "bf16", "fp16"]:
    """What the config names; auto is what restoring takes on the device that is there."""
    if config.mixed_precision != "auto":
        return config.mixed_precision
    return "bf16" if pick_dtype("auto", pick_device("auto")) == torch.bfloat16 else "no"


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


def _shard_as_it_is(plugin: FullyShardedDataParallelPlugin | None) -> None:
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


def _agreed(accelerator: Accelerator, decision: bool) -> bool:
    """The main process's decision, known to all: clocks differ, and a save or an end takes everybody."""
    if accelerator.num_processes == 1:
        return decision
    return bool(broadcast_object_list([decision])[0])


class _Clock:
    """Seconds of training over all pieces, and what is due."""

    def __init__(self, before: float, hours: float | None) -> None:
        self.before, self.hours = before, hours
        self.start = time.monotonic()
        self.last: dict[str, float] = {}

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def due(self, what: str, minutes: float) -> bool:
        now = time.monotonic()
        if now - self.last.setdefault(what, self.start) < minutes * 60:
            return False
        self.last[what] = now
        return True

    def fall(self, landing: float) -> float:
        """What is left, in [0, 1], of the share `landing` of the hours, at their end; 1 where there is no end."""
        if self.hours is None or not landing:
            return 1.0
        left = 1.0 - (time.monotonic() - self.start) / (self.hours * 3600)
        return min(max(left, 0.0) / landing, 1.0)

    def over(self) -> bool:
        return self.hours is not None and time.monotonic() - self.start > self.hours * 3600


def _averaged(model: Rar, decay: float) -> AveragedModel:
    """Exponential moving average whose memory grows with the run up to `decay`."""

    def update(means: Tensors, now: Tensors, _: Tensor | int) -> None:
        count = float(average.n_averaged)  # not the one that is handed over: that is on the device
        torch._foreach_lerp_(means, now, 1.0 - min(decay, (1.0 + count) / (10.0 + count)))

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=False)
    return average


def _averaged_model(average: AveragedModel) -> Rar:
    """The averaged copy inside torch's wrapper."""
    return cast(Rar, average.module)


def _weights(state: Checkpoint, config: TrainConfig, request: TrainRequest) -> Path:
    """The averaged weights (else the last ones) in half precision with their manifest, swapped in whole."""
    folder, fresh, old = (request.out / name for name in ("weights", "weights.part", "weights.old"))
    model: Rar | None
    if state.average is not None:
        model = _averaged_model(state.average)
    else:
        tensors = state.accelerator.get_state_dict(state.body)  # whole, on the main process
        model = _gathered(config, tensors) if state.accelerator.is_main_process else None
    if model is not None and state.accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
        model.save(fresh, torch.float16)
        write_manifest(fresh, config.name, LICENCE, "trained by `rar train`; see training.jsonl")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _gathered(config: TrainConfig, tensors: Mapping[str, Tensor]) -> Rar:
    """A model on the CPU from the state of the one that was trained, perhaps in shards."""
    model = Rar(config.model)
    if isinstance(model.assessor, LanguageAssessor):
        model.assessor.add_lora()
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items()})
    return model


def _validation_crops(request: TrainRequest, device: torch.device) -> Tensor | None:
    if not request.valid:
        return None
    photos = load_photos(request.valid, VALIDATION_PX)
    chosen = photos[:: max(len(photos) // VALIDATION_SPREAD, 1)][:VALIDATION_SPREAD]
    random.Random(0).shuffle(chosen)
    return centre_crops(chosen[:VALIDATION_PHOTOS], VALIDATION_PX).to(device)


def _validate(
    average: AveragedModel,
    crops: Tensor,
    ledger: Ledger,
    step: int,
    stage: str,
    seconds: float,
    say: Callable[[str], None],
) -> None:
    model = _averaged_model(average).eval()
    table = validate(model, crops)
    ledger.write("validation", step=step, stage=stage, seconds=seconds, psnr_db=table)
    say(f"validation at {step}: " + ", ".join(f"{k} {a:.1f}>{b:.1f}>{c:.1f}" for k, (a, b, c) in table.items()))
    model.train()


def _plain(config: TrainConfig) -> dict[str, object]:
    return json.loads(json.dumps(asdict(config)))
