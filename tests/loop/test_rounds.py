"""The loop with scripted models and policies: what it carries out, what it keeps, what memory begins with."""

import torch

from rar_cli.loop.policy import FixedPolicy
from rar_cli.loop.rounds import rounds, settle
from rar_cli.types import ALL, Bounds, Decision, Degradation, Plan, Verdict
from tests.fakes import FakeModel, numbered

D = Degradation
PART = Plan(ALL - {D.HAZE}, restart=True)


class Scripted:
    """Decides by the score alone: below 50 another round, from 50 on accepted, and a fall is put back."""

    bounds = Bounds()

    def __init__(self, *plans):
        self.plans = plans or (Plan(),)

    def about(self):
        return {}

    def decide(self, looks, plans):
        if plans and looks[-1].score < looks[-2].score:
            return Decision(Verdict.REVERT, "fell")
        if looks[-1].score >= 50:
            return Decision(Verdict.ACCEPT, "good")
        return Decision(Verdict.REPEAT, "bad", self.plans[min(len(plans), len(self.plans) - 1)])


def run(scores, policy=None):
    model = FakeModel(scores)
    return settle(rounds(model, numbered(len(scores)), policy or Scripted())), model


def test_a_picture_accepted_at_round_0_is_never_transported():
    (kept,), model = run([[90.0]])
    assert (kept.best_round, kept.stop, model.assessed, model.transports) == (0, Verdict.ACCEPT, 1, [])


def test_each_round_is_assessed_once_and_the_last_is_kept():
    (kept,), model = run([[10.0, 20.0, 85.0]])
    assert (kept.best_round, kept.stop, model.assessed, len(model.transports)) == (2, Verdict.ACCEPT, 3, 2)
    assert kept.latent[0, 1].item() == 2


def test_a_round_that_is_put_back_is_not_kept():
    (kept,), _ = run([[10.0, 40.0, 30.0]])
    assert (kept.best_round, kept.stop, kept.score_after) == (1, Verdict.REVERT, 40.0)
    assert kept.latent[0, 1].item() == 1


def test_each_picture_of_a_batch_leaves_with_its_own_verdict():
    outcome, model = run([[10.0, 20.0, 85.0], [95.0], [30.0, 20.0], [1.0, 2.0, 3.0, 60.0]])
    assert [k.best_round for k in outcome] == [2, 0, 0, 3]
    assert [k.latent[0, 0].item() for k in outcome] == [0, 1, 2, 3]
    assert len(model.transports) == 2 + 0 + 1 + 3
    assert model.assessed == 4


def test_rounds_is_lazy_so_that_a_caller_may_stop_between_rounds():
    model = FakeModel([[1.0, 2.0, 3.0, 4.0]])
    passes = rounds(model, numbered(1), Scripted())
    assert (next(passes).index, model.assessed, model.transports) == (0, 1, [])
    passes.close()
    assert model.transports == []


def test_a_transport_gets_the_plan_and_the_round_names_it():
    (kept,), model = run([[10.0, 20.0, 60.0]], Scripted(PART, Plan(frozenset({D.HAZE}))))
    assert [remove for _, remove, _ in model.transports] == [ALL - {D.HAZE}, {D.HAZE}]
    assert [this.plan and this.plan.remove for this in kept.trace] == [ALL - {D.HAZE}, {D.HAZE}, None]


def test_a_plan_of_less_strength_goes_a_fraction_of_its_way():
    (kept,), _ = run([[10.0, 60.0]], Scripted(Plan(strength=0.25)))
    assert kept.latent[0, 1].item() == 0.25


def test_memory_begins_with_the_input_or_after_a_plan_that_restarts_it():
    scores = [[10.0, 20.0, 30.0, 60.0]]
    assert [since for *_, since in run(scores)[1].transports] == [0, 1, 2]
    assert [since for *_, since in run(scores, Scripted(PART, Plan()))[1].transports] == [0, 0, 1]


def test_memories_of_a_batch_are_kept_apart():
    class Mixed(Scripted):
        def decide(self, looks, plans):
            self.plans = (PART if looks[0].score < 5 else Plan(), Plan())
            return super().decide(looks, plans)

    _, model = run([[1.0, 20.0, 30.0, 60.0], [10.0, 20.0, 30.0, 60.0]], Mixed())
    assert [(p, since) for p, _, since in model.transports] == [(0, 0), (1, 0), (0, 0), (1, 1), (0, 1), (1, 2)]


def test_given_plans_are_carried_out_and_then_it_ends():
    (kept,), model = run([[90.0, 10.0, 5.0]], FixedPolicy((Plan(), PART)))
    assert (kept.best_round, kept.stop, len(model.transports)) == (2, Verdict.EXHAUSTED, 2)


def test_large_latents_are_not_copied_where_every_picture_stays():
    latent = numbered(2)
    step = next(rounds(FakeModel([[1.0], [1.0]]), latent, Scripted()))
    assert step.latent.data_ptr() == latent.data_ptr()
    assert torch.equal(step.latent, latent)
