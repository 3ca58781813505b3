"""A fast layer follows its weight, however that changes."""

import pytest
import torch
from torch import nn

from rar_cli.compute.native.library import RESTORING, library
from rar_cli.compute.native.restoring import RestoringConv2d
from rar_cli.compute.winograd import WinogradConv2d

needs_kernels = pytest.mark.skipif(isinstance(library(RESTORING), str), reason=str(library(RESTORING)))
KINDS = [pytest.param(RestoringConv2d, marks=needs_kernels), WinogradConv2d]


def near(found, expected):
    """Whether they differ by rounding alone."""
    return (found - expected).norm() < 2e-3 * expected.norm()


def learned(layer):
    with torch.no_grad():
        layer.weight.mul_(2.0)


def loaded(layer):
    layer.load_state_dict(nn.Conv2d(32, 32, 3, padding=1).state_dict())


def replaced(layer):
    layer.weight.data = torch.randn(32, 32, 3, 3)


@pytest.mark.parametrize("change", [learned, loaded, replaced])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_computes_with_the_weight_that_it_has_now(kind, change):
    layer, x = nn.Conv2d(32, 32, 3, padding=1), torch.randn(1, 32, 16, 16)
    fast = kind(layer)
    with torch.no_grad():
        before = fast(x)
        change(layer)
        assert near(fast(x), layer(x))
        assert not torch.allclose(fast(x), before, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_were_made_for_inference_alone_serve_too(kind):
    with torch.inference_mode():
        layer, x = nn.Conv2d(32, 32, 3, padding=1), torch.randn(1, 32, 16, 16)
        assert near(kind(layer)(x), layer(x))
