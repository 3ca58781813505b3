"""A further degradation takes three things: its name, its function and its row. All else follows.

The test adds one to a copy of the package and walks through everything that deals with degradations.
"""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from rar_cli.synthesis.degradations import REGISTRY, by_name, degrade, in_order
from rar_cli.synthesis.recipes import Recipe, focused_recipe, stack
from tests.conftest import ROOT

VIGNETTE = '''

def vignette(image: Image, severity: float, rng: Generator) -> Image:
    """Corners darker than the centre."""
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j].astype(np.float32)
    return image * (1.0 - severity * 0.5 * (x * x + y * y))[..., None] ** np.float32(rng.uniform(0.9, 1.1))
'''

WALK = """
import numpy as np, torch
from pathlib import Path
from rar_cli.cli.guard import names_of
from rar_cli.engine.places import Place
from rar_cli.loop.policy import candidates
from rar_cli.networks.model import Rar
from rar_cli.report.explain import explain
from rar_cli.report.words import describe
from rar_cli.synthesis.degradations import degrade
from rar_cli.synthesis.recipes import focused_recipe, random_recipe, stack
from rar_cli.train.config import load_config
from rar_cli.train.data import StepBatches
from rar_cli.train.stages import losses
from rar_cli.types import ALL, DEGRADATIONS, Degradation, Look, Plan

V, rng = Degradation.VIGNETTE, np.random.default_rng(0)
image = np.full((48, 64, 3), 0.5, np.float32)
assert len(DEGRADATIONS) == 10
# synthesis and recipes
assert degrade(image, V, 0.5, 0)[0, 0, 0] < degrade(image, V, 0.5, 0)[24, 32, 0]
assert [s.degradation for s in stack((Degradation.NOISE, V, Degradation.HAZE), 0.5, rng).steps] == ["haze", V, "noise"]
assert any(s.degradation is V for i in range(100) for s in random_recipe(np.random.default_rng(i)).steps)
assert focused_recipe(rng, ("vignette+rain",)).severities()[9] > 0
# training: config, batch, assessor, losses
config = load_config(Path("toy.toml"))
assert config.model.restorer.condition_tokens == 10 + 2
photo = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
batch = StepBatches([photo], config)[1].to(torch.device("cpu"))
assert batch.severities.shape == batch.remove_mask.shape == (4, 10)
assert (batch.severities[:, 9] > 0).any()
model = Rar(config.model)
model.codec.fit(torch.rand(400, 3, 4, 4))
for stage in config.stages:
    assert losses(model, batch, stage).total.isfinite()
seen = model.assessor(model.codec.encode(batch.clean))
assert seen.severities.shape == (4, 10) and seen.condition.shape[1] == 12
# verdict, report, command line
plans = list(candidates(Look(0.0, 9 * (0.1,) + (0.9,)), ALL))
assert Plan(frozenset({V}), restart=True) in plans
assert describe({d.value: 0.9 * (d is V) for d in DEGRADATIONS}) == "heavy vignette"
found = np.asarray([0.9 * (d is V) for d in DEGRADATIONS], np.float32)
assert "Heavy vignette all over" in explain(50.0, found, [Place((0, 48), (0, 64), found)], (48, 64))
assert names_of("vignette,noise", "--only") == (V, Degradation.NOISE)
"""

TOY = """
name = "toy"
[model.codec]
width = 8
[model.assessor]
stem = [8, 8, 8]
grid = 2
width = 16
layers = 1
heads = 2
condition_width = 8
free_tokens = 2
[model.restorer]
widths = [8, 8]
blocks = [1, 1]
condition_width = 8
modulation_width = 16
[[stages]]
name = "assess"
kind = "assessor"
steps = 1
crops = [{ pictures = 4, context_px = 32, window_px = 16 }]
[[stages]]
name = "restore"
kind = "restorer"
steps = 1
crops = [{ pictures = 4, context_px = 32, window_px = 16 }]
focused = 0.5
focus = ["vignette"]
"""


def added(path, before, text):
    """Insert text before a line that is there once."""
    source = path.read_text()
    assert source.count(before) == 1, f"{path.name}: {before!r}"
    path.write_text(source.replace(before, text + before))


@pytest.mark.slow
def test_a_tenth_degradation_takes_its_name_its_function_and_its_row(tmp_path):
    package = tmp_path / "rar_cli"
    shutil.copytree(ROOT / "rar_cli", package, ignore=shutil.ignore_patterns("__pycache__"))
    types, optics, registry = (
        package / part for part in ("types.py", "synthesis/optics.py", "synthesis/degradations.py")
    )
    added(types, "\n\nDEGRADATIONS: tuple", '    VIGNETTE = "vignette"\n')
    optics.write_text(optics.read_text() + VIGNETTE)
    added(registry, "    Row(Degradation.NOISE", "    Row(Degradation.VIGNETTE, Phase.OPTICS, vignette),\n")
    added(registry, "from rar_cli.synthesis.pixels import", "from rar_cli.synthesis.optics import vignette\n")
    (tmp_path / "toy.toml").write_text(TOY)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WALK)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_degradation_without_a_row_is_refused_at_once():
    with pytest.raises(ValueError, match="8 rows for 8 degradations; without one: jpeg"):
        by_name(REGISTRY[:-1])
    with pytest.raises(ValueError, match="10 rows for 9 degradations"):
        by_name((*REGISTRY, REGISTRY[0]))


@pytest.mark.parametrize(
    "made",
    [
        lambda rng: in_order(("noise", "fog")),
        lambda rng: stack(("noise", "fog"), 0.5, rng),
        lambda rng: focused_recipe(rng, ("fog",)),
        lambda rng: focused_recipe(rng, ("haze+fog",)),
        lambda rng: Recipe().keeping({"fog"}),
        lambda rng: degrade(rng.random((4, 4, 3), "float32"), "fog", 0.5, 0),
    ],
)
def test_a_name_without_a_place_raises_and_is_never_dropped(made):
    with pytest.raises(ValueError, match="no place in the order: fog; choose from noise, blur"):
        made(np.random.default_rng(0))
