"""Noise of any camera: what it keeps of the scene, how wide it is, and that it is noise."""

import numpy as np
import pytest

from rar_cli.train.gain.noise import SIGMAS, noisy_pair


@pytest.fixture(scope="module")
def pairs():
    grey = np.full((64, 64, 3), 0.4, np.float32)
    grey[:, 32:] = 0.7
    return [noisy_pair(grey, np.random.default_rng(seed)) for seed in range(60)]


def levels(noisy, reference):
    return 255.0 * float((noisy - reference).std())


def test_a_seed_always_makes_the_same_pair(pairs):
    grey = np.full((64, 64, 3), 0.4, np.float32)
    grey[:, 32:] = 0.7
    again = noisy_pair(grey, np.random.default_rng(7))
    assert all(np.array_equal(a, b) for a, b in zip(pairs[7], again, strict=True))


def test_noise_reaches_from_invisible_to_heavy_and_is_never_missing(pairs):
    found = sorted(levels(*pair) for pair in pairs)
    assert found[0] > 0.1
    assert found[6] < 3.0
    assert found[-6] > SIGMAS[1] / 2


def test_both_sides_show_the_same_light_so_that_dim_scenes_stay_dim(pairs):
    assert any(reference.mean() < 0.42 for _, reference in pairs)
    for noisy, reference in pairs:
        assert 0.0 <= noisy.min() <= noisy.max() <= 1.0
        assert reference.shape == noisy.shape
        assert reference.dtype == noisy.dtype == np.float32
        assert noisy.mean() == pytest.approx(reference.mean(), abs=0.06)


def test_what_is_bright_stays_bright_for_darkness_without_any_light_is_lost_exposure():
    scene = np.full((64, 64, 3), 0.3, np.float32)
    scene[20:40, 20:40] = 1.0
    shown = [noisy_pair(scene, np.random.default_rng(seed))[1] for seed in range(40)]
    assert min(reference[24:36, 24:36].mean() for reference in shown) > 0.95
    assert min(reference[:16].mean() for reference in shown) < 0.2


def test_neighbours_are_alike_in_some_cameras_and_not_in_others(pairs):
    def likeness(noisy, reference):
        noise = (noisy - reference)[:, 4:28, 1]
        return float(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1])

    strong = [likeness(*pair) for pair in pairs if levels(*pair) > 3.0]
    assert min(strong) < 0.15
    assert max(strong) > 0.6
