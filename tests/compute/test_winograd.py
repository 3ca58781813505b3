import pytest
import torch
from torch import nn

from rar_cli.compute import convolutions
from rar_cli.compute import winograd as module
from rar_cli.compute.winograd import WinogradConv2d, speed_up
from rar_cli.engine.engine import Engine
from rar_cli.engine.options import EngineOptions
from rar_cli.networks.model import Rar, RarParams


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (40, 13)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 2**19])
def test_it_is_the_direct_convolution_whatever_the_size(monkeypatch, size, bias, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    direct = nn.Conv2d(32, 48, 3, padding=1, bias=bias).requires_grad_(False)
    x = torch.randn(3, 32, *size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConv2d(direct)(x), direct(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 64, 3, padding=1),
    ],
)
def test_other_layers_are_left_alone(layer):
    body = nn.Sequential(layer)
    speed_up(body)
    assert body[0] is layer


def test_the_state_dict_and_the_gradients_stay_those_of_the_direct_one():
    body = nn.Sequential(nn.Sequential(nn.Conv2d(32, 32, 3, padding=1)))
    before = body.state_dict()
    x = torch.randn(1, 32, 12, 12, requires_grad=True)
    expected = torch.autograd.grad(body(x).square().sum(), x)[0]
    speed_up(body)
    speed_up(body)  # a second engine on the same model
    assert isinstance(body[0][0], WinogradConv2d)
    after = body.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert torch.equal(torch.autograd.grad(body(x).square().sum(), x)[0], expected)


def test_half_precision_runs_directly():
    layer = nn.Conv2d(32, 32, 3, padding=1).requires_grad_(False)
    fast, x = WinogradConv2d(layer), torch.randn(1, 32, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert fast(x).dtype == torch.bfloat16
        assert torch.equal(fast(x), layer(x))


def test_the_engine_uses_it_on_cpus_in_float32_where_it_wins_and_there_are_no_kernels(monkeypatch):
    monkeypatch.setattr(convolutions, "_missing", lambda dtype: "no C++ compiler")
    model = Rar(RarParams()).eval().requires_grad_(False)

    def used(dtype, capability):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        Engine(model, EngineOptions("cpu", dtype))
        return sum(isinstance(m, WinogradConv2d) for part in (model.restorer, model.assessor) for m in part.modules())

    assert used("bfloat16", "AVX2") == used("float32", "AVX512") == 0
    assert used("float32", "AVX2") > 20
    assert any(isinstance(m, WinogradConv2d) for m in model.assessor.modules())
