"""The benchmark's camera: its own, faithful with endless light, and noisier the fewer photons it counts."""

import ast
import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "quality" / "camera_noise.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("camera_noise", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photo():
    y, x = np.mgrid[0:64, 0:80]
    smooth = 120 + 60 * np.sin(x / 11) + 50 * np.cos(y / 13)
    return np.stack([smooth, 0.8 * smooth + 20, 255 - smooth], -1).clip(0, 255).astype(np.uint8)


def test_it_shares_no_code_with_the_synthesis():
    imported = [
        node.module or "" for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.ImportFrom)
    ]
    assert imported
    assert not any("synthesis" in name or "train" in name or name.endswith("suites") for name in imported)


def test_with_endless_light_the_picture_is_the_photograph(script, photo):
    camera = replace(script.Camera.drawn(0, np.random.default_rng(0)), light=1.0)
    error = camera.shoot(photo, None)[4:-4, 4:-4] - photo[4:-4, 4:-4] / 255
    assert np.sqrt(np.square(error).mean()) < 0.012


def test_fewer_photons_make_more_noise_and_less_light_a_darker_picture(script, photo):
    camera = replace(script.Camera.drawn(0, np.random.default_rng(0)), light=1.0, read_error=2.0)
    clean = camera.shoot(photo, None)

    def noise(full_well):
        few = replace(camera, full_well=full_well)
        return np.square(few.shoot(photo, np.random.default_rng(1)) - clean).mean()

    assert noise(900) > 4 * noise(9000) > 4 * noise(60_000)
    assert replace(camera, light=0.5).shoot(photo, None).mean() < clean.mean()


def test_without_the_blur_of_a_lens_the_mosaic_gives_fine_stripes_false_colours(script):
    stripes = np.repeat(np.where(np.arange(64) % 3, 40, 220)[None, :, None], 64, 0).repeat(3, 2).astype(np.uint8)
    sharp = replace(script.Camera.drawn(0, np.random.default_rng(0)), light=1.0)

    def false_colour(camera):
        shown = camera.shoot(stripes, None)[8:-8, 8:-8]
        return np.ptp(shown, axis=2).mean()

    assert false_colour(sharp) > 1.5 * false_colour(replace(sharp, lens_px=0.7))


def test_pictures_are_seeded_spread_and_summed_up(script, photo, tmp_path, capsys):
    for number in range(4):
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    (tmp_path / "z.txt").write_text("no picture")
    first, again = (list(script.samples(tmp_path, 5)) for _ in range(2))
    assert "z.txt" in capsys.readouterr().out
    assert [s.name for s in first] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(first, again, strict=True))
    assert [s.camera.light for s in first] == [1.0, 0.71, 0.5, 1.0]
    rows = [{"input_db": 30.0, "rar_db": end, "non_local_means_db": 31.0} for end in (32.0, 28.5)]
    told = script.summary(rows, (3.0, 2.0))
    assert told["n"] == 2
    assert told["above_input"] == 0.5
    assert told["below_by_1_db"] == 1
    assert told["worst_db"] == -1.5
    assert told["colour_strength"] == 6.0
