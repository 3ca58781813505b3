"""Kernels of training: against torch's convolutions and blocks, and what happens where they cannot be had."""

import copy
import os
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rar_cli.compute.native import convolution as convolution_module
from rar_cli.compute.native import library as library_module
from rar_cli.compute.native.convolution import NativeConv2d, convolved, laid_out
from rar_cli.compute.native.doubling import DoublingConv
from rar_cli.compute.native.library import TRAINING, library
from rar_cli.compute.native.speed import speed_up_training
from rar_cli.networks.restorer import Block
from rar_cli.train.run.parts import _take_kernels

needs_kernels = pytest.mark.skipif(isinstance(library(TRAINING), str), reason=str(library(TRAINING)))
"""Compiles them, which takes a few seconds once for each machine."""


GOES_BACK = 0.015
"""What F(4x4, 3x3) may round in gradients to the weight; all else rounds less."""


def apart(found, expected):
    """Distance in units of the size of what is expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def run(module, inputs, autocast, out):
    """The result and all gradients."""
    module.zero_grad()
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        made = module(*inputs)
    made.float().backward(out)
    return [made.detach(), *(x.grad for x in inputs), *(p.grad for p in module.parameters())]


@needs_kernels
@pytest.mark.parametrize(
    "size", [(2, 32, 32, 12, 20), (3, 64, 96, 10, 6), (3, 64, 96, 16, 4), (1, 160, 64, 34, 2), (5, 96, 32, 2, 2)]
)
def test_convolutions_and_their_gradients_are_those_of_torch_to_rounding(size):
    batch, inner, out, height, width = size
    plain = nn.Conv2d(inner, out, 3, padding=1).to(memory_format=torch.channels_last)
    native = NativeConv2d(copy.deepcopy(plain))
    x, gradient = torch.randn(batch, inner, height, width), torch.randn(batch, out, height, width)
    exact, rounded, fast = (run(m, [x], cast, gradient) for m, cast in ((plain, False), (plain, True), (native, True)))
    features, weight = (0.003, 0.003) if height % 4 or width % 4 else (0.0005, GOES_BACK)
    for true, known, found, more in zip(exact, rounded, fast, (features, features, weight, 0.001), strict=True):
        assert found.shape == true.shape
        assert apart(found, true) < 1.2 * apart(known, true) + more
    assert all(torch.equal(a, b) for a, b in zip(exact, run(native, [x], False, gradient), strict=True))


@needs_kernels
@pytest.mark.parametrize("size", [1e-25, 1.0, 1e18])
def test_products_of_integers_are_exact_whatever_the_size_of_features_and_weights(size):
    layer = nn.Conv2d(48, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = torch.randn(2, 48, 8, 12)
    x[0, 5] = 1000.0  # one channel alone has all of the norm
    x[1, :, :4] = 0.0
    with torch.no_grad():
        layer.weight[7] = 0.0
        layer.weight[8, 1:] = 0.0
        exact = size * layer(x.bfloat16().float())
        layer.weight *= size**0.5
        found = convolved(laid_out(size**0.5 * x), layer.weight, None).float()
    assert apart(found / size, exact / size) < 0.003
    assert not found[:, 7].any()
    assert not found[1, :, :3].any()


@needs_kernels
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden_by_products_of_integers(value):
    layer = NativeConv2d(nn.Conv2d(32, 32, 3, padding=1))
    x = torch.zeros(1, 32, 8, 8)
    x[0, 3, 6, 6] = value
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert not found[..., 4:, 4:].isfinite().any()
    assert found[..., :4, :4].isfinite().all()


@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_and_their_gradients_are_those_of_torch_to_rounding(bias):
    plain = nn.ConvTranspose2d(48, 32, 2, stride=2, bias=bias).to(memory_format=torch.channels_last)
    native = DoublingConv(copy.deepcopy(plain))
    x, gradient = torch.randn(3, 48, 6, 10), torch.randn(3, 32, 12, 20)
    exact, rounded, fast = (run(m, [x], cast, gradient) for m, cast in ((plain, False), (plain, True), (native, True)))
    for true, known, found in zip(exact, rounded, fast, strict=True):
        assert found.shape == true.shape
        assert apart(found, true) < 1.5 * apart(known, true) + 0.001


@needs_kernels
def test_convolutions_of_sizes_and_places_that_the_kernels_do_not_take_are_those_of_torch():
    odd = nn.ModuleList(
        [
            nn.Conv2d(32, 32, 3),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.Conv2d(32, 32, 3, 2, 1),
            nn.Conv2d(8, 32, 3, padding=1),
        ]
    )
    speed_up_training(odd)
    assert all(type(layer) is nn.Conv2d for layer in odd)
    layer = nn.Conv2d(32, 32, 3, padding=1)
    native = NativeConv2d(layer)
    x = torch.randn(1, 32, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(native(x), F.conv2d(x, layer.weight, layer.bias, padding=1))
    assert native.state_dict().keys() == layer.state_dict().keys()


@needs_kernels
@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("blur_width", [0, 24])
def test_blocks_and_their_gradients_are_those_of_torch_to_rounding(blur_width, amx, monkeypatch):
    monkeypatch.setattr(convolution_module, "direct", lambda: amx)
    plain = Block(64, 40, blur_width)
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.05)
    nn.init.normal_(plain.norm.weight, mean=1.0, std=0.1)
    native = copy.deepcopy(plain.to(memory_format=torch.channels_last))
    speed_up_training(native)
    inputs = [3 * torch.randn(3, 64, 12, 8) + 1, torch.randn(3, 40)]
    inputs += [torch.randn(3, blur_width)] if blur_width else []
    gradient = torch.randn(3, 64, 12, 8)
    known, found = run(plain, inputs, True, gradient), run(native, inputs, True, gradient)
    for true, there, here in zip(run(plain, inputs, False, gradient), known, found, strict=True):
        assert apart(here, true) < 1.5 * apart(there, true) + GOES_BACK


@needs_kernels
def test_gradients_are_the_same_bits_every_time():
    layer = NativeConv2d(nn.Conv2d(32, 64, 3, padding=1))
    x, gradient = torch.randn(4, 32, 64, 64), torch.randn(4, 64, 64, 64)
    first, second = (run(layer, [x], True, gradient) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("compiler", "said"), [("no-such-compiler", "no C++ compiler"), ("false", "false failed")])
def test_a_run_without_a_compiler_says_so_and_goes_on_by_torch(monkeypatch, compiler, said):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setattr(library_module, "_has", lambda instructions: True)
    library.cache_clear()
    accelerator = SimpleNamespace(device=torch.device("cpu"), mixed_precision="bf16", is_main_process=True)
    model, lines = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1)), []
    _take_kernels(model, accelerator, lines.append)
    library.cache_clear()
    assert type(model[0]) is nn.Conv2d
    assert len(lines) == 1
    assert said in lines[0]


@needs_kernels
@pytest.mark.parametrize("change", ["chmod", "chown"])
def test_code_that_others_could_have_put_there_is_not_run(monkeypatch, tmp_path, change):
    monkeypatch.setattr(library_module.platformdirs, "user_cache_path", lambda name: tmp_path)
    (folder := tmp_path / "native").mkdir()
    if change == "chmod":
        folder.chmod(0o777)
    elif os.getuid() == 0:
        os.chown(folder, 4711, -1)
    else:
        pytest.skip("only root gives folders away")
    library.cache_clear()
    found = library(TRAINING)
    library.cache_clear()
    assert "not this user's own" in str(found)
    assert not list(folder.iterdir())


@needs_kernels
@pytest.mark.slow
def test_sources_are_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setattr(library_module.platformdirs, "user_cache_path", lambda name: tmp_path)
    library.cache_clear()
    assert not isinstance(library(TRAINING), str)
    library.cache_clear()
    monkeypatch.setattr(library_module.tempfile, "TemporaryDirectory", None)
    assert not isinstance(library(TRAINING), str)
    library.cache_clear()
    assert len(list((tmp_path / "native").iterdir())) == 1
