from dataclasses import replace

import pytest
import torch

from rar_cli.engine.engine import Engine
from rar_cli.train.thresholds import SEVERITIES, Course, courses, figures, fit
from rar_cli.types import DEGRADATIONS, Degradation, StopPolicy


def nine(*worst):
    return tuple((severity, *8 * (0.0,)) for severity in worst)


CLEAN = Course(True, (90.0, 80.0), nine(0.02, 0.02), (60.0, 40.0))
HELPED = Course(False, (30.0, 60.0, 61.0), nine(0.6, 0.3, 0.3), (20.0, 26.0, 25.0))
HURT = Course(False, (70.0, 71.0, 71.5), nine(0.3, 0.3, 0.3), (30.0, 28.0, 27.0))


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (StopPolicy(85.0, 0.0, 0.0, 0.08, 2), [0, 2, 2]),
        (StopPolicy(65.0, 0.0, 0.0, 0.08, 2), [0, 2, 0]),
        (StopPolicy(65.0, 0.0, 2.0, 0.08, 2), [0, 1, 0]),
        (StopPolicy(100.0, 0.0, 0.0, 0.0, 1), [0, 1, 1]),
    ],
)
def test_a_policy_is_replayed_on_recorded_scores_as_the_loop_would_run(policy, kept):
    assert [c.stopped(policy) for c in (CLEAN, HELPED, HURT)] == kept


def test_the_fit_leaves_clean_pictures_alone_and_stops_before_harm():
    policy, found = fit([CLEAN, HELPED, HURT] * 3)
    assert found["clean_accepted"] == 1.0
    assert found["harmed"] == 0.0
    assert found["gain_db"] == pytest.approx(3.0)
    assert figures([CLEAN, HELPED, HURT], policy) == found


def test_each_degradation_is_clear_at_what_the_assessor_sees_of_it_in_clean_pictures():
    # Haze is often suspected in clean pictures, noise never: faint noise is to be seen to, faint haze is not.
    clean = Course(True, (40.0, 40.0), (4 * (0.0,) + (0.0, 0.3, 0.0, 0.0, 0.0),) * 2, (60.0, 40.0))
    noisy = Course(False, (40.0, 50.0), ((0.2, *8 * (0.0,)), 9 * (0.0,)), (24.0, 30.0))
    policy, found = fit([clean, noisy] * 4)
    assert (found["gain_db"], found["harmed"], found["clean_accepted"]) == (pytest.approx(6.0), 0.0, 1.0)
    assert policy.clear_severities(0)[0] < 0.2 < 0.3 <= policy.clear_severities(0)[5]


def test_a_clean_picture_is_touched_only_where_it_loses_less_than_others_gain():
    # Ninety-five in a hundred suffice; the last one is left alone too, unless it is as good when it is touched.
    def hazy(severity, gain, psnr_db=24.0, clean=False):
        severities = ((*5 * (0.0,), severity, *3 * (0.0,)), 9 * (0.0,))
        return Course(clean, (40.0, 50.0), severities, (psnr_db, psnr_db + gain))

    clean = 24 * [hazy(0.0, 0.0, 60.0, clean=True)]
    for loss, accepted in ((-14.0, 0.96), (-30.0, 1.0)):  # to 46 dB, which is perfect, or to 30
        policy, found = fit([*clean, hazy(0.2, loss, 60.0, clean=True), *9 * [hazy(0.6, 6.0)], hazy(0.15, 3.0)])
        assert found["clean_accepted"] == accepted
        assert found["clean_harmed"] == found["clean_lost_db"] == 0.0
        assert (policy.clear_severities(0)[5] < 0.15) == (accepted < 1.0)


def test_one_clear_severity_is_swapped_for_another_where_that_is_worth_more():
    # One clean picture in twenty may be touched: the one that seems noisy, for two gains, or the hazy one, for three.
    def seeming(noise, haze, gain):
        severities = ((noise, *4 * (0.0,), haze, *3 * (0.0,)), 9 * (0.0,))
        return Course(not gain, (40.0, 50.0), severities, (24.0, 24.0 + gain))

    clean = [seeming(0.0, 0.0, 0.0)] * 18 + [seeming(0.05, 0.0, 0.0), seeming(0.0, 0.2, 0.0)]
    degraded = [seeming(0.04, 0.0, 1.0)] * 2 + [seeming(0.0, 0.15, 1.0)] * 3
    _, found = fit(clean + degraded)
    assert found["clean_accepted"] == 0.95
    assert found["gain_db"] == pytest.approx(3 / 5)


def test_another_round_is_given_to_what_gains_by_it_alone():
    # What is dark after round 1 gains by round 2, what is noisy then loses, and the score tells neither.
    dark, noisy = ((*4 * (0.0,), 0.6, *4 * (0.0,)), (0.6, *8 * (0.0,)))
    gains = Course(False, (30.0, 40.0, 40.0), (dark, dark, 9 * (0.0,)), (20.0, 25.0, 28.0))
    loses = Course(False, (30.0, 40.0, 40.0), (noisy, noisy, 9 * (0.0,)), (20.0, 25.0, 24.0))
    policy, found = fit([CLEAN, gains, loses])
    assert [c.stopped(policy) for c in (gains, loses)] == [2, 1]
    assert policy.clear_severities(1)[4] < 0.6 < policy.clear_severities(1)[0]
    assert found["spoilt"] == 0.0


def test_courses_record_every_round_of_every_suite(busy):
    untouched = [(torch.rand(3, 24, 24),) * 2, (torch.rand(3, 22, 31), torch.rand(3, 22, 31))]
    found = courses(Engine(busy), torch.rand(1, 3, 24, 24), untouched)
    assert [c.psnr_db[0] == pytest.approx(60.0) for c in found[:2]] == [True, False]  # beside what it was before
    assert all(len(c.scores) == len(c.psnr_db) == len(c.severities) == (2 + c.waited if c.clean else 5) for c in found)
    assert all(len(c.asked) == len(c.scores) and not c.asked[0] for c in found)
    assert sum(c.clean for c in found) == 2 + 1
    assert len(found) == 2 + 1 + len(SEVERITIES) * (9 + 7)


def test_a_round_that_came_out_dark_is_replayed_as_put_back():
    dark = replace(HELPED, scores=(30.0, 37.0, 61.0), asked=(0.0, 8.0, 0.0))
    assert dark.stopped(StopPolicy(85.0, 0.0, 0.0, 0.08, 2)) == 0


def test_what_waited_goes_on_where_it_stayed():
    faint = tuple(0.2 if d is Degradation.HAZE else 0.0 for d in DEGRADATIONS)
    course = replace(HELPED, scores=(30.0, 40.0, 61.0), severities=((0.6, *faint[1:]), faint, 9 * (0.0,)))
    policy = StopPolicy(85.0, 0.0, 0.0, 0.08, 3, later_clear_severity=1.0)
    assert (course.stopped(policy), replace(course, waited=True).stopped(policy)) == (1, 2)


def test_a_later_round_that_spoils_what_round_1_made_is_paid_for():
    # Two dozen pictures lose half a decibel in round 2, one gains fifteen: on the mean alone it would win.
    spoilt = Course(False, (30.0, 40.0, 45.0), nine(0.6, 0.6, 0.6), (20.0, 26.0, 25.5))
    gained = Course(False, (10.0, 20.0, 25.0), nine(0.6, 0.6, 0.6), (10.0, 15.0, 30.0))
    policy, found = fit([CLEAN, *24 * [spoilt], gained])
    assert [c.stopped(policy) for c in (spoilt, gained)] == [1, 1]
    assert found["spoilt"] == 0.0
