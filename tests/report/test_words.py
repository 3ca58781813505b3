"""What people read: bands, steps, reasons, tables, summaries."""

import io
import itertools

import pytest
from rich.console import Console

from rar_cli.report.tables import common_folder, shortened, table
from rar_cli.report.words import (
    Choice,
    band,
    banded,
    follows,
    lasted,
    listed,
    outcome,
    steps,
    steps_line,
    summary_line,
    written_line,
)
from rar_cli.types import DEGRADATIONS
from tests.reports import record


def course(*severities, best=None, stop="accept", reason="x", plans=(), status="restored", score=50.0):
    """A record whose rounds found these severities."""
    rounds = [
        {
            "round": i, "score": score, "verdict": "repeat", "reason": reason,
            "degradations": {d.value: found.get(d.value, 0.0) for d in DEGRADATIONS},
        }
        for i, found in enumerate(severities)
    ]  # fmt: skip
    for each, plan in zip(rounds, plans, strict=False):
        each["plan"] = {"remove": plan, "strength": 1.0}
    return {**record(status=status), "rounds": rounds, "best_round": len(rounds) - 1 if best is None else best,
            "stop": stop, "score_before": score}  # fmt: skip


@pytest.mark.parametrize(
    ("score", "word"),
    [(0, "poor"), (39.9, "poor"), (40, "fair"), (60, "good"), (79.9, "good"), (80, "very good"), (100, "very good")],
)
def test_a_score_has_a_band(score, word):
    assert band(score) == word


def test_steps_name_what_the_plans_removed_where_the_record_has_plans():
    told = course({"noise": 0.8, "haze": 0.4, "jpeg": 0.01}, {"haze": 0.4}, {}, plans=[["noise"], ["jpeg", "haze"]])
    assert steps_line(told) == "Step 1: noise -> Step 2: haze"


def test_steps_name_what_fell_where_it_has_none():
    told = course({"rain": 0.5, "low_light": 0.7}, {"rain": 0.45, "low_light": 0.14}, {"rain": 0.0})
    assert steps_line(told, "→") == "Step 1: low light → Step 2: rain and low light"
    assert steps(course({})) == ()


def test_a_step_says_that_it_was_put_back_and_what_it_gained():
    told = course({"noise": 0.8}, {"noise": 0.1}, best=0, stop="revert")
    told["rounds"][0]["expected_gain_db"], told["rounds"][1]["found_gain_db"] = 2.0, -1.0
    (step,) = steps(told)
    assert step.text == "Step 1: noise (put back)"
    assert (step.expected_db, step.found_db) == (2.0, -1.0)


@pytest.mark.parametrize(
    ("told", "choice", "said"),
    [
        (course({}, status="accepted", score=70.0), Choice(), "good as it is"),
        (course({}, status="accepted"), Choice(), "left alone: nothing found that rar would improve"),
        (course({"noise": 0.5}, score=70.0), Choice(accept=60.0), "left alone: its score reaches 60"),
        (course({"noise": 0.5}, score=50.0), Choice(accept=60.0), "left alone: would gain too little"),
        (course({"noise": 0.2}, score=85.0), Choice(), "good as it is"),
        (course({"noise": 0.5}), Choice(), "left alone: would gain too little"),
        (course({"noise": 0.5}), Choice(only=("rain", "haze")), "left alone: nothing of rain or haze"),
        (course({"noise": 0.5}), Choice(only=("low_light",)), "left alone: nothing of low light"),
        (course({"rain": 0.5}), Choice(only=("rain",)), "left alone: would gain too little"),
        (course({"noise": 0.5}), Choice(keep=("noise",)), "left alone: only noise, which is kept"),
        (course({"noise": 0.5}, stop="exhausted"), Choice(), "left alone: max rounds or strength is 0"),
        (
            course({"noise": 0.5}, {}, best=0, stop="revert", reason="it lost 1 dB"),
            Choice(), "put back: it lost 1 dB",
        ),
        (course({"noise": 0.5}, {}), Choice(), "restored: noise"),
        (course({"noise": 0.5, "haze": 0.5}, {"haze": 0.5}, {}), Choice(), "restored: noise -> haze"),
        (course({"noise": 0.5}, {}, stop="exhausted"), Choice(), "restored: noise (all rounds used)"),
        (
            course({"noise": 0.5, "haze": 0.5}, {"haze": 0.5}, {}, best=1, stop="revert", reason="why"),
            Choice(), "restored: noise; then haze put back: why",
        ),
        ({**record(status="failed"), "error": "a.png: damaged"}, Choice(), "failed: damaged"),
        (record(status="skipped"), Choice(), "done before"),
    ],
)  # fmt: skip
def test_what_happened_is_said_in_one_line(told, choice, said):
    assert outcome(told, choice) == said


def test_a_table_says_the_common_folder_once_and_shortens_from_the_left():
    told = [{**course({"noise": 0.5}, {}), "input": f"scans/1987/{'x' * 80}{i}.png"} for i in range(2)]
    told.append({**record(status="failed"), "input": "scans/1987/sub/bad.png", "error": "scans/1987/sub/bad.png: cut"})
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    table(told, console)
    lines = console.file.getvalue().splitlines()
    assert "in scans/1987/" in lines[0]
    assert sum("scans" in line for line in lines) == 1
    assert "…" in lines[2]
    assert "x0.png" in lines[2]
    assert "\x1b[31m" in next(line for line in lines if "sub/bad.png" in line)  # red
    assert "failed: cut" in console.file.getvalue()


def test_paths_and_lists():
    assert common_folder(["a/b/c.png", "a/b/d/e.png"]) == "a/b/"
    assert common_folder(["a/bc/c.png", "a/bd/e.png"]) == "a/"
    assert common_folder(["c.png", "a/e.png"]) == ""
    assert common_folder(["a/e.png"]) == ""
    assert shortened("a/long/name.png", 9) == "…name.png"
    assert shortened("name.png", 8) == "name.png"
    assert listed(["a", "b", "c"], "or") == "a, b or c"


def test_the_summary_counts_and_names_where_things_lie():
    counts = {"restored": 2, "accepted": 1, "skipped": 3, "failed": 0}
    line = summary_line(counts, 1, 2.0, 75.0)
    assert line == "2 restored, 1 left alone, 3 skipped (done before); 1 round; 2.0 MP in 1 min 15 s (0.03 MP/s)"
    assert written_line("out", "r.html") == "pictures: out; report: r.html"
    assert written_line("-", None) == ""
    assert [lasted(s) for s in (0.4, 59, 61, 7500)] == ["0 s", "59 s", "1 min 01 s", "2 h 05 min"]


def test_what_the_heads_say_was_gained_stands_beside_what_was_removed():
    told = course({"noise": 0.5, "haze": 0.5}, {"haze": 0.5}, {})
    told["rounds"][1]["found_gain_db"], told["rounds"][2]["found_gain_db"] = 2.0, 1.14
    assert outcome(told) == "restored: noise -> haze, about 3.1 dB"
    told["rounds"][2]["found_gain_db"] = -2.5
    assert outcome(told) == "restored: noise -> haze, may have lost about 0.5 dB"
    told["rounds"][2]["found_gain_db"] = -2.04
    assert outcome(told) == "restored: noise -> haze, without gain"
    told["rounds"][2]["found_gain_db"] = None
    assert outcome(told) == "restored: noise -> haze"


def test_a_record_of_a_fallen_score_says_so():
    told = {**course({"noise": 0.5}, {}, score=84.0), "score_after": 76.0}
    told["rounds"][1]["found_gain_db"] = 0.3
    assert outcome(told) == "restored: noise, about 0.3 dB, though the score fell"


def test_the_round_that_was_put_back_leaves_what_the_others_gained():
    told = course({"noise": 0.5, "haze": 0.5}, {"haze": 0.5}, {}, best=1, stop="revert", reason="it lost 1 dB")
    told["rounds"][1]["found_gain_db"], told["rounds"][2]["found_gain_db"] = 3.0, -1.0
    assert outcome(told) == "restored: noise, about 3.0 dB; then haze put back: it lost 1 dB"


SCORES = (0.0, 20.0, 39.996, 45.0, 56.0, 65.0, 79.0, 85.0, 100.0)
FOUND = ({}, {"noise": 0.05}, {"noise": 0.2}, {"rain": 0.5}, {"noise": 0.9, "haze": 0.4})
CHOICES = (
    Choice(), Choice(only=("rain", "haze")), Choice(only=("noise",)), Choice(keep=("noise",)), Choice(accept=50.0),
    Choice(only=("rain",), accept=80.0),
)  # fmt: skip
EXPECTED = (None, -1.0, 0.1, 3.0)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("verdict", ["accept", "revert", "exhausted"])
def test_an_untouched_picture_is_called_good_only_where_its_score_is(verdict, choice):
    """Every band, finding and forecast: the words of score and verdict agree, in `restore` and in `assess`."""
    for score, found, expected in itertools.product(SCORES, FOUND, EXPECTED):
        told = course(found, stop=verdict, reason="it lost 1 dB", score=score, status="accepted")
        told["rounds"][0]["expected_gain_db"] = expected
        said = outcome(told, choice)
        assert said == "good as it is" or said.startswith(("left alone: ", "put back: ")), said
        assert "good" not in said or band(score) in {"good", "very good"}, (banded(score), said)
        if verdict != "accept":
            words = {"revert": "put back: it lost 1 dB", "exhausted": "left alone: max rounds or strength is 0"}
            assert said == words[verdict]
            continue
        about = {**told["rounds"][0], "verdict": "accept", "plan": None}
        assert follows(about, choice) == said
        assert ("too little" not in said and "uncertain" not in said) or max(found.values()) >= 0.12, (found, said)


def test_what_is_worth_restoring_is_named_with_its_gain():
    about = {"score": 84.0, "verdict": "restore", "degradations": {"noise": 0.5, "low_light": 0.4, "rain": 0.01}}
    told = {**about, "plan": {"remove": ["noise", "low_light", "rain"], "strength": 1.0}, "expected_gain_db": 5.04}
    assert follows(told) == "worth restoring: noise and low light, about 5.0 dB"
    assert follows({**told, "expected_gain_db": None}) == "worth restoring: noise and low light"
    told["plan"] = {"remove": ["rain"], "strength": 0.5}  # nothing of it was found: the plan still has a name
    assert follows(told) == "worth restoring: rain, about 5.0 dB"
