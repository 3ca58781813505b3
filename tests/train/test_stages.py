"""The round before, of a picture that has one: a plan of the policy, and what the next round begins with."""

from dataclasses import replace

import numpy as np
import torch

from rar_cli.train.config import Crops, Stage, TrainConfig
from rar_cli.train.data import Batch, StepBatches
from rar_cli.train.stages import losses

STAGE = Stage(
    "restore", "restorer", steps=4, loss="log_mse", crops=(Crops(16, 48, 32),), unrolled=0.5, planned=1.0,
    partial=0.0, focused=1.0, focus=("haze+rain", "low_light+noise"), teacher_forcing=(1.0, 1.0),
)  # fmt: skip


def batch_of(stage: Stage) -> Batch:
    photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return StepBatches([photo], TrainConfig("tiny", (stage,)))[0].to(torch.device("cpu"))


def test_a_plan_comes_before_pictures_that_were_unrolled_and_removes_a_part_of_what_is_there():
    batch = batch_of(STAGE)
    planned = batch.planned.nonzero()[:, 0].tolist()
    assert len(planned) == 8  # every one of the unrolled, for all are stacks
    assert sorted(batch.unrolled.tolist()) == planned
    assert not batch.forced[batch.planned].any()  # what is left of each degradation is not known there
    assert batch.forced[~batch.planned].all()
    there = batch.severities > 0
    removed = (there & (batch.first_mask > 0))[batch.planned].sum(1)
    assert ((removed >= 1) & (removed < there[batch.planned].sum(1))).all()


def test_without_plans_the_pictures_are_the_same_and_the_round_before_removes_what_the_next_one_does():
    batch, plain = batch_of(STAGE), batch_of(replace(STAGE, planned=0.0))
    assert torch.equal(plain.first_mask, plain.remove_mask)
    assert not plain.planned.any()
    assert torch.equal(batch.degraded, plain.degraded)
    assert torch.equal(batch.unrolled, plain.unrolled)


def test_the_next_round_begins_with_what_the_plan_left_and_remembers_nothing_older(busy):
    begun = []
    forward = busy.restorer.forward

    def watched(latent, t, condition, origin=None):
        begun.append((latent, origin))
        return forward(latent, t, condition, origin)

    busy.restorer.forward = watched
    window = replace(STAGE, crops=(Crops(16, 48, 48),), at_zero=1.0)
    batch = batch_of(window)
    losses(busy, batch, window)
    latent, origin = begun[-1]  # of the step itself, after the unrolled round
    assert torch.equal(latent[batch.planned], origin[batch.planned])
    encoded = busy.codec.encode(batch.degraded)
    assert not torch.allclose(latent[batch.planned], encoded[batch.planned])
    batch = batch_of(plain := replace(window, planned=0.0))
    losses(busy, batch, plain)
    latent, origin = begun[-1]
    assert torch.equal(origin, encoded)
    assert not torch.allclose(latent[batch.unrolled], origin[batch.unrolled])


def test_severities_that_nobody_knows_teach_nothing(busy):
    batch = batch_of(replace(STAGE, unrolled=1.0))
    assert batch.planned.all()
    assert losses(busy, batch, STAGE).parts["severity"].item() == 0.0
