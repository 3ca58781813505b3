"""Words with places: what is wrong, and in which part of a picture."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from rar_cli.cli import app
from rar_cli.engine.engine import load
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.places import Place, places
from rar_cli.report.explain import explain
from rar_cli.types import DEGRADATIONS, Degradation

SIZE = (300, 300)


def severities(**found):
    return np.array([found.get(d.value, 0.0) for d in DEGRADATIONS], np.float32)


def grid(**worst):
    """Nine places, one per third; `worst` gives a degradation's severity in the named place."""
    found = []
    for row in range(3):
        for column in range(3):
            here = {name: value for name, (value, where) in worst.items() if where in ((row, column), "all")}
            found.append(Place((100 * row, 100 * row + 100), (100 * column, 100 * column + 100), severities(**here)))
    return found


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ((0, 0), "worst at the top left"),
        ((0, 1), "worst at the top"),
        ((1, 1), "worst in the centre"),
        ((1, 2), "worst on the right"),
        ((2, 0), "worst at the bottom left"),
        ("all", "all over"),
    ],
)
def test_the_worst_third_is_named_where_it_stands_out(where, words):
    text = explain(31.4, severities(rain=0.7), grid(rain=(0.9, where)), SIZE)
    assert text == f"Heavy rain {words}. Score 31 of 100: poor."


def test_several_degradations_come_worst_first_and_slight_traces_go_unmentioned():
    text = explain(40.0, severities(rain=0.3, low_light=0.5, blur=0.05), grid(), SIZE)
    assert text == "Moderate low light all over; slight rain all over. Score 40 of 100: fair."
    assert explain(90.0, severities(), grid(), SIZE).startswith("Nothing is wrong")


def test_places_cover_the_picture(weights_dir):
    engine = load(str(weights_dir), EngineOptions("cpu"))
    found = places(engine, torch.rand(1, 3, 200, 330))
    covered = np.zeros((200, 330), bool)
    for place in found:
        assert place.severities.shape == (len(Degradation),)
        covered[slice(*place.rows), slice(*place.columns)] = True
    assert covered.all()


def test_the_command_explains_for_people_and_machines(weights_dir, tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    command = ["assess", str(path), "--explain", "--weights", str(weights_dir)]
    assert "Score" in CliRunner().invoke(app, command).stdout
    record = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert re.search(r"of 100: (poor|fair|good|very good)\.$", record["explanation"])
    plain = json.loads(CliRunner().invoke(app, [*command[:2], *command[3:], "--json"]).stdout)
    assert "explanation" not in plain
