"""Policies, with scripted heads: which plan is made, when none is, what a round has to show, and what bounds do."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rar_cli.loop.policy import FixedPolicy, GainPolicy, Prices, SimplePolicy, candidates
from rar_cli.types import ALL, DEGRADATIONS, Bounds, Degradation, Gain, Look, Plan, Verdict
from tests.conftest import ROOT

D = Degradation
RAIN, HAZE = frozenset({D.RAIN}), frozenset({D.HAZE})


class Heads:
    """Expected gains by what is removed, 0 for all else; found gains in order."""

    def __init__(self, gains, found=(), spread=0.0):
        self.gains, self.of_rounds, self.spread = gains, list(found), spread

    def expected(self, look, plans):
        means = [self.gains.get(plan.remove, 0.0) * plan.strength for plan in plans]
        return [Gain(mean, mean - self.spread) for mean in means]

    def found(self, before, after):
        gain = self.of_rounds[int(after.score) - 1]
        return Gain(gain, gain - self.spread)


def look(score=0.0, **severities):
    return Look(score, tuple(severities.get(d.value, 0.0) for d in DEGRADATIONS))


def policy(gains, found=(), prices=Prices(0.2, 0.5, 2.0), spread=0.0, **bounds):
    return GainPolicy(Heads(gains, found, spread), prices, Bounds(**bounds))


SEEN = look(rain=0.6, haze=0.3)


def test_the_plan_of_the_highest_expected_gain_is_made():
    decision = policy({ALL: 1.0, RAIN: 3.0, HAZE: -2.0}).decide([SEEN], [])
    assert decision.verdict is Verdict.REPEAT
    assert decision.plan == Plan(RAIN, restart=True)
    assert decision.expected_db == 3.0
    assert decision.reason == "should gain 3.0 dB"


def test_what_would_gain_too_little_is_accepted():
    decision = policy({ALL: 0.1}).decide([SEEN], [])
    assert (decision.verdict, decision.plan) == (Verdict.ACCEPT, None)
    assert "the best plan would gain +0.1 dB" in decision.reason


def test_an_unsure_gain_is_worth_less():
    assert policy({ALL: 1.0}, spread=0.5).decide([SEEN], []).verdict is Verdict.REPEAT
    assert policy({ALL: 1.0}, spread=3.0).decide([SEEN], []).verdict is Verdict.ACCEPT


@pytest.mark.parametrize(("found", "verdict"), [(-4.0, Verdict.REVERT), (2.0, Verdict.REPEAT)])
def test_a_round_that_more_likely_lost_is_put_back(found, verdict):
    decision = policy({RAIN: 3.0}, [found]).decide([SEEN, look(1, rain=0.5)], [Plan(RAIN)])
    assert decision.verdict is verdict
    assert decision.found_db == (found + 3.0) / 2  # what was expected counts as much as what is seen


def test_rounds_go_on_while_a_plan_is_worth_one_and_end_at_the_bound():
    looks, plans = [SEEN, look(1, rain=0.5)], [Plan(HAZE, restart=True)]
    assert policy({RAIN: 3.0, HAZE: 1.0}, [1.0]).decide(looks, plans).plan == Plan(RAIN, restart=True)
    ended = policy({RAIN: 3.0, HAZE: 1.0}, [1.0], max_rounds=1).decide(looks, plans)
    assert ended.verdict is Verdict.EXHAUSTED
    assert policy({RAIN: 3.0}, max_rounds=0).decide([SEEN], []).verdict is Verdict.EXHAUSTED


def test_who_names_a_degradation_has_seen_it():
    unsure = {HAZE: -1.0}
    assert policy(unsure, wanted=HAZE).decide([SEEN], []).verdict is Verdict.ACCEPT
    assert policy(unsure, wanted=HAZE, named=True).decide([SEEN], []).plan == Plan(HAZE, 0.5, restart=True)


def test_what_is_named_has_no_cheaper_round_where_not_a_trace_of_it_is_seen():
    named = policy({HAZE: 0.0}, [-0.5], wanted=HAZE, named=True)
    clean, faint = look(rain=0.6, haze=0.04), look(haze=0.06)
    assert named.decide([clean], []).verdict is Verdict.ACCEPT
    assert named.decide([faint], []).verdict is Verdict.REPEAT
    assert named.decide([clean, look(1)], [Plan(HAZE, 0.5, restart=True)]).verdict is Verdict.REVERT
    assert policy({HAZE: 1.0}, wanted=HAZE, named=True).decide([clean], []).verdict is Verdict.REPEAT  # it pays


def test_only_the_first_round_is_cheaper_for_what_is_named():
    once = policy({HAZE: -1.0}, [-0.5], wanted=HAZE, named=True)
    after = once.decide([SEEN, look(1, haze=0.3)], [Plan(HAZE, 0.5, restart=True)])
    assert after.verdict is Verdict.ACCEPT  # neither put back for what was expected of it, nor followed by another
    assert once.decide([SEEN, look(1)], [Plan(RAIN)]).verdict is Verdict.ACCEPT


@pytest.mark.slow
def test_plans_come_in_one_order_in_every_process():
    begin = "from tests.loop.test_policy import SEEN, ALL, candidates"
    script = f"{begin}; print([sorted(p.remove) for p in candidates(SEEN, ALL)])"
    runs = [
        subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT,
                       capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]


def test_only_what_is_wanted_is_planned_and_nothing_where_nothing_is():
    kept = ALL - RAIN
    assert all(plan.remove <= kept for plan in candidates(SEEN, kept))
    assert list(candidates(SEEN, frozenset())) == []
    assert policy({}, wanted=frozenset()).decide([SEEN], []).verdict is Verdict.ACCEPT


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=9, max_size=9), st.sets(st.sampled_from(DEGRADATIONS), min_size=1))
def test_candidates_differ_remove_something_and_begin_with_everything_wanted(severities, wanted):
    plans = list(candidates(Look(0.0, tuple(severities)), frozenset(wanted)))
    assert plans[0].remove == wanted
    assert len(set(plans)) == len(plans)
    assert all(plan.remove and 0 < plan.strength <= 1 for plan in plans)
    assert all(plan.restart for plan in plans if plan.remove != ALL)


@pytest.mark.parametrize("kind", [SimplePolicy, lambda bounds: policy({ALL: 5.0}).within(bounds)])
def test_a_score_that_is_good_enough_ends_the_loop(kind):
    within = kind(bounds=Bounds(accept_score=60.0))
    assert within.decide([look(61, rain=0.9)], []).verdict is Verdict.ACCEPT
    assert within.decide([look(59, rain=0.9)], []).verdict is Verdict.REPEAT


def test_the_simple_policy_removes_everything_once_or_accepts():
    simple = SimplePolicy().within(Bounds(wanted=ALL - HAZE))
    assert simple.decide([look(haze=0.9)], []).verdict is Verdict.ACCEPT
    assert simple.decide([look(rain=0.9)], []).plan == Plan(ALL - HAZE)
    assert simple.decide([look(rain=0.9), look(rain=0.9)], [Plan()]).verdict is Verdict.ACCEPT
    assert SimplePolicy(bounds=Bounds(max_rounds=0)).decide([look(rain=0.9)], []).verdict is Verdict.EXHAUSTED


def test_given_plans_stay_within_bounds():
    fixed = FixedPolicy((Plan(RAIN), Plan(HAZE), Plan())).within(Bounds(max_rounds=1, wanted=HAZE))
    assert fixed.plans == (Plan(HAZE),)


def test_everything_that_changes_a_decision_is_told():
    plain = policy({})
    changed = [
        policy({}, prices=Prices(0.3)),
        plain.within(Bounds(3)),
        plain.within(Bounds(wanted=HAZE)),
        SimplePolicy(),
    ]
    assert len({str(each.about()) for each in [plain, *changed]}) == 5


@pytest.mark.parametrize("options", [{"accept_score": 101.0}, {"accept_score": -1.0}, {"max_rounds": -1}])
def test_impossible_bounds_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        Bounds(**options)
