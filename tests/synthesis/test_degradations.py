import numpy as np
import pytest

from rar_cli.synthesis.degradations import PHASES, Phase, degrade
from rar_cli.synthesis.pixels import quantise
from rar_cli.synthesis.recipes import Recipe, Step, focused_recipe, random_recipe, stack
from rar_cli.synthesis.resampling import FILTERS, resized, softened_before, usual_factor
from rar_cli.types import DEGRADATIONS, LIGHT, SCENE, Degradation


@pytest.fixture
def image():
    y, x = np.mgrid[0:40, 0:52].astype(np.float32)
    base = 0.5 + 0.25 * np.sin(x / 3) + 0.2 * np.cos(y / 4)
    return np.clip(np.stack([base, base * 0.8, 1 - base], -1), 0, 1).astype(np.float32)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("severity", [0.0, 0.5, 1.0])
def test_each_degradation_is_a_seeded_pure_function_within_range(image, name, severity):
    before = image.copy()
    for seed in range(8):  # several models each
        first = degrade(image, name, severity, seed)
        assert first.dtype == np.float32
        assert first.shape == image.shape
        assert np.isfinite(first).all()
        assert first.min() >= 0
        assert first.max() <= 1
        assert np.array_equal(first, degrade(image, name, severity, seed))
    assert np.array_equal(before, image)


def test_the_plans_of_the_policy_know_the_scene_as_the_synthesis_does():
    assert set(PHASES[Phase.SCENE]) == SCENE >= LIGHT


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_more_severity_does_more_damage(image, name):
    def damage(severity):
        return np.mean([np.square(degrade(image, name, severity, s) - image).mean() for s in range(12)])

    assert damage(0.9) > damage(0.4) > damage(0.1) > 0


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3)])
def test_tiny_pictures_survive(name, shape):
    for seed in range(40):  # every model of each
        assert degrade(np.full((*shape, 3), 0.5, np.float32), name, 0.7, seed).shape == (*shape, 3)


def test_noise_of_every_kind_is_about_as_strong_as_its_severity_says():
    grey = np.full((64, 64, 3), 0.45, np.float32)
    sigma = (2 + 68 * 0.5**1.2) / 255
    for seed in range(60):
        found = np.sqrt(np.square(degrade(grey, Degradation.NOISE, 0.5, seed) - grey).mean())
        assert 0.6 * sigma < found < 1.4 * sigma, seed


def test_weather_lightens_the_dark_and_rain_may_darken_the_bright():
    black, white = (np.full((96, 96, 3), level, np.float32) for level in (0.05, 0.98))
    for name in (Degradation.RAIN, Degradation.SNOW, Degradation.HAZE):
        for seed in range(60):
            assert degrade(black, name, 0.7, seed).mean() > black.mean(), (name, seed)
    darkened = [degrade(white, Degradation.RAIN, 0.7, seed).mean() < 0.97 for seed in range(60)]
    assert 5 < sum(darkened) < 55


def test_some_darkness_keeps_white_as_it_is_and_some_takes_it_away():
    white = np.ones((16, 16, 3), np.float32)
    grey = np.full_like(white, 0.5)
    kept = 0
    for seed in range(200):
        light, middle = (degrade(x, Degradation.LOW_LIGHT, 0.5, seed).mean() for x in (white, grey))
        assert middle < 0.45
        kept += light > 0.99
    assert 10 < kept < 100


def test_resolution_is_lowered_by_usual_factors_half_the_time():
    def drawn(factor):
        return [usual_factor(factor, np.random.default_rng(seed)) for seed in range(200)]

    for factor, usual in ((1.1, 1.5), (1.74, 1.5), (2.2, 2.0), (3.7, 4.0), (5.0, 5.0)):
        assert set(drawn(factor)) == {factor, usual}
    assert 70 < drawn(2.2).count(2.0) < 130


@pytest.mark.parametrize("way", FILTERS)
def test_every_filter_keeps_levels_and_proportions(way):
    even = np.full((12, 18, 3), 0.3, np.float32)
    small = resized(even, (9, 6), way)
    assert small.shape == (6, 9, 3)
    assert np.allclose(small, 0.3, atol=1e-5)


def test_smooth_filters_that_alias_are_softened_before_and_those_of_pillow_do_not():
    comb = np.zeros((8, 64, 3), np.float32)
    comb[:, ::2] = 1.0
    for way in (*FILTERS[1:4], *FILTERS[5:]):
        wavy = resized(comb, (24, 8), way).std() > 0.2
        assert softened_before(way) == wavy, way


def test_severity_outside_0_1_is_refused(image):
    with pytest.raises(ValueError, match=r"got 1\.5"):
        degrade(image, Degradation.NOISE, 1.5, 0)


def test_a_recipe_gives_every_intermediate_picture_and_its_parts_keep_their_seeds(image):
    recipe = stack((Degradation.NOISE, Degradation.HAZE), 0.5, np.random.default_rng(1))
    clean, hazy, both = recipe.apply(image)
    assert clean is image
    kept = recipe.keeping({Degradation.HAZE})
    assert np.array_equal(kept.apply(image)[-1], hazy)
    assert not np.array_equal(hazy, both)


def test_stacks_follow_the_order_of_the_world():
    recipe = stack(tuple(DEGRADATIONS), 0.3, np.random.default_rng(0))
    order = [step.degradation for step in recipe.steps]
    assert order.index(Degradation.HAZE) < order.index(Degradation.BLUR) < order.index(Degradation.NOISE)
    assert order[-1] is Degradation.JPEG


def test_focused_recipes_hold_what_they_focus_on_in_the_order_of_the_world():
    focus = (Degradation.MOTION_BLUR, Degradation.BLUR)
    recipes = [focused_recipe(np.random.default_rng(i), focus) for i in range(200)]
    held = [[step.degradation for step in recipe.steps] for recipe in recipes]
    assert all(len(names) <= 2 and sum(name in focus for name in names) == 1 for names in held)
    assert 70 < sum(len(names) == 1 for names in held) < 130
    assert {names[0] for names in held if len(names) == 2} == {*focus, Degradation.LOW_LIGHT}
    assert all(0.1 <= step.severity <= 1.0 for recipe in recipes for step in recipe.steps)


def test_a_stack_can_be_focused_on():
    recipes = [focused_recipe(np.random.default_rng(i), ("haze+rain",)) for i in range(50)]
    held = {frozenset(step.degradation for step in recipe.steps) for recipe in recipes}
    both = {Degradation.HAZE, Degradation.RAIN}
    assert held == {frozenset(both | set(extra)) for extra in ((), ("noise",), ("jpeg",), ("low_light",))}
    assert all(0.1 <= step.severity <= 1.0 for recipe in recipes for step in recipe.steps)


def test_random_recipes_cover_every_degradation_and_depth_and_stay_in_range():
    recipes = [random_recipe(np.random.default_rng(i)) for i in range(400)]
    assert {len(r.steps) for r in recipes} >= {0, 1, 2, 3, 4}
    assert {s.degradation for r in recipes for s in r.steps} == set(Degradation)
    assert all(0.1 <= s.severity <= 1 for r in recipes for s in r.steps)
    assert all(len({s.degradation for s in r.steps}) == len(r.steps) for r in recipes)


def test_severities_come_in_the_order_of_the_vector():
    recipe = Recipe((Step(Degradation.RAIN, 0.25, 0), Step(Degradation.NOISE, 0.5, 1)))
    assert recipe.severities().tolist() == [0.5, 0, 0, 0, 0, 0, 0.25, 0, 0]


def test_quantise_lands_on_8_bit_levels(image):
    levels = quantise(image) * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-4
