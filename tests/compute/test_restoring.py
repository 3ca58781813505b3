"""Kernels of restoring: against torch's convolutions and blocks, and what happens where they cannot be had."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from rar_cli.compute import convolutions as module
from rar_cli.compute.convolutions import described, quicken
from rar_cli.compute.native import library as library_module
from rar_cli.compute.native import restoring as restoring_module
from rar_cli.compute.native.library import RESTORING, bfloat16_gains, library
from rar_cli.compute.native.restoring import RestoringConv2d
from rar_cli.compute.native.speed import speed_up_restoring
from rar_cli.compute.winograd import WinogradConv2d
from rar_cli.engine.engine import Engine
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.restore import restore
from rar_cli.loop.policy import FixedPolicy
from rar_cli.networks.model import Rar, RarParams
from rar_cli.networks.restorer import Block, RestorerParams
from rar_cli.types import Plan
from tests.conftest import ROOT

needs_kernels = pytest.mark.skipif(isinstance(library(RESTORING), str), reason=str(library(RESTORING)))
"""Compiles them, which takes a few seconds once for each machine."""

ROUNDING = 1.2e-3
"""Of a layer, whose products are made of whole numbers."""

CAPABILITIES = ["AVX2"] + ["AVX512"] * (torch.backends.cpu.get_cpu_capability() == "AVX512")
CAPABILITIES += ["VNNI"] * (len(CAPABILITIES) > 1 and torch.cpu._is_vnni_supported())


def apart(found, expected):
    """Distance in units of the size of what is expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.fixture(params=CAPABILITIES)
def capability(request, monkeypatch):
    """Each that the processor has, in turn."""
    reported, there = "AVX2" if request.param == "AVX2" else "AVX512", library_module._has
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: reported)
    monkeypatch.setattr(
        library_module, "_has", lambda name: there(name) and (name, request.param) != ("vnni", "AVX512")
    )
    library.cache_clear()
    yield request.param
    library.cache_clear()


def some_block(width, blur_width=0):
    """A block whose every parameter counts."""
    block = Block(width, 40, blur_width).requires_grad_(False)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.05)
    nn.init.normal_(block.norm.weight, mean=1.0, std=0.1)
    return block.to(memory_format=torch.channels_last)


@needs_kernels
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 4), (5, 31), (17, 8), (40, 43)])
@pytest.mark.parametrize("channels", [(16, 16), (48, 32), (64, 48), (192, 64)])
def test_convolutions_are_the_direct_ones_to_rounding_whatever_the_size(capability, channels, size):
    direct = nn.Conv2d(*channels, 3, padding=1, bias=channels != (64, 48)).requires_grad_(False)
    x = torch.randn(3, channels[0], *size)
    with torch.inference_mode():
        found = RestoringConv2d(direct)(x)
        assert found.shape == direct(x).shape
        assert apart(found, direct.double()(x.double())) < ROUNDING


@needs_kernels
def test_no_sum_overflows_where_all_features_and_weights_agree(capability):
    direct = nn.Conv2d(192, 32, 3, padding=1, bias=False).requires_grad_(False)
    direct.weight.fill_(0.3)
    x = torch.full((1, 192, 9, 9), 7e4)
    x[..., 4, 4] *= 1e3
    with torch.inference_mode():
        assert apart(RestoringConv2d(direct)(x), direct.double()(x.double())) < 4 * ROUNDING


@needs_kernels
def test_nothing_stays_nothing_and_what_is_no_number_is_not_hidden(capability):
    layer = RestoringConv2d(nn.Conv2d(32, 32, 3, padding=1, bias=False).requires_grad_(False))
    x = torch.zeros(1, 32, 12, 12)
    with torch.inference_mode():
        assert not layer(x).any()
        x[0, 5, 6, 6] = torch.nan
        assert layer(x)[..., 5:8, 5:8].isnan().all()


@needs_kernels
@pytest.mark.parametrize("blur_width", [0, 24])
@pytest.mark.parametrize("size", [(1, 1), (12, 9), (31, 70), (333, 5)])
def test_blocks_are_those_of_torch_to_rounding(capability, blur_width, size):
    plain = some_block(64, blur_width)
    fast = copy.deepcopy(plain)
    speed_up_restoring(fast)
    inputs = [3 * torch.randn(3, 64, *size) + 1, torch.randn(3, 40), *([torch.randn(3, blur_width)] * bool(blur_width))]
    with torch.inference_mode():
        assert apart(fast(*inputs), plain(*inputs)) < 2 * ROUNDING


@pytest.mark.skipif(not bfloat16_gains(), reason="torch keeps bfloat16 on this processor")
@needs_kernels
@pytest.mark.parametrize("size", [(1, 9), (16, 20)])
def test_blocks_in_bfloat16_are_nearer_to_the_truth_than_those_of_torch(size):
    plain = some_block(64, 24)
    fast = copy.deepcopy(plain)
    speed_up_restoring(fast)
    x, others = (3 * torch.randn(2, 64, *size) + 1).bfloat16(), (torch.randn(2, 40), torch.randn(2, 24))
    with torch.inference_mode():
        true = plain(x.float(), *others)
        with torch.autocast("cpu", torch.bfloat16):
            found, known = fast(x, *others), plain(x, *others)
    assert found.dtype == known.dtype == torch.bfloat16
    assert apart(found, true) < apart(known, true)


@needs_kernels
def test_results_do_not_depend_on_the_number_of_threads():
    block, threads = some_block(32), torch.get_num_threads()
    speed_up_restoring(block)
    x, e = torch.randn(2, 32, 300, 33), torch.randn(2, 40)
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        with torch.inference_mode():
            results.append(block(x, e))
    torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@needs_kernels
def test_gradients_and_other_precisions_run_by_torch(monkeypatch):
    layer = nn.Conv2d(32, 32, 3, padding=1)
    fast, x = RestoringConv2d(layer), torch.randn(1, 32, 16, 16)
    assert fast.state_dict().keys() == layer.state_dict().keys()
    assert torch.equal(fast(x), layer(x))
    monkeypatch.setattr(restoring_module, "bfloat16_gains", lambda: False)  # as with AMX
    with torch.inference_mode():
        assert torch.equal(fast.double()(x.double()), layer(x.double()))
        layer.float()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(fast(x), layer(x))


@needs_kernels
def test_an_engine_restores_as_by_torch_to_rounding(monkeypatch):
    wide = Rar(RarParams(restorer=RestorerParams(widths=(32, 48), blocks=(1, 1), detail_blocks=1, memory=True)))
    wide.eval().requires_grad_(False)
    for parameter in wide.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    image = torch.rand(2, 3, 90, 131)
    policy, options = FixedPolicy((Plan(), Plan())), EngineOptions("cpu", "float32")
    monkeypatch.setattr(module, "_missing", lambda dtype: "not wanted")
    plain = Engine(copy.deepcopy(wide), options)
    monkeypatch.undo()
    fast = Engine(copy.deepcopy(wide), options)
    assert any(isinstance(m, RestoringConv2d) for m in fast.model.restorer.modules())
    for true, found in zip(restore(plain, image, policy), restore(fast, image, policy), strict=True):
        torch.testing.assert_close(found.image, true.image, rtol=0, atol=5e-4)


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_torch_computes_in_silence(monkeypatch, compiler, capfd):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    library.cache_clear()
    layers = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1))
    quicken(layers, torch.float32)
    said = described(torch.float32)
    library.cache_clear()
    assert type(layers[0]) is WinogradConv2d
    assert compiler in said or "no C++ compiler" in said
    assert capfd.readouterr() == ("", "")


@needs_kernels
def test_a_cache_that_cannot_be_written_leaves_it_to_torch(monkeypatch, tmp_path):
    (tmp_path / "native").write_text("in the way")
    monkeypatch.setattr(library_module.platformdirs, "user_cache_path", lambda name: tmp_path)
    library.cache_clear()
    layers = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1))
    quicken(layers, torch.float32)
    library.cache_clear()
    assert type(layers[0]) is not RestoringConv2d


def test_processors_without_avx2_and_bfloat16_with_amx_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    library.cache_clear()
    said = described(torch.float32)
    library.cache_clear()
    assert said == "by torch (the processor has no AVX2)"
    monkeypatch.setattr(library_module, "direct", lambda: True)
    assert "bfloat16" in described(torch.bfloat16)


@needs_kernels
@pytest.mark.slow
def test_two_processes_may_compile_at_once(tmp_path):
    code = "from rar_cli.compute.native.library import *; assert not isinstance(library(RESTORING), str)"
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=settings) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(list((tmp_path / "rar" / "native").iterdir())) == 1


@needs_kernels
def test_engines_share_a_model_in_both_precisions():
    model = Rar(RarParams()).eval().requires_grad_(False)
    keys = list(model.state_dict())
    for dtype in ("float32", "bfloat16", "float32"):
        Engine(model, EngineOptions("cpu", dtype))
    assert list(model.state_dict()) == keys
    parts = (model.restorer, model.assessor)
    assert all(any(type(m) is RestoringConv2d for m in part.modules()) for part in parts)
