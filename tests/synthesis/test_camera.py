"""The camera of the synthesis: scene light -> raw -> picture, and recipes that it shoots."""

from dataclasses import replace

import numpy as np
import pytest

from rar_cli.synthesis.camera import READ, SHOT, Camera
from rar_cli.synthesis.recipes import Recipe, Step, stack
from rar_cli.types import DEGRADATIONS, Degradation

D = Degradation
NOISE = DEGRADATIONS.index(D.NOISE)
PLAIN = Camera(
    gains=(2.0, 1.0, 1.8), matrix=((1.5, -0.45, -0.05), (-0.2, 1.5, -0.3), (0.0, -0.5, 1.5)), contrast=0.4, area=8.0,
    luck=0.5, rows=0.0, low_pass=0.3, pattern="reduced", calm=0.0, sharpening=0.0, quality=None,
)  # fmt: skip


@pytest.fixture
def scene():
    y, x = np.mgrid[0:64, 0:80].astype(np.float32)
    base = 0.5 + 0.25 * np.sin(x / 9) + 0.2 * np.cos(y / 11)
    return np.clip(np.stack([base, base * 0.8 + 0.1, 1 - base], -1), 0, 1).astype(np.float32)


def rms(image):
    return float(np.sqrt(np.square(image).mean()))


def test_without_noise_a_smooth_scene_comes_out_as_it_was(scene):
    inside = (slice(4, -4), slice(4, -4))
    for pattern, most in (("reduced", 0.006), ("edges", 0.02), ("linear", 0.02)):
        assert rms((replace(PLAIN, pattern=pattern).develop(scene) - scene)[inside]) < most, pattern


@pytest.mark.parametrize("seed", range(12))
def test_every_camera_makes_a_seeded_picture_of_every_size_within_range(seed):
    camera = Camera.drawn(np.random.default_rng(seed))
    assert camera == Camera.drawn(np.random.default_rng(seed))
    np.testing.assert_allclose(np.sum(camera.matrix, axis=1), 1.0)
    for shape in ((1, 1), (7, 30), (33, 41)):
        scene = np.random.default_rng(1).random((*shape, 3)).astype(np.float32)
        made = camera.develop(scene, 0.5, 3200.0, 4)
        assert made.shape == scene.shape
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert made.max() <= 1
        assert np.array_equal(made, camera.develop(scene, 0.5, 3200.0, 4))


def test_neither_black_nor_grey_is_coloured():
    for seed in range(12):
        camera = Camera.drawn(np.random.default_rng(seed))
        for level in (0.0, 0.2, 0.6, 1.0):
            made = camera.develop(np.full((24, 24, 3), level, np.float32))
            assert np.ptp(made, axis=2).max() < 0.01
            assert abs(float(made.mean()) - level) < 0.02


def test_noise_grows_with_the_sensitivity_and_with_small_sensors_and_is_strongest_in_the_dark():
    for rows in (SHOT, READ):
        assert all(low <= mid <= high for low, mid, high in rows)
        assert all(a[1] <= b[1] for a, b in zip(rows, rows[1:], strict=False))
    grey = np.full((64, 64, 3), 0.4, np.float32)

    def noise(camera, iso, scene=grey):
        return rms(camera.develop(scene, 1.0, iso, 1) - camera.develop(scene))

    assert noise(PLAIN, 100.0) < noise(PLAIN, 1600.0) < noise(PLAIN, 25600.0)
    assert noise(replace(PLAIN, area=1.0), 1600.0) < noise(replace(PLAIN, area=25.0), 1600.0)
    assert noise(replace(PLAIN, calm=1.0), 6400.0) < noise(PLAIN, 6400.0)
    dark = np.full_like(grey, 0.1)
    assert noise(replace(PLAIN, contrast=0.0), 6400.0, dark) > noise(replace(PLAIN, contrast=0.0), 6400.0)


def test_less_light_is_darker_and_dim_scenes_stay_dim_in_the_reference(scene):
    for severity in (0.1, 0.5, 0.9):
        shot = Recipe((Step(D.LOW_LIGHT, severity, 3),), PLAIN).shot(scene)
        assert shot.degraded.mean() < shot.reference.mean()
        assert shot.severities[DEGRADATIONS.index(D.LOW_LIGHT)] == np.float32(severity)
    dim = (scene * 0.2).astype(np.float32)
    shot = Recipe((Step(D.LOW_LIGHT, 0.3, 3),), PLAIN).shot(dim)
    assert abs(float(shot.reference.mean() - dim.mean())) < 0.02


def test_the_reference_is_what_the_camera_makes_without_the_degradations(scene):
    recipe = replace(stack((D.HAZE, D.NOISE, D.LOW_LIGHT, D.JPEG), 0.5, np.random.default_rng(0)), camera=PLAIN)
    shot = recipe.shot(scene)
    assert np.array_equal(shot.reference, PLAIN.develop(scene))
    assert rms(shot.degraded - shot.reference) > 0.02
    assert np.array_equal(shot.degraded, recipe.shot(scene).degraded)
    assert np.array_equal(recipe.keeping(set(DEGRADATIONS)).shot(scene).degraded, shot.degraded)
    assert np.array_equal(recipe.keeping(()).shot(scene).degraded, shot.reference)
    assert Recipe(recipe.steps).shot(scene).reference is scene


def test_severity_of_noise_is_what_was_measured(scene):
    faint = Recipe((Step(D.NOISE, 0.1, 3),), replace(PLAIN, area=1.0)).shot(scene).severities[NOISE]
    strong = Recipe((Step(D.NOISE, 0.9, 3),), PLAIN).shot(scene).severities[NOISE]
    assert faint == 0
    assert 0.1 < strong < 1
    files = Recipe((Step(D.NOISE, 0.9, 3), Step(D.JPEG, 0.6, 4)), PLAIN).shot(scene).severities[NOISE]
    assert files == strong


def test_a_camera_writes_a_file_and_grey_stays_grey(scene):
    recipe = Recipe((Step(D.NOISE, 0.6, 3),), replace(PLAIN, quality=90))
    assert not np.array_equal(recipe.shot(scene).degraded, recipe.apply(scene)[-1])
    grey = np.repeat(scene[..., :1], 3, axis=2)
    shot = Recipe((Step(D.NOISE, 0.6, 3), Step(D.HAZE, 0.4, 1)), PLAIN).shot(grey, grey=True)
    assert not np.ptp(shot.degraded, axis=2).any()
    assert not np.ptp(shot.reference, axis=2).any()
