import pytest
import torch

from rar_cli.engine.engine import Engine
from rar_cli.engine.grain import NOISE, Grain, grain_stays
from rar_cli.engine.restore import bounds_of, restore
from rar_cli.loop.policy import FixedPolicy
from rar_cli.types import ALL, DEGRADATIONS, PLACE, Assessment, Degradation, Plan
from tests.fakes import CPU

D = Degradation
HAZE = frozenset({D.HAZE})


class Channels:
    """Each degradation is a channel; noise is what the first one says; a transport clears what the plan removes."""

    def __init__(self):
        self.assessed = 0

    def assess(self, latent):
        self.assessed += 1
        severities = torch.zeros(len(latent), len(DEGRADATIONS))
        severities[:, PLACE[NOISE]] = latent[:, 0].mean(dim=(1, 2))
        return Assessment(torch.full((len(latent),), 50.0), severities)

    def transport(self, latent, assessment, plans, origin):
        left = torch.tensor([[float(d not in plan.remove) for d in DEGRADATIONS] for plan in plans])
        return latent * left[:, :, None, None]


def restored(latent, remove):
    model = Channels()
    grain = Grain(model)
    moved = grain.transport(latent, grain.assess(latent), [Plan(remove)] * len(latent), None)
    assert model.assessed == 1
    return moved


@pytest.mark.parametrize(
    ("only", "keep", "expected"),
    [((D.HAZE,), (), True), ((), (D.NOISE,), True), ((D.NOISE,), (), False), ((), (D.HAZE,), False), ((), (), False)],
)
def test_it_is_for_runs_that_keep_noise_and_remove_something(only, keep, expected):
    assert grain_stays(bounds_of(only=only, keep=keep).wanted) is expected
    assert not grain_stays(frozenset())


def test_what_is_wanted_is_removed_and_the_grain_of_noisy_pictures_comes_back():
    latent = torch.rand(3, 9, 4, 4) + 0.5
    latent[1, 0] = 0.01
    moved = restored(latent, ALL - {NOISE})
    assert torch.equal(moved[:, 1:], torch.zeros(3, 8, 4, 4))
    torch.testing.assert_close(moved[:, 0], latent[:, 0])
    kept = torch.ones(9).index_fill(0, torch.tensor(PLACE[D.HAZE]), 0.0)
    torch.testing.assert_close(restored(latent, HAZE), latent * kept[None, :, None, None])


def test_without_noise_one_transport_is_made_as_ever(busy, monkeypatch):
    engine = Engine(busy, CPU)
    image, calls = torch.rand(2, 3, 24, 32), []

    def counted(*parts):
        calls.append(len(parts))
        return Engine.move(engine, *parts)

    engine.move = counted
    severity = engine.assess(engine.encode(image)).severities[:, PLACE[NOISE]].min().item()
    monkeypatch.setattr("rar_cli.engine.grain.CLEAR", severity / 2)
    restore(engine, image, FixedPolicy((Plan(HAZE),)).within(bounds_of(only=[D.HAZE])), whole=True)
    assert len(calls) == 2
    monkeypatch.setattr("rar_cli.engine.grain.CLEAR", 1.0)
    (one, _) = restore(engine, image, FixedPolicy((Plan(HAZE),)).within(bounds_of(only=[D.HAZE])), whole=True)
    assert len(calls) == 3
    latent = engine.encode(image[:1])
    alone = Engine.move(engine, latent, engine.condition(engine.assess(latent), [Plan(HAZE)]))
    torch.testing.assert_close(one.image, engine.decode(alone, (24, 32)), rtol=0, atol=2e-5)
