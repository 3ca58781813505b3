import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rar_cli.loop.verdict import (
    PART_WAY,
    SEEN,
    STAYED,
    STAYED_GAIN,
    asked_of_light,
    judge,
    later_wanted,
    light_waits,
    way,
    without_light,
)
from rar_cli.types import DEGRADATIONS, Degradation, StopPolicy, Verdict

POLICY = StopPolicy(accept_score=80.0, first_gain=1.0, min_gain=1.0, clear_severity=0.1, max_rounds=3)


def of(worst):
    return [worst, *8 * [0.0]]


def dark(low_light, haze=0.0):
    found = {Degradation.LOW_LIGHT: low_light, Degradation.HAZE: haze}
    return [found.get(d, 0.0) for d in DEGRADATIONS]


HAZY = dark(0.0, haze=0.3)


def asked_of_round_1(before, after):
    return asked_of_light(1, before, before, after, waited=False)


@pytest.mark.parametrize(
    ("index", "score", "best", "worst", "expected"),
    [
        (0, 90.0, None, 0.9, Verdict.ACCEPT),
        (0, 50.0, None, 0.05, Verdict.ACCEPT),
        (0, 50.0, None, 0.5, Verdict.REPEAT),
        (1, 60.0, 50.0, 0.5, Verdict.REPEAT),
        (1, 50.5, 50.0, 0.5, Verdict.REVERT),
        (1, 40.0, 50.0, 0.0, Verdict.REVERT),
        (2, 85.0, 60.0, 0.5, Verdict.ACCEPT),
        (3, 60.0, 50.0, 0.5, Verdict.EXHAUSTED),
        (3, 40.0, 50.0, 0.5, Verdict.REVERT),
    ],
)
def test_the_verdict_follows_scores_and_policy(index, score, best, worst, expected):
    verdict, reason = judge(index, score, best, of(worst), POLICY)
    assert verdict is expected
    assert reason


@pytest.mark.parametrize(("score", "expected"), [(30.0, Verdict.REVERT), (32.0, Verdict.REPEAT)])
def test_a_round_that_came_out_dark_has_to_gain_clearly(score, expected):
    assert judge(1, score, 20.0, of(0.5), POLICY, asked=asked_of_round_1(HAZY, dark(0.25)))[0] is expected
    assert judge(1, score, 20.0, of(0.5), POLICY)[0] is Verdict.REPEAT


def test_no_score_makes_up_for_a_picture_that_came_out_very_dark():
    assert judge(1, 80.0, 20.0, of(0.5), POLICY, asked=asked_of_round_1(HAZY, dark(0.36)))[0] is Verdict.REVERT


def test_heavy_haze_explains_that_a_picture_comes_out_dark():
    assert asked_of_round_1(dark(0.0, haze=0.6), dark(0.25)) == 0.0


@pytest.mark.parametrize("before", [dark(0.21, haze=0.3), dark(0.0)])
def test_nothing_is_asked_of_a_picture_that_was_dark_or_had_no_haze(before):
    assert asked_of_round_1(before, dark(0.9)) == 0.0


def test_no_round_is_allowed_when_max_rounds_is_zero():
    assert judge(0, 10.0, None, of(0.9), StopPolicy(max_rounds=0))[0] is Verdict.EXHAUSTED


@given(
    st.integers(0, 10),
    st.floats(0, 100),
    st.one_of(st.none(), st.floats(0, 100)),
    st.floats(0, 1),
    st.integers(0, 8),
)
def test_repeat_is_never_given_at_or_past_max_rounds(index, score, best, worst, most):
    verdict, _ = judge(index, score, best, of(worst), StopPolicy(max_rounds=most))
    assert verdict is not Verdict.REPEAT or index < most
    if best is not None and score < best:
        assert verdict is Verdict.REVERT


def test_the_first_round_has_a_margin_of_its_own():
    policy = StopPolicy(accept_score=80.0, first_gain=-2.0, min_gain=0.5, clear_severity=0.1, max_rounds=4)
    assert judge(1, 49.0, 50.0, of(0.5), policy)[0] is Verdict.REPEAT
    assert judge(1, 47.0, 50.0, of(0.5), policy)[0] is Verdict.REVERT
    assert judge(2, 49.4, 49.0, of(0.5), policy)[0] is Verdict.REVERT
    assert judge(2, 49.6, 49.0, of(0.5), policy)[0] is Verdict.REPEAT


def test_what_is_worth_another_round_may_differ_from_what_is_worth_the_first():
    never = (*4 * (1.0,), 0.2, *4 * (1.0,))
    policy = StopPolicy(accept_score=80.0, min_gain=-100.0, clear_severity=0.1, later_clear_severity=never)
    dark = [0.0, 0.9, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0]
    assert judge(0, 40.0, None, of(0.15), policy)[0] is Verdict.REPEAT
    assert judge(1, 50.0, 40.0, of(0.9), policy)[0] is Verdict.ACCEPT
    assert judge(1, 50.0, 40.0, dark, policy)[0] is Verdict.REPEAT
    assert judge(1, 50.0, 40.0, of(0.15), StopPolicy(clear_severity=0.1))[0] is Verdict.REPEAT


@pytest.mark.parametrize(
    "options",
    [
        {"accept_score": 101.0},
        {"accept_score": -1.0},
        {"max_rounds": -1},
        {"clear_severity": (0.1, 0.2)},
        {"later_clear_severity": [0.1]},
    ],
)
def test_impossible_policies_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        StopPolicy(**options)


def test_later_rounds_want_what_was_asked_for_and_seen():
    shown = torch.tensor([[SEEN, SEEN - 0.01, 0.9]])
    assert later_wanted(shown, torch.tensor([1.0, 1.0, 0.0])).tolist() == [[1.0, 0.0, 0.0]]
    assert later_wanted(shown, None).tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("found", "noise", "waits"),
    [
        (dark(0.2), 0.5, True),
        (dark(0.0, haze=0.3), 0.2, True),
        (dark(0.2), 0.1, False),  # nothing else that would pass for it
        (dark(0.02), 0.5, False),  # not seen
        (dark(0.2, haze=0.7), 0.5, False),  # no doubt about the haze
    ],
)
def test_low_light_and_haze_wait_where_in_doubt_beside_something_else(found, noise, waits):
    assert light_waits([noise, *found[1:]]) is waits


@pytest.mark.parametrize(
    ("low_resolution", "jpeg", "blur", "expected"),
    [(0.6, 0.5, 0.0, PART_WAY), (0.5, 0.6, 0.0, 1.0), (0.6, 0.0, 0.1, PART_WAY), (0.6, 0.0, 0.3, 1.0)],
)
def test_round_1_goes_a_part_of_its_way_where_low_resolution_is_the_worst(low_resolution, jpeg, blur, expected):
    assert way([0.0, blur, 0.0, jpeg, *4 * [0.0], low_resolution]) == expected


def test_what_waited_is_worth_another_round_from_less_on():
    policy = StopPolicy(90.0, clear_severity=0.3, later_clear_severity=1.0)
    assert judge(1, 50.0, 40.0, dark(STAYED + 0.01), policy, waits=True)[0] is Verdict.REPEAT
    assert judge(1, 50.0, 40.0, dark(STAYED + 0.01), policy)[0] is Verdict.ACCEPT
    assert judge(1, 50.0, 40.0, dark(STAYED, haze=STAYED), policy, waits=True)[0] is Verdict.ACCEPT
    assert judge(1, 50.0, 40.0, of(0.9), policy, waits=True)[0] is Verdict.ACCEPT  # noise did not wait


def test_a_round_that_leaves_the_light_is_not_blamed_for_darkness():
    assert asked_of_light(1, HAZY, HAZY, dark(0.9), waited=True) == 0.0
    assert asked_of_light(2, HAZY, HAZY, dark(0.9), waited=True) > STAYED_GAIN  # the next one is


@pytest.mark.parametrize(("gain", "expected"), [(9.0, Verdict.REVERT), (11.0, Verdict.REPEAT)])
def test_light_still_in_doubt_after_waiting_has_to_bring_the_score_as_much(gain, expected):
    slight = asked_of_light(2, dark(0.3), dark(0.25), dark(0.0), waited=True)
    assert judge(2, 40.0 + gain, 40.0, of(0.5), POLICY, slight)[0] is expected
    assert asked_of_light(2, dark(0.3), dark(0.35), dark(0.0), waited=True) == 0.0  # no doubt any more
    assert asked_of_light(2, dark(0.3), dark(0.1), dark(0.0), waited=True) == 0.0  # none either: it was the rain's
    assert asked_of_light(2, dark(0.3), dark(0.25), dark(0.0), waited=False) == 0.0
    assert asked_of_light(3, dark(0.3), dark(0.25), dark(0.0), waited=True) == 0.0  # it was round 2 that removed it


def test_round_1_leaves_low_light_and_haze_of_those_that_wait_alone():
    wanted = torch.ones(9).index_fill(0, torch.tensor(0), 0.0)
    light = [DEGRADATIONS.index(d) for d in (Degradation.LOW_LIGHT, Degradation.HAZE)]
    rows = without_light(wanted, torch.tensor([True, False])).tolist()
    assert [place for place, row in enumerate(rows[0]) if not row] == sorted([0, *light])
    assert rows[1] == wanted.tolist()
    assert without_light(None, torch.tensor([False])).tolist() == [9 * [1.0]]
