import pytest
import torch

from rar_cli.engine.engine import Engine, mask_of, restore
from rar_cli.engine.grain import NOISE, Grain, stays
from rar_cli.types import DEGRADATIONS, Assessment, Degradation
from tests.test_engine import policy

D = Degradation


def assess(latent, /, *, remove_mask):
    """Noise is what the first channel says; the condition is the mask."""
    mask = remove_mask.expand(len(latent), -1)
    severities = torch.zeros(len(latent), len(DEGRADATIONS))
    severities[:, NOISE] = latent[:, 0].mean(dim=(1, 2))
    return Assessment(torch.full((len(latent),), 50.0), severities, mask[:, :, None].repeat(1, 1, 2))


def move(latent, condition, origin):
    """Each degradation is a channel, and goes where the condition wants it to."""
    return latent * (1.0 - condition[:, :, 0])[:, :, None, None]


def told(latent, mask):
    grain = Grain(assess, move, clear=0.1)
    return grain.move(latent, grain.assess(latent, remove_mask=mask).condition, None)


@pytest.mark.parametrize(
    ("only", "keep", "expected"),
    [((D.HAZE,), (), True), ((), (D.NOISE,), True), ((D.NOISE,), (), False), ((), (D.HAZE,), False), ((), (), False)],
)
def test_it_is_for_runs_that_keep_noise_and_remove_something(only, keep, expected):
    assert stays(mask_of(only, keep)) is expected
    assert not stays(mask_of((), DEGRADATIONS))


def test_what_is_wanted_goes_and_the_grain_of_noisy_pictures_comes_back():
    latent = torch.rand(3, 9, 4, 4) + 0.5
    latent[1, 0] = 0.01
    moved = told(latent, mask_of((), (D.NOISE,)))
    assert torch.equal(moved[:, 1:], torch.zeros(3, 8, 4, 4))
    torch.testing.assert_close(moved[:, 0], latent[:, 0])
    mask = mask_of((D.HAZE,), ()).expand(3, -1)
    haze = DEGRADATIONS.index(D.HAZE)
    kept = torch.ones(9).index_fill(0, torch.tensor(haze), 0.0)
    torch.testing.assert_close(told(latent, mask), latent * kept[None, :, None, None])


def test_pictures_can_be_picked_out_of_what_the_assessment_says():
    latent = torch.rand(3, 9, 4, 4) * torch.tensor([1.0, 0.0, 1.0])[:, None, None, None]
    grain = Grain(assess, move, clear=0.1)
    condition = grain.assess(latent, remove_mask=mask_of((), (D.NOISE,))).condition
    at = torch.tensor([1, 2])
    together = grain.move(latent, condition, None)
    assert torch.equal(grain.move(latent[at], condition[at], None), together[at])


def test_without_noise_one_transport_is_made_as_ever(busy):
    engine = Engine(busy, "cpu", "float32")
    image, mask, calls = torch.rand(2, 3, 24, 32), mask_of((D.HAZE,), ()), []

    def counted(*told):
        calls.append(len(told))
        return Engine.move(engine, *told)

    engine.move = counted
    engine.policy = policy(1)  # clear: 0.0, so that all noise counts
    restore(engine, image, policy(1), mask, whole=True)
    assert len(calls) == 2
    engine.policy = type(policy(1))(clear_severity=1.0)
    (one, _) = restore(engine, image, policy(1), mask, whole=True)
    assert len(calls) == 3
    latent = engine.encode(image[:1])
    alone = Engine.move(engine, latent, engine.assess(latent, mask).condition)
    torch.testing.assert_close(one.image, engine.decode(alone, (24, 32)), rtol=0, atol=2e-5)
