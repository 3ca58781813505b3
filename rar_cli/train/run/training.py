"""`rar train`: the stages in order, resumable at any step."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rar_cli.errors import UsageError
from rar_cli.train.config import TrainConfig
from rar_cli.train.data import OnEach
from rar_cli.train.run.checkpoint import Checkpoint
from rar_cli.train.run.clock import Clock
from rar_cli.train.run.outcome import write_weights
from rar_cli.train.run.parts import Parts, parts_of
from rar_cli.train.run.record import Record, validation_crops
from rar_cli.train.run.request import Say, TrainRequest
from rar_cli.train.run.steps import Steps, batches_from

AGREE_EVERY = 20
"""Steps after which several processes agree on saving and ending."""


def train(config: TrainConfig, request: TrainRequest, say: Say) -> Path:
    """Train, and return the folder of the averaged weights (`out/weights`).

    Raises KeyboardInterrupt where it is interrupted before the first step, and UsageError where the hours end there.
    """
    clock = Clock(request.hours)
    on_each = _on_the_way(request, clock)
    held_out = validation_crops(request, on_each)
    parts = parts_of(config, request, say, on_each)
    state = Checkpoint(request.out / "checkpoint", parts.accelerator, parts.body, parts.average, parts.optimizer)
    step, clock.before = state.load() if request.resume else (0, 0.0)
    record = Record(parts, request, clock, say)
    record.begin(step, held_out)
    learn, stage_name = Steps(parts), ""
    with closing(batches_from(step, parts)) as batches:
        for batch in batches:
            stage, at = parts.config.stage_at(step)
            stage_name = stage.name
            rate = stage.rate_at(at) * clock.fall(config.landing)
            record.add(learn(batch, stage_name, rate))
            step += 1
            record.step(step, stage_name, rate)
            if request.on_step is not None and record.main:
                request.on_step(step, config.total_steps, f"stage {stage_name}")
            if not _together(parts, step):
                continue
            if parts.agreed(clock.due("checkpoint", config.checkpoint_minutes)):
                state.save(step, clock.seconds())
                write_weights(parts, request.out)
            if clock.due("validate", config.validate_minutes):
                record.validation(step, stage_name)
            if parts.agreed(clock.over() or request.interrupted()):
                break
    state.save(step, clock.seconds())
    if not request.interrupted():
        record.validation(step, stage_name)
    folder = write_weights(parts, request.out)
    record.end(step)
    return folder


def _on_the_way(request: TrainRequest, clock: Clock) -> OnEach:
    """Shows what is read and fitted before the first step. An end there leaves nothing to save."""

    def each(done: int, total: int, what: str) -> None:
        if request.on_step is not None:
            request.on_step(done, total, what)
        if request.interrupted():
            raise KeyboardInterrupt
        if request.hours and clock.over():
            raise UsageError(f"the hours ended before the first step, while {what}: {done} of {total}; allow more")

    return each


def _together(parts: Parts, step: int) -> bool:
    """Whether all processes save and end here: together, and never between two halves of a step."""
    alone = parts.accelerator.num_processes == 1
    return parts.accelerator.sync_gradients and (alone or not step % AGREE_EVERY)
