"""Training that keeps: what is not focused on is held to what the weights did that the run began with."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from rar_cli.errors import UsageError
from rar_cli.networks.model import Rar
from rar_cli.train.config import Crops, Stage, TrainConfig, load_config, shipped_config
from rar_cli.train.data import Batch, StepBatches
from rar_cli.train.run import TrainRequest, train
from rar_cli.train.stages import let_learn, losses
from rar_cli.train.start import as_begun
from rar_cli.types import DEGRADATIONS, Degradation

CPU = torch.device("cpu")
HAZE = DEGRADATIONS.index(Degradation.HAZE)
STAGE = Stage(
    "land", "restorer", steps=4, loss="log_mse", crops=(Crops(4, 48, 32),), focused=0.5,
    focus=(Degradation.HAZE,), keeps=True, unrolled=0.25, at_zero=0.75,
)  # fmt: skip


def batch_of(stage: Stage, step: int = 0) -> Batch:
    photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return StepBatches([photo], TrainConfig("tiny", (stage,)))[step].to(CPU)


def gradient(model: Rar, batch: Batch, stage: Stage, begun: Rar | None) -> float:
    """Of the restoration alone, largest in size."""
    model.zero_grad()
    losses(model, batch, stage, begun).parts["restoration"].backward()
    return max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)


def test_kept_pictures_are_those_not_focused_on():
    batch = batch_of(STAGE)
    assert batch.kept.tolist() == [2, 3]
    assert (batch.severities[:2, HAZE] > 0).all()
    assert not len(batch_of(replace(STAGE, keeps=False)).kept)


def test_weights_that_are_still_those_of_the_beginning_have_nothing_to_learn_from_kept_pictures(busy):
    begun = copy.deepcopy(busy)
    let_learn(busy)
    stage = replace(STAGE, focused=0.0)
    batch = batch_of(stage)
    assert len(batch.kept) == 4
    truth = gradient(busy, batch, replace(stage, keeps=False), None)
    assert gradient(busy, batch, stage, begun) < 1e-3 * truth
    torch.testing.assert_close(  # and what they lose is counted from the truth
        losses(busy, batch, stage, begun).parts["restoration"],
        losses(busy, batch, replace(stage, keeps=False)).parts["restoration"],
        rtol=1e-3,
        atol=1e-4,
    )
    with torch.no_grad():
        busy.restorer.leave.weight.add_(0.05 * torch.randn_like(busy.restorer.leave.weight))
    assert gradient(busy, batch, stage, begun) > 0.01 * truth  # having moved, they are pulled back


def test_focused_pictures_learn_from_the_truth_all_the_same(busy):
    begun = copy.deepcopy(busy)
    let_learn(busy)
    stage = replace(STAGE, focused=1.0)
    batch = batch_of(stage)
    assert not len(batch.kept)
    assert gradient(busy, batch, stage, begun) == pytest.approx(gradient(busy, batch, stage, None), rel=1e-4)


@pytest.mark.parametrize("keeps", [False, True])
def test_several_windows_of_a_picture_count_as_so_many_batches_with_one_each(busy, keeps):
    begun = copy.deepcopy(busy)
    with torch.no_grad():
        busy.restorer.leave.weight.add_(0.05 * torch.randn_like(busy.restorer.leave.weight))
    stage = replace(STAGE, crops=(Crops(4, 48, 16, windows=2),), keeps=keeps)
    batch = batch_of(stage)
    assert batch.window.shape == (4, 2, 2)
    assert not torch.equal(batch.window[:, 0], batch.window[:, 1])
    both = losses(busy, batch, stage, begun).parts
    apart = [losses(busy, replace(batch, window=batch.window[:, at : at + 1]), stage, begun).parts for at in (0, 1)]
    assert not torch.isclose(apart[0]["restoration"], apart[1]["restoration"], rtol=1e-4)
    for name, part in both.items():
        torch.testing.assert_close(part, (apart[0][name] + apart[1][name]) / 2, rtol=1e-4, atol=1e-5)


def test_windows_are_for_the_restorer_and_at_least_one():
    with pytest.raises(UsageError, match="windows must be at least 1"):
        Crops(4, 48, 16, windows=0)
    with pytest.raises(UsageError, match='stage a: several windows .* kind = "restorer"'):
        Stage("a", "end_to_end", steps=1, crops=(Crops(4, 48, 16, windows=2),))


def test_a_run_that_is_resumed_keeps_to_its_first_weights(tmp_path, busy):
    config, alone = TrainConfig("tiny", (STAGE,)), Accelerator(cpu=True)
    first = as_begun(busy, config, alone, tmp_path / "begun", resume=False)
    other = copy.deepcopy(busy)
    torch.nn.init.normal_(other.restorer.leave.weight)
    again = as_begun(other, config, alone, tmp_path / "begun", resume=True)
    torch.testing.assert_close(again.restorer.leave.weight, first.restorer.leave.weight)
    fresh = as_begun(other, config, alone, tmp_path / "begun", resume=False)  # a new run begins anew
    torch.testing.assert_close(fresh.restorer.leave.weight, other.restorer.leave.weight)
    assert not any(p.requires_grad for p in first.parameters())
    plain = TrainConfig("tiny", (replace(STAGE, keeps=False),))
    assert as_begun(busy, plain, alone, tmp_path / "none", resume=False) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("part", "layer"), [("restorer", "leave.weight"), ("assessor", "score_head.weight")])
def test_a_run_can_teach_one_part_alone(tmp_path, photos_dir, busy, part, layer):
    begun = tmp_path / "begun"
    busy.save(begun)
    stages = (replace(STAGE, steps=2, learning_rate=1e-2),)
    config = TrainConfig("tiny", stages, busy.params, workers=0, learns=part)
    made = Rar.load(train(config, TrainRequest([photos_dir], tmp_path / "out", warm_start=begun), print))
    for name, value in made.state_dict().items():
        was = busy.state_dict()[name].half().float()
        if not name.startswith(f"{part}."):
            torch.testing.assert_close(value, was, rtol=1e-3, atol=1e-6, msg=name)
    name = f"{part}.{layer}"
    assert (made.state_dict()[name] - busy.state_dict()[name]).abs().max() > 1e-4


def test_faults_of_the_config_name_their_cure(tmp_path):
    with pytest.raises(UsageError, match='keeps needs kind = "restorer" and loss = "log_mse"'):
        replace(STAGE, loss="charbonnier")
    with pytest.raises(UsageError, match='detail needs kind = "restorer"'):
        Stage("see", "assessor", 1, detail=1.0)
    with pytest.raises(UsageError, match="detail knows the codec of rar's own alone"):
        replace(load_config(shipped_config("rar-l")), stages=(replace(STAGE, keeps=False, detail=1.0),))
    path = tmp_path / "run.toml"
    path.write_text('name = "x"\nlearns = "codec"\n[[stages]]\nname = "a"\nkind = "restorer"\nsteps = 1\n')
    with pytest.raises(UsageError, match="learns codec is unknown; use all, assessor, restorer"):
        load_config(path)
    with pytest.raises(UsageError, match="stage see trains more than that"):
        TrainConfig("x", (STAGE, Stage("see", "assessor", 1)), learns="restorer")
