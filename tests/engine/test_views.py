"""The second view of a self-ensemble: moved by half a cell, and back."""

import pytest
import torch
from torch import Tensor

from rar_cli.engine.engine import Engine
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.views import moved, moved_back
from rar_cli.types import Plan
from tests.fakes import CPU


@pytest.mark.parametrize(("height", "width"), [(6, 9), (1, 1), (1, 7)])
def test_a_view_is_the_picture_off_the_lattice_and_comes_back_as_it_was(codec, height, width):
    latent = torch.randn(2, 48, height, width)
    there = moved(codec, latent)
    assert there.shape == (2, 48, height + 1, width + 1)
    image, seen = codec.decode(latent), codec.decode(there)
    torch.testing.assert_close(seen[..., 2:-2, 2:-2], image, rtol=0, atol=1e-4)
    torch.testing.assert_close(moved_back(codec, there), latent, rtol=0, atol=1e-3)


def test_an_ensemble_is_the_mean_of_what_both_views_become(busy):
    alone, both = Engine(busy, CPU), Engine(busy, EngineOptions("cpu", "float32", self_ensemble=True))
    latent = alone.encode(torch.rand(1, 3, 24, 20))
    condition = alone.condition(alone.assess(latent), [Plan()] * len(latent))
    codec = busy.codec
    other = moved_back(codec, alone.move(moved(codec, latent), condition))
    with torch.inference_mode():
        expected = (alone.move(latent, condition) + other) / 2
        torch.testing.assert_close(both.move(latent, condition), expected, rtol=1e-3, atol=1e-3)


def test_the_second_view_is_told_what_rounds_before_have_taken(busy):
    engine = Engine(busy, EngineOptions("cpu", "float32", self_ensemble=True))
    latent = engine.encode(torch.rand(1, 3, 24, 20))
    condition = engine.condition(engine.assess(latent), [Plan()] * len(latent))
    seen: list[tuple[Tensor, Tensor]] = []
    move = busy.move

    def watched(z, condition, origin=None, times=(0.0, 1.0), solver=None):
        seen.append((z, origin))
        return move(z, condition, origin, times)

    busy.move = watched
    with torch.inference_mode():
        engine.move(latent, condition, latent + 1.0)
        (one, begun), (other, begun_there) = seen
        torch.testing.assert_close(begun, one + 1.0)
        torch.testing.assert_close(other, moved(busy.codec, one))
        torch.testing.assert_close(begun_there, moved(busy.codec, begun))


def test_the_lattice_of_cells_shows_less_in_the_mean_of_two_views(tiny):
    """A restorer that adds a pattern of one cell adds half of it, in two places."""
    engine = Engine(tiny, EngineOptions("cpu", "float32", self_ensemble=True))
    latent = engine.encode(torch.full((1, 3, 32, 32), 0.5))
    pattern = torch.zeros(1, 3, 32, 32)
    pattern[..., ::4, ::4] = 0.1
    step = engine.encode(0.5 + pattern) - latent
    tiny.move = lambda z, *told, times, solver: z + step[..., :1, :1].expand_as(z)
    image = engine.decode(
        engine.move(latent, engine.condition(engine.assess(latent), [Plan()] * len(latent))), (32, 32)
    )
    assert (image - 0.5).abs().max() < 0.06
