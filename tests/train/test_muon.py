"""The optimizer of matrices."""

import copy
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from rar_cli.errors import UsageError
from rar_cli.train.config import load_config
from rar_cli.train.run import TrainRequest, train
from rar_cli.train.run.muon import Muon, _in_turn, matrices_of, orthogonal
from tests.toy import config_file


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_steps_along_orthogonal_matrices_and_as_adamw_elsewhere(dtype):
    model = torch.nn.Sequential(torch.nn.Conv2d(16, 64, 3), torch.nn.Flatten(), torch.nn.Linear(64, 40))
    twin = copy.deepcopy(model)
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0}
    muon = Muon(model.parameters(), matrices_of(model), dtype, **settings)
    adamw = torch.optim.AdamW(twin.parameters(), **settings)
    before = [p.detach().clone() for p in model.parameters()]
    for one, optimizer in ((model, muon), (twin, adamw)):
        one(torch.ones(2, 16, 3, 3)).square().sum().backward()
        for parameter in one.parameters():  # of full rank, as sums over two pictures are not
            parameter.grad += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
    for old, new, other in zip(before, model.parameters(), twin.parameters(), strict=True):
        if old.ndim == 1:
            assert torch.equal(new, other)
            continue
        step = (old - new).detach().flatten(1) / (0.01 * 0.2 * max(old.shape[0], old[0].numel()) ** 0.5)
        singular = torch.linalg.svdvals(step)
        assert 0.6 < singular.min() < singular.max() < 1.3
        assert 0.5 < (old - new).abs().mean() / (0.2 * 0.01) < 1.2
    adamw.load_state_dict(muon.state_dict())


def test_flat_matrices_have_the_same_factors_by_their_squares():
    decay = torch.exp(torch.linspace(0, -9, 40))[:, None]  # singular values over four decades
    turned = torch.linalg.qr(torch.randn(3, 40, 40)).Q @ (decay * torch.randn(3, 40, 400))
    exact = _in_turn(turned.double() / turned.double().norm(dim=(1, 2), keepdim=True))
    assert (orthogonal(turned) - exact).norm() < 1e-3 * exact.norm()
    assert (orthogonal(turned.mT) - exact.mT).norm() < 1e-3 * exact.norm()
    rounded = turned.bfloat16()
    in_turn = _in_turn(rounded / rounded.norm(dim=(1, 2), keepdim=True))
    assert (orthogonal(rounded) - exact).norm() < 1.1 * (in_turn - exact).norm()


@pytest.mark.slow
def test_muon_trains_resumes_and_is_refused_by_shards(photos_dir, tmp_path, monkeypatch):
    config = replace(load_config(config_file(tmp_path, steps=2)), optimizer="muon")
    request = TrainRequest([photos_dir], tmp_path / "run")
    train(config, replace(request, hours=0.0), lambda text: None)
    folder = train(config, replace(request, resume=True), lambda text: None)
    whole = train(config, TrainRequest([photos_dir], tmp_path / "whole"), lambda text: None)
    plain = train(replace(config, optimizer="adamw"), TrainRequest([photos_dir], tmp_path / "adamw"), lambda text: None)
    loaded = [load_file(w / "restorer" / "model.safetensors") for w in (folder, whole, plain)]
    assert all(torch.equal(loaded[0][name], loaded[1][name]) for name in loaded[0])
    assert any(not torch.equal(loaded[0][name], loaded[2][name]) for name in loaded[0])
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(UsageError, match="muon"):
        train(config, TrainRequest([photos_dir], tmp_path / "shards"), lambda text: None)
    with pytest.raises(UsageError, match="adamw or muon"):
        replace(config, optimizer="sgd")
