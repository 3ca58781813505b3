from dataclasses import replace

import torch

from rar_cli.loop.rounds import rounds, settle
from rar_cli.loop.verdict import PART_WAY
from rar_cli.types import DEGRADATIONS, Assessment, Degradation, StopPolicy, Verdict
from tests.fakes import FakeAssessor, FakeMove, numbered

POLICY = StopPolicy(accept_score=80.0, max_rounds=3)


def run(scores, policy=POLICY, severity=0.7, mask=None):
    assess, move = FakeAssessor(scores, severity), FakeMove()
    outcome = settle(rounds(assess, move, numbered(len(scores)), policy, mask))
    return outcome, assess, move


def test_a_picture_accepted_at_round_0_is_never_transported():
    (kept,), assess, move = run([[90.0]])
    assert (kept.best_round, kept.stop, assess.calls, move.moved) == (0, Verdict.ACCEPT, 1, 0)


def test_the_loop_ends_when_the_score_is_reached():
    (kept,), assess, move = run([[10.0, 50.0, 85.0]])
    assert (kept.best_round, kept.stop, assess.calls, move.moved) == (2, Verdict.ACCEPT, 3, 2)
    assert kept.latent[0, 1].item() == 2


def test_a_worse_round_is_thrown_away_and_the_best_is_kept():
    (kept,), _, move = run([[10.0, 50.0, 40.0]])
    assert (kept.best_round, kept.stop, move.moved) == (1, Verdict.REVERT, 2)
    assert kept.latent[0, 1].item() == 1
    assert kept.score_after == 50.0


def test_a_later_round_has_to_beat_the_best_score_so_far_and_not_a_drop_that_was_let_pass():
    policy = replace(POLICY, first_gain=-100.0, min_gain=5.0)
    (kept,), _, _ = run([[30.0, 20.0, 32.0]], policy)
    assert (kept.best_round, kept.stop) == (1, Verdict.REVERT)
    (kept,), _, _ = run([[30.0, 20.0, 36.0, 37.0]], policy)
    assert (kept.best_round, kept.stop) == (2, Verdict.REVERT)


def test_the_loop_never_exceeds_max_rounds():
    (kept,), _, move = run([[10.0, 20.0, 30.0, 40.0]])
    assert (kept.best_round, kept.stop, move.moved) == (3, Verdict.EXHAUSTED, 3)


def test_each_picture_of_a_batch_leaves_with_its_own_verdict():
    outcome, assess, move = run([[10.0, 50.0, 85.0], [95.0], [30.0, 20.0], [1.0, 2.0, 3.0, 4.0]])
    assert [k.best_round for k in outcome] == [2, 0, 0, 3]
    assert [k.stop for k in outcome] == [Verdict.ACCEPT, Verdict.ACCEPT, Verdict.REVERT, Verdict.EXHAUSTED]
    assert [k.latent[0, 0].item() for k in outcome] == [0, 1, 2, 3]
    assert move.moved == 2 + 0 + 1 + 3
    assert assess.calls == 4


def test_nothing_left_to_remove_is_judged_among_the_wanted_degradations_alone():
    (kept,), _, move = run([[10.0]], mask=torch.zeros(9))
    assert kept.stop is Verdict.ACCEPT
    assert move.moved == 0


def test_rounds_is_lazy_so_that_a_caller_may_stop_between_rounds():
    assess, move = FakeAssessor([[1.0, 2.0, 3.0, 4.0]]), FakeMove()
    passes = rounds(assess, move, numbered(1), POLICY)
    first = next(passes)
    assert (first.index, assess.calls, move.moved) == (0, 1, 0)
    passes.close()
    assert move.moved == 0


def test_a_picture_that_slight_haze_does_not_explain_and_that_comes_out_dark_is_put_back():
    class Darkening(FakeAssessor):
        def __call__(self, latent, /, *, remove_mask):
            found = super().__call__(latent, remove_mask=remove_mask)
            severities = torch.zeros_like(found.severities)
            severities[:, 5] = self.haze
            severities[:, 4] = self.dark[min(int(latent[0, 1, 0, 0]), 1)]
            return Assessment(found.score, severities, found.condition)

    cases = (
        (0.3, (0.0, 0.3), 0),
        (0.3, (0.25, 0.3), 1),
        (0.3, (0.0, 0.1), 1),
        (0.5, (0.0, 0.3), 1),
        (0.5, (0.0, 0.4), 0),
    )
    for haze, dark, best in cases:
        assess = Darkening([[10.0, 17.0]])
        assess.haze, assess.dark = haze, dark
        (kept,) = settle(rounds(assess, FakeMove(), numbered(1), StopPolicy(max_rounds=1)))
        assert kept.best_round == best, (haze, dark)


def test_later_rounds_remove_only_what_the_input_showed():
    shown = torch.tensor([0.5, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.3])
    asked = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    (kept,), assess, _ = run([[10.0, 20.0, 30.0, 40.0]], severity=shown, mask=asked)
    assert kept.best_round == 3
    torch.testing.assert_close(assess.masks[0], asked)
    for mask in assess.masks[1:]:
        torch.testing.assert_close(mask, torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0, 0]]))


def test_what_turns_up_after_the_first_round_alone_is_no_reason_for_another():
    assess, move = FakeAssessor([[10.0, 20.0], [10.0, 20.0, 90.0]]), FakeMove()
    assess.severity = torch.tensor([[0.01] * 8 + [0.2], [0.7] * 9])
    passes = rounds(assess, move, numbered(2), POLICY)
    next(passes)
    assess.severity = torch.tensor([[0.7] * 4 + [0.01] + [0.7] * 3 + [0.01], [0.7] * 9])
    second = next(passes)
    assert [r.verdict for r in second.rounds] == [Verdict.ACCEPT, Verdict.REPEAT]
    assess.severity = torch.tensor([0.7])
    list(passes)
    assert [None if m is None else len(m) for m in assess.masks] == [None, 2, 1]


class Doubtful:
    """Finds noise, and haze of its own in each picture, which is another one after the first round."""

    def __init__(self, haze, after):
        self.haze = {0: haze, 1: after}
        self.masks = []

    def __call__(self, latent, /, *, remove_mask):
        self.masks.append(remove_mask)
        severities = torch.zeros(len(latent), len(DEGRADATIONS))
        severities[:, DEGRADATIONS.index(Degradation.NOISE)] = 0.5 * (latent[:, 1, 0, 0] == 0)
        for row, (picture, moved) in zip(severities, latent[:, :2, 0, 0].long().tolist(), strict=True):
            row[DEGRADATIONS.index(Degradation.HAZE)] = self.haze.get(moved, {}).get(picture, 0.0)
        condition = torch.ones(len(latent), 9) if remove_mask is None else remove_mask.expand(len(latent), 9)
        return Assessment(10.0 + latent[:, 1, 0, 0], severities, condition[:, None])


def waiting(haze, after, policy):
    """Outcomes, and what each transport was told: (picture, haze to go, rounds since its memory began)."""
    told = []

    def move(latent, condition, origin):
        wanted = condition[:, 0, DEGRADATIONS.index(Degradation.HAZE)]
        begun = latent if origin is None else origin
        pictures, since = latent[:, 0, 0, 0].int().tolist(), (latent - begun)[:, 1, 0, 0].tolist()
        told.extend(zip(pictures, wanted.bool().tolist(), since, strict=True))
        return latent + torch.tensor([0.0, 1.0])[:, None, None]

    assess = Doubtful(dict(enumerate(haze)), dict(enumerate(after)))
    return settle(rounds(assess, move, numbered(len(haze)), policy)), told, assess


def test_haze_in_doubt_waits_for_the_second_round_and_memory_begins_there():
    policy = replace(POLICY, accept_score=90.0, clear_severity=0.1, later_clear_severity=1.0)
    outcome, told, assess = waiting([0.3, 0.3, 0.7, 0.0], [0.3, 0.0, 0.7, 0.0], policy)
    assert [len(kept.trace) - 1 for kept in outcome] == [2, 1, 1, 1]  # only what waited, and stayed, is worth a second
    assert told == [(0, False, 0), (1, False, 0), (2, True, 0), (3, True, 0), (0, True, 0)]
    assert len(assess.masks) == 4
    assert "leaves low light and haze" in outcome[0].trace[0].reason
    assert "leaves" not in outcome[2].trace[0].reason


def test_haze_that_stayed_in_doubt_and_whose_removal_brings_little_is_put_back():
    policy = replace(POLICY, accept_score=90.0, clear_severity=0.1, later_clear_severity=1.0)
    outcome, _, _ = waiting([0.3, 0.3], [0.25, 0.35], policy)  # each round brings one
    assert [(kept.best_round, kept.trace[-1].verdict) for kept in outcome] == [(1, Verdict.REVERT), (2, Verdict.ACCEPT)]


def test_faint_haze_beside_something_else_is_left_for_good():
    policy = replace(POLICY, accept_score=90.0, clear_severity=0.1, later_clear_severity=1.0)
    outcome, told, _ = waiting([0.05], [0.5], policy)  # the input hardly showed it
    assert told == [(0, False, 0)]
    assert outcome[0].stop is Verdict.ACCEPT


def test_memory_of_pictures_that_waited_and_of_others_is_kept_apart_in_a_batch():
    policy = replace(POLICY, accept_score=90.0, clear_severity=0.1)
    _, told, _ = waiting([0.3, 0.7], [0.3, 0.7], policy)
    assert told == [(0, False, 0), (1, True, 0), (0, True, 0), (1, True, 1)]


def test_round_1_goes_a_part_of_its_way_where_low_resolution_is_the_worst():
    severities = torch.zeros(2, 9)
    severities[:, 0] = 0.7
    severities[0, 8] = 0.8
    script = [[10.0, 20.0, 30.0, 40.0], [10.0, 20.0, 30.0, 40.0]]
    passes = list(rounds(FakeAssessor(script, severities), FakeMove(), numbered(2), POLICY))
    gone = [step.latent[:, 1].flatten().tolist() for step in passes]
    assert gone == [[0.0, 0.0], [PART_WAY, 1.0], [PART_WAY + 1, 2.0], [PART_WAY + 2, 3.0]]  # later ones go all of it


def test_what_is_to_stay_does_not_shorten_the_way():
    severities = torch.tensor([0.7, *7 * [0.0], 0.8])
    assess, move = FakeAssessor([[10.0, 90.0]], severities), FakeMove()
    mask = torch.ones(9)
    mask[8] = 0.0
    (kept,) = settle(rounds(assess, move, numbered(1), POLICY, mask))
    assert kept.latent[0, 1].item() == 1.0


def test_nothing_waits_where_there_is_one_round_alone():
    policy = replace(POLICY, accept_score=90.0, clear_severity=0.1, max_rounds=1)
    _, told, assess = waiting([0.3], [0.3], policy)
    assert told == [(0, True, 0)]
    assert len(assess.masks) == 2
