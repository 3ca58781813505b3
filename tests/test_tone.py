"""The tone from farther away: who is met halfway, and that nothing else changes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rar_cli.engine.engine import Engine, mask_of, restore
from rar_cli.engine.tone import FAR_PX, FAR_SHARE, Tone, reduction_of
from rar_cli.networks.codec import Codec
from rar_cli.types import DEGRADATIONS, Assessment, Degradation
from tests.test_engine import policy

D = Degradation
CPU = torch.device("cpu")


class Scripted:
    """Hazy pictures are those whose first pixel is above the middle; the condition says from how far away a picture
    was seen. Every transport adds to all colours what it was told, and is counted."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.sides: list[int] = []
        self.masks: list[torch.Tensor | None] = []

    def assess(self, latent, /, *, remove_mask):
        self.masks.append(remove_mask)
        hazy = self.codec.decode(latent)[:, 0, 0, 0] > 0.5
        severities = torch.zeros(len(latent), len(DEGRADATIONS))
        severities[:, DEGRADATIONS.index(D.HAZE)] = 0.5 * hazy
        severities[:, DEGRADATIONS.index(D.NOISE)] = 0.5
        condition = torch.full((len(latent), 2, 8), latent.shape[-1] / 1000)
        return Assessment(torch.full((len(latent),), 50.0), severities, condition)

    def move(self, latent, condition, origin):
        assert condition.shape[1:] == (2, 8)
        assert origin is None or origin.shape == latent.shape
        self.sides.append(latent.shape[-1])
        return self.codec.encode(self.codec.decode(latent) + condition[:, 0, 0][:, None, None, None])


def toned(codec, tile=224):
    scripted = Scripted(codec)
    return scripted, Tone(codec, scripted.assess, scripted.move, tile, CPU)


def run(tone, latent, mask=None, origin=None):
    condition = tone.assess(latent, remove_mask=mask).condition
    return tone.move(latent, condition, origin)


def picture(codec, *first, height=330, width=500):
    """A batch of pictures that differ in their first pixel, so in whether they are hazy."""
    image = torch.rand(len(first), 3, height, width)
    image[:, :, 0, 0] = torch.tensor(first)[:, None]
    return codec.encode(image)


@pytest.mark.parametrize(
    ("sides", "reduction"),
    [((10, 400), 1), ((79, 79), 1), ((80, 120), 2), ((119, 900), 2), ((120, 120), 3), ((750, 999), 18)],
)
def test_the_reduced_picture_is_as_large_as_it_may_be(sides, reduction):
    assert reduction_of(torch.empty(1, 1, *sides), 4) == reduction
    assert min(sides) * 4 // reduction >= FAR_PX or reduction == 1


def test_colours_of_hazy_pictures_are_met_halfway_and_others_stay_as_they_are(codec):
    scripted, tone = toned(codec)
    latent = picture(codec, 0.9, 0.1)
    moved = run(tone, latent)
    near, far = 125 / 1000, (125 + 63) / 2 / 1000  # the far condition is the mean of both
    change = codec.decode(moved) - codec.decode(latent)
    halfway = near + FAR_SHARE * (far - near)
    torch.testing.assert_close(change[0], torch.full_like(change[0], halfway), rtol=0, atol=1e-4)
    torch.testing.assert_close(change[1], torch.full_like(change[1], near), rtol=0, atol=1e-4)
    assert scripted.sides == [125, 63]


def test_details_come_from_near(codec):
    """A far move that also blackens the reduced picture shifts its colours, and leaves what is fine."""
    scripted, tone = toned(codec)
    near = scripted.move

    def move(latent, condition, origin):
        return (
            codec.encode(torch.zeros_like(codec.decode(latent)))
            if latent.shape[-1] < 80
            else near(latent, condition, origin)
        )

    tone = Tone(codec, scripted.assess, move, 224, CPU)
    latent = picture(codec, 0.9)
    plain = codec.decode(near(latent, torch.full((1, 2, 8), 0.125), None))
    image = codec.decode(run(tone, latent))
    coarse = F.avg_pool2d(image - plain, 8)
    assert coarse.mean() < -0.25  # half of what the picture had
    fine = image - F.interpolate(F.avg_pool2d(image, 2), scale_factor=2)
    expected = plain - F.interpolate(F.avg_pool2d(plain, 2), scale_factor=2)
    assert (fine - expected).abs().max() < 0.03


@pytest.mark.parametrize("mask", [mask_of((D.RAIN,), ()), mask_of((), (D.HAZE,)), mask_of((D.NOISE,), ())])
def test_where_no_light_is_to_go_one_transport_is_made_as_ever(codec, mask):
    scripted, tone = toned(codec)
    run(tone, picture(codec, 0.9), mask)
    assert scripted.sides == [125]


def test_what_is_to_go_is_the_same_from_farther_away(codec):
    scripted, tone = toned(codec)
    mask = mask_of((D.HAZE, D.SNOW), ())
    run(tone, picture(codec, 0.9, 0.8), mask, origin=picture(codec, 0.9, 0.8))
    assert torch.equal(scripted.masks[-1], mask.expand(2, -1))


def test_small_pictures_are_moved_as_ever(codec):
    scripted, tone = toned(codec)
    run(tone, picture(codec, 0.9, height=300))
    assert scripted.sides == [125]


@pytest.mark.parametrize("size", [(330, 500), (481, 323), (500, 770)])
def test_pictures_in_pieces_come_out_as_whole_ones(codec, size):
    latent = picture(codec, 0.9, height=size[0], width=size[1])
    whole, pieces = (run(toned(codec, tile)[1], latent) for tile in (224, 24))
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-4)


def test_latents_of_large_pictures_stay_in_half_precision_and_on_their_device(codec):
    latent = picture(codec, 0.9)
    whole = run(toned(codec)[1], latent)
    scripted = Scripted(codec)

    def move(half, condition, origin):
        return scripted.move(half.float(), condition, origin).to(half)

    def assess(half, /, *, remove_mask):
        return scripted.assess(half.float(), remove_mask=remove_mask)

    moved = run(Tone(codec, assess, move, 24, CPU), latent.half())
    assert moved.dtype == torch.float16
    torch.testing.assert_close(codec.decode(moved.float()), codec.decode(whole), rtol=0, atol=0.02)


def test_pictures_can_be_picked_out_of_what_the_assessment_says(codec):
    _, tone = toned(codec)
    latent = picture(codec, 0.9, 0.1, 0.8)
    condition = tone.assess(latent, remove_mask=None).condition
    at = torch.tensor([1, 2])
    torch.testing.assert_close(tone.move(latent[at], condition[at], None), tone.move(latent, condition, None)[at])


@pytest.mark.parametrize(
    ("mask", "sides"),
    [(None, [83, 42]), (mask_of((), (D.HAZE,)), [83]), (mask_of((D.HAZE,), ()), [83, 42, 83])],
    ids=["all", "but haze", "haze from under noise that stays"],
)
def test_restoring_takes_the_tone_from_farther_away(busy, mask, sides):
    engine = Engine(busy, "cpu", "float32")
    seen = []

    def hazy(latent, remove_mask=None):
        severities = torch.tensor([[0.5 * (d in {D.HAZE, D.NOISE}) for d in DEGRADATIONS]])
        return replace(Engine.assess(engine, latent, remove_mask), severities=severities)

    def counted(*told):
        seen.append(told[0].shape[-1])
        return Engine.move(engine, *told)

    engine.assess, engine.move = hazy, counted
    (outcome,) = restore(engine, torch.rand(1, 3, 320, 330), policy(1), mask, whole=True)
    assert seen == sides
    assert outcome.image.isfinite().all()
