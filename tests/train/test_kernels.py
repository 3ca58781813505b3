"""Training by rar's own kernels: whole steps lose what they lose by torch alone, to rounding."""

from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState

from rar_cli.compute.native.convolution import NativeConv2d
from rar_cli.compute.native.library import TRAINING, library
from rar_cli.train.config import load_config
from rar_cli.train.run import TrainRequest
from rar_cli.train.run.parts import parts_of
from rar_cli.train.run.steps import Steps
from tests.toy import TOY

STEPS = 6


def learned(photos_dir, tmp_path, precision, kernels):
    """The losses of a few steps of all stages, the run's model and its average, from one seed."""
    AcceleratorState._reset_state(reset_partial_state=True)
    path = tmp_path / "toy.toml"
    text = (
        TOY.format(steps=2, checkpoint=0.0)
        .replace("[8, 8, 8]", "[32, 32, 64]")
        .replace("detail_width = 8", "detail_width = 32")
    )
    path.write_text(text.replace('kind = "restorer"', 'kind = "restorer"\nloss = "log_mse"'))
    config = replace(load_config(path), mixed_precision=precision, optimizer="muon", kernels=kernels)
    parts = parts_of(config, TrainRequest([photos_dir], tmp_path / "run"), print)
    torch.manual_seed(1)
    for parameter in parts.body.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    steps, found = Steps(parts), []
    for number in range(STEPS):
        stage, _ = parts.config.stage_at(number)
        losses = steps(parts.batches[number], stage.name, 1e-3)
        found.append(torch.stack([loss.detach().float() for loss in losses.values()]))
    return found, parts


@pytest.mark.slow
@pytest.mark.skipif(isinstance(library(TRAINING), str), reason=str(library(TRAINING)))
def test_steps_by_the_kernels_lose_what_plain_steps_lose_to_rounding(photos_dir, tmp_path):
    exact, _ = learned(photos_dir, tmp_path, "no", False)
    plain, parts = learned(photos_dir, tmp_path, "bf16", False)
    assert not any(isinstance(part, NativeConv2d) for part in parts.body.modules())
    fast, parts = learned(photos_dir, tmp_path, "bf16", True)
    assert sum(isinstance(part, NativeConv2d) for part in parts.body.modules()) > 8
    assert not any(isinstance(part, NativeConv2d) for part in parts.averaged_model.modules())
    again, _ = learned(photos_dir, tmp_path, "bf16", True)
    for true, known, found, same in zip(exact, plain, fast, again, strict=True):
        assert torch.equal(found, same)
        torch.testing.assert_close(found, known, rtol=0.05, atol=0.01)
        assert (found - true).norm() < 2 * (known - true).norm() + 0.02 * true.norm()
