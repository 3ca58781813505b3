"""The shipped weights on the shipped samples."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from rar_cli.bench.metrics import psnr_db
from rar_cli.engine import engine as module
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.options import EngineOptions
from rar_cli.engine.restore import restore
from rar_cli.loop.policy import FixedPolicy
from rar_cli.networks.model import Rar
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.images import picture_to_image
from rar_cli.types import Plan
from rar_cli.weights.find import find
from tests.conftest import ROOT
from tests.fakes import CPU

pytestmark = [pytest.mark.weights, pytest.mark.slow]

NAMES = sorted(p.stem for p in (ROOT / "samples" / "clean").glob("*.png"))


@pytest.fixture(scope="module")
def engine():
    return load(options=CPU)


def image(kind, name):
    path = ROOT / "samples" / kind / f"{name}.png"
    return picture_to_image(read_picture(path.read_bytes(), str(path))).float() / 255


def array(x):
    return x[0].permute(1, 2, 0).numpy()


def test_there_are_eight_samples_each_with_its_original_and_a_named_source():
    assert len(NAMES) == 8
    assert sorted(p.stem for p in (ROOT / "samples" / "degraded").glob("*.png")) == NAMES
    sources = (ROOT / "samples" / "SOURCES.md").read_text()
    assert all(f"| {name} |" in sources for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_codec_alone_keeps_50_db(engine, name):
    clean = image("clean", name)
    with torch.inference_mode():
        back = engine.decode(engine.encode(clean), clean.shape[-2:])
    assert psnr_db(array(back), array(clean)) >= 50


@pytest.fixture(scope="module")
def restored(engine):
    """Name -> gain in dB and rise of the score."""
    found = {}
    for name in NAMES:
        degraded, clean = image("degraded", name), image("clean", name)
        (outcome,) = restore(engine, degraded)
        final = degraded if outcome.image is None else outcome.image
        gain = psnr_db(array(final), array(clean)) - psnr_db(array(degraded), array(clean))
        found[name] = (gain, outcome.restoration.score_after - outcome.restoration.score_before)
    return found


def test_restoring_the_samples_raises_score_and_psnr(restored):
    gains, rises = zip(*restored.values(), strict=True)
    assert np.mean(gains) > 2, restored
    assert np.mean(rises) > 5, restored


@pytest.mark.parametrize("name", NAMES)
def test_no_sample_ends_below_its_input(restored, name):
    assert restored[name][0] > -0.5


def test_no_seam_shows_tiled_against_whole(engine, monkeypatch):
    picture = torch.cat([image("degraded", n)[..., :255, :] for n in ("china", "rocket")], dim=-1)
    policy = FixedPolicy((Plan(), Plan()))
    model = Rar.load(find("rar-s").folder)
    whole = restore(engine, picture, policy)[0].image
    tiled = restore(Engine(model, EngineOptions("cpu", "float32", tile_px=384)), picture, policy)[0].image
    assert module.OVERLAP_PX < 384
    difference = (whole - tiled).abs() * 255
    assert difference.mean() < 1, f"mean {difference.mean():.3f}"
    assert difference.max() < 4, f"max {difference.max():.3f}"


def test_restoring_with_the_shipped_weights_makes_no_network_call(tmp_path):
    script = (
        "import socket, sys\n"
        "def refuse(*args): raise SystemExit('network')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
        "from typer.testing import CliRunner\nfrom rar_cli.cli import app\n"
        f"args = ['assess', {str(ROOT / 'samples' / 'degraded' / 'rocket.png')!r}, '--json']\n"
        "result = CliRunner().invoke(app, args)\nprint(result.stdout)\nsys.exit(result.exit_code)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["degradations"]["haze"] > 0.3


def test_the_model_card_the_ledger_and_the_manifest_travel_with_the_weights():
    folder = find("rar-s").folder
    assert sum(p.stat().st_size for p in folder.rglob("*.safetensors")) < 25e6
    assert (folder / "training.jsonl").stat().st_size < 5e5
    assert "Limits" in (folder / "README.md").read_text()
    events = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert {"note", "begin", "step", "validation"} <= {e["event"] for e in events}
    assert not [p for p in folder.rglob("*") if p.suffix in {".pt", ".pth", ".pkl", ".bin"}]
