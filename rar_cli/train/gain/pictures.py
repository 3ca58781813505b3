"""Pictures to try plans on: clean photographs, stacks of degradations, drawings, dim scenes.

Some are degraded by other people's code, where it is installed. So the heads do not learn one synthesis by heart.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.camera import Camera, under_exposure
from rar_cli.synthesis.compression import file_type, recompress
from rar_cli.synthesis.drawings import drawing
from rar_cli.synthesis.pixels import Image, quantise
from rar_cli.synthesis.recipes import STACKED, random_recipe, stack
from rar_cli.train.data.crops import crop, retoned
from rar_cli.train.gain.noise import noisy_pair
from rar_cli.types import DEGRADATIONS, Degradation

SIDES = (128, 192, 256, 256, 320, 320, 320, 384, 512)
"""Sides of the pictures in px, as often as they stand here; a batch has one, of photographs that are large enough."""
BATCH_PIXELS = 300_000
UNDER_EXPOSED = (0.2, 0.9)
"""Severities of under-exposure, about 1.5 to 5 stops. A darkness below them may be intended."""
RETONED = 0.25
"""Share of photographs whose exposure, gamma, contrast or colour is changed, because dim and pale scenes are clean."""

OFTEN = {Degradation.LOW_LIGHT: 2.0, Degradation.RAIN: 2.0, Degradation.HAZE: 1.5, Degradation.SNOW: 1.5}
"""Weights of single degradations, 1 for all others. Heads confuse these with the scene, so they come more often."""
SINGLY = np.asarray([OFTEN.get(degradation, 1.0) for degradation in DEGRADATIONS])
SINGLY /= SINGLY.sum()

Photo = NDArray[np.uint8]
Degrading = Callable[[Image, Generator], tuple[Image, Image, str]]
"""Clean image (h, w, 3) in [0, 1] -> (degraded, reference, name of the kind)."""


@dataclass(frozen=True)
class Tried:
    """One picture, (h, w, 3) float32 in [0, 1], and what it should be; kind: what was done; source: the photograph."""

    degraded: Image
    reference: Image
    kind: str
    source: str


def pictures(photos: Sequence[Photo], first: int, seed: int = 0) -> Iterator[list[Tried]]:
    """Endless batches of one size, from picture number `first` on. A number always makes the same picture."""
    short = np.asarray([min(photo.shape[:2]) for photo in photos])
    sides = [side for side in SIDES if side <= short.max()] or [int(short.max())]
    while True:
        side = sides[int(np.random.default_rng([seed, first]).integers(len(sides)))]
        places = np.flatnonzero(short >= side)
        count = max(BATCH_PIXELS // side**2, 1)
        yield [_tried(photos, places, side, first + i, seed) for i in range(count)]
        first += count


def _tried(photos: Sequence[Photo], places: NDArray[np.int64], side: int, number: int, seed: int) -> Tried:
    rng = np.random.default_rng([seed, number, 1])
    turn = np.random.default_rng([seed, number // len(places)]).permutation(places)
    place = int(turn[number % len(places)])
    clean = crop(photos[place], side, rng)
    if rng.random() < RETONED:
        clean = quantise(retoned(clean, rng))
    kind = KINDS[int(rng.choice(len(KINDS), p=np.asarray(ODDS) / sum(ODDS)))]
    degraded, reference, name = kind(clean, rng)
    return Tried(np.clip(degraded, 0.0, 1.0), np.clip(reference, 0.0, 1.0), name, str(place))


def clean(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """Without any change."""
    return image, image, "clean"


def fine(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """Finely compressed, as cameras and editors keep photographs."""
    return recompress(image, int(rng.integers(82, 99)), file_type(rng), rng), image, "fine"


def drawn(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """A drawing instead of the photograph; three in ten are compressed or noisy."""
    sheet = drawing(image.shape[0], rng)
    if rng.random() < 0.7:
        return sheet, sheet, "drawn"
    if rng.random() < 0.6:
        return recompress(sheet, int(rng.integers(20, 95)), ".jpg", rng), sheet, "drawn, compressed"
    noise = rng.normal(0.0, rng.uniform(0.01, 0.1), sheet.shape)
    return quantise(np.clip(sheet + noise, 0.0, 1.0).astype(np.float32)), sheet, "drawn, noisy"


def shot(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """By a camera, with its noise and sometimes too little light; the reference is the same camera without either."""
    camera, seed = Camera.drawn(rng), int(rng.integers(2**31))
    light = under_exposure(float(rng.uniform(*UNDER_EXPOSED))) if rng.random() < 0.3 else 1.0
    iso = camera.iso_at(float(rng.uniform(0.1, 1.0)))
    noisy = camera.develop(image, light, iso, seed)
    if camera.quality is not None:
        noisy = recompress(noisy, camera.quality, ".jpg", rng)
    name = "camera" if light == 1.0 else "camera, dark"
    return quantise(noisy), quantise(camera.develop(image, 1.0, None, seed)), name


def grainy(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """Noise of any camera; the reference is the same camera without noise."""
    return *noisy_pair(image, rng), "grain"


def single(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """One degradation."""
    return _by_recipe(image, rng, (DEGRADATIONS[int(rng.choice(len(DEGRADATIONS), p=SINGLY))],), (0.08, 0.9))


def stacked(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """One of the usual stacks."""
    return _by_recipe(image, rng, STACKED[int(rng.integers(len(STACKED)))], (0.12, 0.85))


def mixed(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """One to three degradations at random; half of them by the lifelike models."""
    recipe = random_recipe(rng, (0.0, 0.3, 0.4, 0.3))
    if rng.random() < 0.5:
        recipe = recipe.lifelike()
    return quantise(recipe.apply(image)[-1]), image, "rar:" + "+".join(step.degradation for step in recipe.steps)


def others(image: Image, rng: Generator) -> tuple[Image, Image, str]:
    """By other people's code, where it is installed; else a random recipe."""
    if importlib.util.find_spec("albumentations") is None:
        return mixed(image, rng)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for a newer version of itself
    import albumentations as A  # noqa: N812 - its own custom

    transforms = (
        A.RandomGamma((150, 350), p=1), A.Defocus((2, 5), p=1), A.RandomFog((0.15, 0.7), alpha_coef=0.1, p=1),
        A.GaussNoise((0.02, 0.2), p=1), A.ISONoise((0.01, 0.06), (0.1, 0.7), p=1),
        A.ImageCompression(quality_range=(8, 60), p=1),
        A.MotionBlur((5, 17), p=1), A.RandomRain(rain_type="drizzle", p=1), A.RandomRain(rain_type="heavy", p=1),
        A.ShotNoise((0.05, 0.3), p=1), A.RandomSnow(method="texture", p=1), A.GaussianBlur(sigma_limit=(0.8, 3), p=1),
    )  # fmt: skip
    chosen = [transforms[int(i)] for i in rng.choice(len(transforms), 1 + int(rng.random() < 0.35), replace=False)]
    pixels = np.rint(np.clip(image, 0, 1) * 255.0).astype(np.uint8)
    made = A.Compose(chosen, seed=int(rng.integers(2**31)))(image=pixels)["image"]
    names = "+".join(type(transform).__name__ for transform in chosen)
    return (made.astype(np.float32) / np.float32(255.0)), image, f"others:{names}"


KINDS: tuple[Degrading, ...] = (clean, fine, drawn, shot, grainy, single, stacked, mixed, others)
ODDS = (0.08, 0.04, 0.03, 0.14, 0.16, 0.19, 0.15, 0.12, 0.09)
"""Weights of the kinds, in their order."""


def _by_recipe(
    image: Image, rng: Generator, names: Sequence[str], severities: tuple[float, float]
) -> tuple[Image, Image, str]:
    recipe = stack(names, float(rng.uniform(*severities)), rng)  # type: ignore[arg-type]
    return quantise(recipe.apply(image)[-1]), image, "rar:" + "+".join(step.degradation for step in recipe.steps)
