"""What training minimises."""

import math

import pytest
import torch

from rar_cli.networks.codec import Codec, CodecParams
from rar_cli.networks.model import Rar
from rar_cli.train.config import load_config
from rar_cli.train.data import StepBatches, load_photos
from rar_cli.train.losses import RESTORATION_LOSSES, log_detail, log_mse, mse_to_psnr, psnr_to_score, ranking_loss
from rar_cli.train.stages import losses
from tests.toy import config_file


def test_psnr_in_the_latent_is_psnr_of_the_picture(tiny):
    clean = torch.rand(2, 3, 32, 32)
    degraded = clean + 0.1 * torch.randn_like(clean)
    mse = tiny.codec.mse(tiny.codec.encode(degraded), tiny.codec.encode(clean))
    # `scale` has a floor, so the latent is not quite orthonormal in almost empty channels
    torch.testing.assert_close(mse, (degraded - clean).square().mean(dim=(1, 2, 3)), rtol=0.02, atol=0)
    assert psnr_to_score(mse_to_psnr(torch.tensor([1.0, 1e-10]))).tolist() == [0.0, 100.0]


def test_losses_fall_towards_the_truth():
    scale = torch.ones(3)
    z = torch.randn(2, 3, 4, 4)
    for loss in RESTORATION_LOSSES.values():
        assert loss(z, z, scale) < loss(z + 0.1, z, scale) < loss(z + 1, z, scale)
    # a decibel counts the same for large errors and small ones
    steps = [log_mse(z + far, z, scale) - log_mse(z + far / 2, z, scale) for far in (1.0, 0.1)]
    torch.testing.assert_close(steps[0], steps[1], rtol=0.01, atol=0)
    better = torch.tensor([5.0])
    assert ranking_loss(better, torch.tensor([3.0])) < ranking_loss(-better, torch.tensor([3.0]))
    assert ranking_loss(better, torch.tensor([-3.0])) > ranking_loss(-better, torch.tensor([-3.0]))


def test_wrong_light_does_not_hide_a_weave_from_the_loss_of_detail():
    torch.manual_seed(0)
    codec = Codec(CodecParams())
    codec.fit(torch.rand(400, 3, 4, 4))
    clean = torch.rand(1, 3, 64, 64)
    weave = 0.02 * torch.tensor([1.0] * 4 + [-1.0] * 4).repeat(8)  # eight pixels wide, as cells two by two make it
    light = torch.tensor([0.3, -0.1, 0.2])[:, None, None]
    z = codec.analysis(clean)

    def far(image):
        return float(log_detail(codec.analysis(image), z, codec).detach())

    assert far(clean + light) == pytest.approx(far(clean), abs=1e-3)
    assert far(clean + light + weave) == pytest.approx(far(clean + weave), abs=1e-3)
    assert far(clean + weave) == pytest.approx(0.1 * math.log(0.02**2), abs=0.03)


@pytest.mark.slow
def test_every_stage_lowers_its_own_loss_on_one_batch(photos_dir, tmp_path):
    config = load_config(config_file(tmp_path, steps=1))
    photos = load_photos([photos_dir], 32)
    for step, stage in enumerate(config.stages):
        torch.manual_seed(0)
        model = Rar(config.model)
        model.codec.fit(torch.rand(4000, 3, 4, 4))
        batch = StepBatches(photos, config)[step].to(torch.device("cpu"))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        values = []
        for _ in range(25):
            total = losses(model, batch, stage).total
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            values.append(float(total.detach()))
        assert values[-1] < values[0], (stage.name, values[0], values[-1])
