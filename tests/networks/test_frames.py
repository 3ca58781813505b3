from dataclasses import replace

import pytest
import torch

from rar_cli.networks.assessor import Assessor
from rar_cli.networks.frames import FINENESS, FRAMED_CELLS, WHOLE, framed, frames_of
from tests.fakes import tiny_params


@pytest.fixture
def assessor():
    torch.manual_seed(0)
    made = Assessor(replace(tiny_params().assessor, frames=3)).eval()
    for parameter in made.parameters():  # heads that start as nothing would hide what differs
        torch.nn.init.normal_(parameter, std=0.2)
    return made.requires_grad_(False)


def without(assessor):
    plain = Assessor(replace(assessor.params, frames=0)).eval()
    plain.load_state_dict(assessor.state_dict())
    return plain


def same(found, expected):
    for name in ("score", "severities", "condition"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("grid", "per_side"), [(8, 3), (2, 3), (8, 1), (8, 4)])
def test_frames_lie_in_the_picture_and_reach_its_corners(grid, per_side):
    whole, *parts = frames_of(grid, per_side)
    assert whole == WHOLE
    assert len(set(parts)) == per_side**2
    ends = {(top + fine * grid, left + fine * grid) for top, left, fine in parts}
    assert max(ends) <= (FINENESS * grid, FINENESS * grid)
    assert min(parts)[:2] == (0, 0)
    if per_side > 1:
        assert (FINENESS * grid, FINENESS * grid) in ends


@pytest.mark.slow
def test_a_part_holds_the_means_of_its_own_place():
    x = torch.rand(2, 3, 40, 40)
    for top, left, fine in frames_of(8, 3):
        found = framed(x, (top, left, fine), 8)
        for row, column in ((0, 0), (3, 5), (7, 7)):
            y, z = top + fine * row, left + fine * column
            place = x[..., y : y + fine, z : z + fine].mean((2, 3))
            torch.testing.assert_close(found[..., row, column], place)


@pytest.mark.slow
def test_a_picture_that_is_the_same_everywhere_is_assessed_as_without_frames(assessor):
    latent = torch.randn(1, 48, 1, 1).expand(1, 48, 150, 130).contiguous()
    # The rim of a stem's zero padding is the one thing that differs from place to place.
    for layer in assessor.image_adapter.stem:
        if isinstance(layer, torch.nn.Conv2d):
            layer.padding_mode = "replicate"
    plain = without(assessor)
    plain.image_adapter.stem = assessor.image_adapter.stem
    same(assessor(latent), plain(latent))


@pytest.mark.slow
def test_parts_have_their_say(assessor):
    latent = torch.cat([torch.zeros(1, 48, 130, 65), torch.randn(1, 48, 130, 65)], dim=3)
    apart = (assessor(latent).condition - without(assessor)(latent).condition).abs().max()
    assert apart > 1e-3


@pytest.mark.slow
def test_pictures_of_a_batch_do_not_mix_whatever_is_asked_of_each(assessor):
    latent = torch.randn(3, 48, 128, 136)
    asked = (torch.rand(3, 9) > 0.5).float()
    forced = torch.rand(3, 9)
    together = assessor(latent, remove_mask=asked, severities=forced)
    for i in range(3):
        one = slice(i, i + 1)
        alone = assessor(latent[one], remove_mask=asked[one], severities=forced[one])
        for name in ("score", "severities", "condition"):
            torch.testing.assert_close(getattr(together, name)[one], getattr(alone, name), rtol=1e-4, atol=1e-4)
    for_all = assessor(latent, remove_mask=asked[0])
    torch.testing.assert_close(for_all.condition[:1], assessor(latent[:1], remove_mask=asked[:1]).condition)


@pytest.mark.slow
def test_tiles_make_no_difference(assessor):
    latent = torch.randn(1, 48, 150, 130)
    same(assessor(latent, tile=32), assessor(latent))


@pytest.mark.slow
@pytest.mark.parametrize(("training", "side"), [(True, FRAMED_CELLS), (False, FRAMED_CELLS - 1)])
def test_neither_training_nor_a_small_picture_is_looked_at_in_parts(assessor, training, side):
    latent = torch.randn(1, 48, side, 140)
    same(assessor.train(training)(latent), without(assessor)(latent))
