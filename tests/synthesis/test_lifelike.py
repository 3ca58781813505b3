"""Lifelike models, drawings, and scenes that are dim by nature; the stages that ask for them."""

import numpy as np
import pytest
import torch

from rar_cli.errors import UsageError
from rar_cli.synthesis.degradations import REGISTRY, degrade
from rar_cli.synthesis.drawings import DRAWINGS, drawing
from rar_cli.synthesis.optics import defocus, disc, shake
from rar_cli.synthesis.recipes import random_recipe
from rar_cli.train.config import Crops, Stage, TrainConfig
from rar_cli.train.data import StepBatches
from rar_cli.train.data.crops import dimmed
from rar_cli.types import Degradation

LIFELIKE = [row.degradation for row in REGISTRY if row.lifelike is not None]


@pytest.fixture
def image():
    y, x = np.mgrid[0:48, 0:60].astype(np.float32)
    base = 0.5 + 0.25 * np.sin(x / 3) + 0.2 * np.cos(y / 4)
    return np.clip(np.stack([base, base * 0.8, 1 - base], -1), 0, 1).astype(np.float32)


@pytest.mark.parametrize("name", LIFELIKE)
def test_each_is_a_seeded_pure_function_that_differs_from_the_plain_one(image, name):
    before = image.copy()
    for seed in range(6):
        made = degrade(image, name, 0.5, seed, lifelike=True)
        assert made.shape == image.shape
        assert made.dtype == np.float32
        assert np.isfinite(made).all()
        assert 0 <= made.min() <= made.max() <= 1
        assert np.array_equal(made, degrade(image, name, 0.5, seed, lifelike=True))
        assert not np.array_equal(made, degrade(image, name, 0.5, seed))
    assert np.array_equal(before, image)


@pytest.mark.parametrize("name", LIFELIKE)
def test_more_severity_does_more_damage_and_tiny_pictures_survive(image, name):
    def damage(severity):
        return np.mean([np.square(degrade(image, name, severity, s, True) - image).mean() for s in range(12)])

    assert damage(0.9) > damage(0.4) > damage(0.1) > 0
    for shape in ((1, 1), (1, 7), (5, 3)):
        for seed in range(12):
            tiny = np.full((*shape, 3), 0.5, np.float32)
            assert degrade(tiny, name, 0.7, seed, True).shape == tiny.shape


def test_a_recipe_becomes_lifelike_with_the_same_seeds(image):
    recipe = random_recipe(np.random.default_rng(4), (0.0, 0.0, 1.0))
    living = recipe.lifelike()
    assert [(s.degradation, s.severity, s.seed) for s in living.steps] == [
        (s.degradation, s.severity, s.seed) for s in recipe.steps
    ]
    assert all(s.lifelike for s in living.steps)
    assert not any(s.lifelike for s in recipe.steps)


def test_lamps_stay_bright_when_they_are_spread_out():
    night = np.full((64, 64, 3), 0.05, np.float32)
    night[30:34, 30:34] = 1.0
    for model in (defocus, shake):
        brightest = max(float(model(night, 0.4, np.random.default_rng(seed)).max()) for seed in range(12))
        assert brightest > 0.9, model


def test_discs_are_discs():
    for radius in (0.7, 2.0, 6.5):
        for blades in (0, 5, 8):
            kernel = disc(radius, blades=blades)
            assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
            assert (kernel >= 0).all()
    large = disc(6.0)
    middle = large.shape[0] // 2
    assert large[middle, middle] == pytest.approx(1 / (np.pi * 36), rel=0.05)
    assert large[middle, middle + 8 - 1] == 0


@pytest.mark.parametrize("made", DRAWINGS, ids=lambda d: d.__name__)
def test_drawings_are_seeded_pictures_of_any_size(made):
    for size in (16, 61, 128):
        for seed in range(3):
            picture = made(size, np.random.default_rng(seed))
            assert picture.shape == (size, size, 3)
            assert picture.dtype == np.float32
            assert np.array_equal(picture, made(size, np.random.default_rng(seed)))
    whole = drawing(40, np.random.default_rng(0))
    assert 0 <= whole.min() <= whole.max() <= 1
    assert np.abs(whole * 255 - np.rint(whole * 255)).max() < 1e-4


def test_dim_scenes_are_clean_and_most_of_them_darker_or_flatter(image):
    seen = [dimmed(image, np.random.default_rng(seed)) for seed in range(40)]
    assert all(0 <= x.min() <= x.max() <= 1 and x.dtype == np.float32 for x in seen)
    assert all(np.corrcoef(image[..., 0].ravel(), x[..., 0].ravel())[0, 1] > 0.8 for x in seen)
    assert sum(x.mean() < image.mean() - 0.1 for x in seen) > 10
    assert sum(x.std() < 0.7 * image.std() for x in seen) > 10


def batch(photo_count=1, **settings):
    photos = [np.random.default_rng(i).integers(0, 255, (64, 64, 3), dtype=np.uint8) for i in range(photo_count)]
    stage = Stage("new", "restorer", steps=1, crops=(Crops(24, 32, 32),), **{"partial": 0.3, **settings})
    return StepBatches(photos, TrainConfig("tiny", (stage,)))[0]


def test_new_kinds_change_nothing_unless_a_stage_asks_for_them():
    plain = batch().tensors()
    for setting in ("camera", "lifelike", "drawn", "dim"):
        assert all(torch.equal(plain[name], value) for name, value in batch(**{setting: 0.0}).tensors().items())
        assert not torch.equal(batch(**{setting: 1.0}).degraded, plain["degraded"]), setting
        with pytest.raises(UsageError, match=f"{setting} must lie in"):
            batch(**{setting: 1.5})


def test_a_camera_moves_the_truth_with_the_picture():
    shot, plain = batch(camera=1.0, partial=0.0), batch(partial=0.0)
    assert torch.equal(shot.clean, shot.target)
    assert not torch.equal(shot.clean, plain.clean)
    assert shot.severities.min() >= 0
    assert shot.severities.max() <= 1


def test_most_drawings_are_left_alone():
    drawn = batch(drawn=1.0, partial=0.0)
    untouched = drawn.severities.sum(1) == 0
    assert 10 < untouched.sum() < 24
    assert torch.equal(drawn.degraded[untouched], drawn.target[untouched])
    named = drawn.severities[~untouched].nonzero()[:, 1].unique().tolist()
    assert {list(Degradation)[i] for i in named} <= {Degradation.NOISE, Degradation.JPEG}
