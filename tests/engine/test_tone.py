"""The tone from farther away: who is met halfway, and that nothing else changes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from rar_cli.engine.engine import Engine
from rar_cli.engine.restore import restore
from rar_cli.engine.tone import FAR_PX, FAR_SHARE, Tone, reduction_of
from rar_cli.loop.policy import FixedPolicy
from rar_cli.networks.codec import Codec
from rar_cli.types import ALL, DEGRADATIONS, Assessment, Bounds, Degradation, Plan
from tests.fakes import CPU

D = Degradation


class Scripted:
    """An engine's part that the tone uses. Hazy pictures are those whose first pixel is above the middle; the condition
    says from how far away a picture was seen. Every transport adds to all colours what its condition says."""

    device = torch.device("cpu")

    def __init__(self, codec: Codec, tile: int) -> None:
        self.codec, self.tile, self.factor = codec, tile, codec.params.factor
        self.model = SimpleNamespace(codec=codec)
        self.sides: list[int] = []
        self.plans: list[list[Plan]] = []

    def assess(self, latent):
        hazy = self.codec.decode(latent.float())[:, 0, 0, 0] > 0.5
        severities = torch.zeros(len(latent), len(DEGRADATIONS))
        severities[:, DEGRADATIONS.index(D.HAZE)] = 0.5 * hazy
        severities[:, DEGRADATIONS.index(D.NOISE)] = 0.5
        distance = torch.full((len(latent), 1, 2, 8), latent.shape[-1] / 1000)
        return Assessment(torch.full((len(latent),), 50.0), severities, distance)

    def condition(self, assessment, plans):
        self.plans.append(list(plans))
        return assessment.hidden[:, 0]

    def move(self, latent, condition, origin):
        assert condition.shape[1:] == (2, 8)
        assert origin is None or origin.shape == latent.shape
        self.sides.append(latent.shape[-1])
        change = condition[:, 0, 0][:, None, None, None]
        return self.codec.encode(self.codec.decode(latent.float()) + change).to(latent)


def toned(codec, tile=224):
    scripted = Scripted(codec, tile)
    return scripted, Tone(scripted)


def run(tone, latent, remove=ALL, origin=None):
    return tone.transport(latent, tone.assess(latent), [Plan(remove)] * len(latent), origin)


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
        black = codec.encode(torch.zeros_like(codec.decode(latent)))
        return black if latent.shape[-1] < 80 else near(latent, condition, origin)

    scripted.move = move
    latent = picture(codec, 0.9)
    plain = codec.decode(near(latent, torch.full((1, 2, 8), 0.125), None))
    image = codec.decode(run(tone, latent))
    coarse = F.avg_pool2d(image - plain, 8)
    assert coarse.mean() < -0.25  # half of what the picture had
    fine = image - F.interpolate(F.avg_pool2d(image, 2), scale_factor=2)
    expected = plain - F.interpolate(F.avg_pool2d(plain, 2), scale_factor=2)
    assert (fine - expected).abs().max() < 0.03


@pytest.mark.parametrize("remove", [{D.RAIN}, ALL - {D.HAZE}, {D.NOISE}])
def test_where_no_light_is_removed_one_transport_is_made_as_ever(codec, remove):
    scripted, tone = toned(codec)
    run(tone, picture(codec, 0.9), frozenset(remove))
    assert scripted.sides == [125]


def test_the_same_is_removed_from_farther_away(codec):
    scripted, tone = toned(codec)
    remove = frozenset({D.HAZE, D.SNOW})
    run(tone, picture(codec, 0.9, 0.8), remove, origin=picture(codec, 0.9, 0.8))
    assert scripted.plans[-1] == [Plan(remove)] * 2


def test_small_pictures_are_moved_as_ever(codec):
    scripted, tone = toned(codec)
    run(tone, picture(codec, 0.9, height=300))
    assert scripted.sides == [125]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(330, 500), (481, 323), (500, 770)])
def test_pictures_in_pieces_come_out_as_whole_ones(codec, size):
    latent = picture(codec, 0.9, height=size[0], width=size[1])
    whole, pieces = (run(toned(codec, tile)[1], latent) for tile in (224, 24))
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-4)


def test_latents_of_large_pictures_stay_in_half_precision_and_on_their_device(codec):
    latent = picture(codec, 0.9)
    whole = run(toned(codec)[1], latent)
    moved = run(toned(codec, 24)[1], latent.half())
    assert moved.dtype == torch.float16
    torch.testing.assert_close(codec.decode(moved.float()), codec.decode(whole), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("remove", "sides"),
    [(ALL, [83, 42]), (ALL - {D.HAZE}, [83]), (frozenset({D.HAZE}), [83, 42, 83])],
    ids=["all", "but haze", "haze from under noise that stays"],
)
def test_restoring_takes_the_tone_from_farther_away(busy, remove, sides):
    engine = Engine(busy, CPU)
    seen = []

    def hazy(latent):
        severities = torch.tensor([[0.5 * (d in {D.HAZE, D.NOISE}) for d in DEGRADATIONS]])
        return replace(Engine.assess(engine, latent), severities=severities)

    def counted(*parts):
        seen.append(parts[0].shape[-1])
        return Engine.move(engine, *parts)

    engine.assess, engine.move = hazy, counted
    (outcome,) = restore(
        engine, torch.rand(1, 3, 320, 330), FixedPolicy((Plan(remove),), Bounds(wanted=remove)), whole=True
    )
    assert seen == sides
    assert outcome.image.isfinite().all()
