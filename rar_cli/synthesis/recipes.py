"""Recipes: degradations stacked in the order of the world, with partial targets under the same seeds.

Scene -> optics -> sensor -> compression. Every step has its own seed, so a recipe without one of its steps
(`Recipe.keeping`) leaves the others exactly as they were. Steering is trained on such partial targets.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rar_cli.synthesis.camera import BASE_ISO, Camera, under_exposure
from rar_cli.synthesis.compression import recompress
from rar_cli.synthesis.degradations import PHASES, ROWS, Phase, degrade, in_order
from rar_cli.synthesis.pixels import Image, thrice
from rar_cli.synthesis.sensor import noise_severity
from rar_cli.types import DEGRADATIONS, Degradation

STACKED: tuple[tuple[Degradation, ...], ...] = (
    (Degradation.LOW_LIGHT, Degradation.NOISE),
    (Degradation.HAZE, Degradation.RAIN),
    (Degradation.LOW_LIGHT, Degradation.HAZE),
    (Degradation.HAZE, Degradation.SNOW),
    (Degradation.RAIN, Degradation.NOISE),
    (Degradation.BLUR, Degradation.NOISE, Degradation.JPEG),
    (Degradation.LOW_LIGHT, Degradation.HAZE, Degradation.RAIN),
)
"""The stacks that validation and benchmarks use, each in the order of the world."""

NATURAL: tuple[tuple[Degradation, ...], ...] = (
    *STACKED,
    (Degradation.LOW_LIGHT, Degradation.RAIN),
    (Degradation.LOW_LIGHT, Degradation.SNOW),
    (Degradation.LOW_LIGHT, Degradation.MOTION_BLUR),
    (Degradation.MOTION_BLUR, Degradation.NOISE),
    (Degradation.BLUR, Degradation.NOISE),
    (Degradation.BLUR, Degradation.JPEG),
    (Degradation.NOISE, Degradation.JPEG),
    (Degradation.LOW_RESOLUTION, Degradation.JPEG),
    (Degradation.HAZE, Degradation.JPEG),
    (Degradation.LOW_LIGHT, Degradation.HAZE, Degradation.SNOW),
    (Degradation.LOW_LIGHT, Degradation.NOISE, Degradation.JPEG),
    (Degradation.LOW_LIGHT, Degradation.MOTION_BLUR, Degradation.NOISE),
    (Degradation.LOW_RESOLUTION, Degradation.NOISE, Degradation.JPEG),
    (Degradation.HAZE, Degradation.RAIN, Degradation.JPEG),
)
"""Stacks that cameras and weather make often; drawn at random, each would be one in hundreds."""

NATURAL_ODDS = 0.5
"""Share of the random recipes of two or three degradations that is one of `NATURAL`."""


NOISE = DEGRADATIONS.index(Degradation.NOISE)
CAMERAS_OWN = (Degradation.LOW_LIGHT, Degradation.NOISE)
"""What a camera makes itself."""


@dataclass(frozen=True)
class Step:
    """One degradation of a recipe, reproducible from its own seed; lifelike: see `degradations.Row`."""

    degradation: Degradation
    severity: float
    seed: int
    lifelike: bool = False


@dataclass(frozen=True)
class Shot:
    """degraded, reference: (h, w, 3) in [0, 1]; the reference is what restoring it perfectly would give.
    severities: one per degradation, in the order of `DEGRADATIONS`."""

    degraded: Image
    reference: Image
    severities: NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """What was done to a picture, in order.

    camera: shoots the picture, so that low light is exposure that it lacks, and noise its own; without one the
    degradations are applied to the picture as it is.
    """

    steps: tuple[Step, ...] = ()
    camera: Camera | None = None

    def shot(self, image: Image, grey: bool = False) -> Shot:
        """The degraded picture and its reference: the picture itself, or what the camera makes of it without noise.

        image: (h, w, 3) in [0, 1], the scene. grey: as for `apply`.
        """
        severities, camera = self.severities(), self.camera
        if camera is None:
            return Shot(self.apply(image, grey)[-1], image, severities)
        scene = self._before(Phase.SENSOR).apply(image, grey)[-1]
        made = self._made(camera, scene, grey)
        if severities[NOISE] > 0:  # how much there is depends on the camera and on the light: it is measured
            quiet = self.keeping(set(DEGRADATIONS) - {Degradation.NOISE})._made(camera, scene, grey)
            severities[NOISE] = noise_severity(float(np.sqrt(np.square(made - quiet).mean())))
        degraded = self._from(Phase.SENSOR).apply(made, grey)[-1]
        if camera.quality is not None:
            seed = zlib.crc32(repr(self.steps).encode())
            degraded = recompress(degraded, camera.quality, ".jpg", np.random.default_rng(seed))
        return Shot(degraded, self.keeping(())._made(camera, image, grey), severities)

    def apply(self, image: Image, grey: bool = False) -> list[Image]:
        """Degrade step by step: [clean, after step 1, ..., degraded], each as `degrade` returns it.

        grey: the picture is one channel thrice, and stays that: its grain is the same in all three. With a camera:
        [scene, ..., what it makes of it, ..., degraded], in the order of the world.
        """
        if self.camera is not None:
            images = self._before(Phase.SENSOR).apply(image, grey)
            images.append(self._made(self.camera, images[-1], grey))
            return images + self._from(Phase.SENSOR).apply(images[-1], grey)[1:]
        images = [image]
        for step in self.steps:
            degraded = degrade(images[-1], step.degradation, step.severity, step.seed, step.lifelike)
            images.append(thrice(degraded[..., 1]) if grey else degraded)
        return images

    def _before(self, phase: Phase) -> Recipe:
        """What happens before a phase, but for what a camera makes itself."""
        return Recipe(tuple(step for step in self._others() if ROWS[step.degradation].phase < phase))

    def _from(self, phase: Phase) -> Recipe:
        return Recipe(tuple(step for step in self._others() if ROWS[step.degradation].phase >= phase))

    def _others(self) -> list[Step]:
        return [step for step in self.steps if step.degradation not in CAMERAS_OWN]

    def _made(self, camera: Camera, scene: Image, grey: bool) -> Image:
        """What the camera makes of a scene under the recipe's light and noise."""
        own = {step.degradation: step for step in self.steps if step.degradation in CAMERAS_OWN}
        dark, noisy = own.get(Degradation.LOW_LIGHT), own.get(Degradation.NOISE)
        exposure = under_exposure(dark.severity) if dark else 1.0
        iso = camera.iso_at(noisy.severity) if noisy else BASE_ISO if dark else None
        setting = noisy or dark
        made = camera.develop(scene, exposure, iso, setting.seed if setting else 0)
        return thrice(made[..., 1]) if grey else made

    def lifelike(self) -> Recipe:
        """The recipe with all its steps lifelike."""
        return replace(self, steps=tuple(replace(step, lifelike=True) for step in self.steps))

    def keeping(self, names: Collection[Degradation]) -> Recipe:
        """The recipe reduced to what is to stay; every kept step keeps its seed. Raises ValueError for other names."""
        names = in_order(names)
        return replace(self, steps=tuple(step for step in self.steps if step.degradation in names))

    def severities(self) -> NDArray[np.float32]:
        """Severity vector (len(DEGRADATIONS),) in the order of `DEGRADATIONS`; 0 where absent."""
        vector = np.zeros(len(DEGRADATIONS), np.float32)
        for step in self.steps:
            vector[DEGRADATIONS.index(step.degradation)] = step.severity
        return vector


def stack(degradations: Collection[Degradation], severity: float, rng: Generator) -> Recipe:
    """A recipe of the named degradations at one severity, in the order of the world. Raises ValueError for others."""
    return Recipe(tuple(Step(d, severity, _seed(rng)) for d in in_order(degradations)))


def random_recipe(rng: Generator, depth_odds: tuple[float, ...] = (0.08, 0.42, 0.30, 0.15, 0.05)) -> Recipe:
    """A recipe of random depth (odds for 0, 1, 2, ... degradations), order and severities.

    Half of the stacks are those of `NATURAL`. Within a phase the order is random; one recipe in ten
    swaps two neighbours across phases, as re-sharing and scanning do. Severities are spread evenly
    over [0.1, 1] and the deeper the stack the milder its parts.
    """
    depth = int(rng.choice(len(depth_odds), p=depth_odds))
    chosen = {DEGRADATIONS[i] for i in rng.choice(len(DEGRADATIONS), depth, replace=False)}
    natural = [names for names in NATURAL if len(names) == depth]
    if natural and rng.random() < NATURAL_ODDS:
        chosen = set(natural[int(rng.integers(len(natural)))])
    if {Degradation.BLUR, Degradation.MOTION_BLUR} <= chosen and rng.random() < 0.7:
        chosen.discard(Degradation.BLUR)
    order = [d for phase in PHASES for d in rng.permutation(list(phase)) if d in chosen]
    if len(order) > 1 and rng.random() < 0.1:
        i = int(rng.integers(len(order) - 1))
        order[i], order[i + 1] = order[i + 1], order[i]
    mildest = 1.0 - 0.1 * max(depth - 1, 0)
    return Recipe(tuple(Step(Degradation(d), float(rng.uniform(0.1, mildest)), _seed(rng)) for d in order))


def focused_recipe(rng: Generator, focus: Sequence[str]) -> Recipe:
    """One of `focus`, in half of the recipes alone, else with noise, JPEG or low light; severities over [0.1, 1].

    focus: degradations, or stacks of them ("haze+rain"): what takes more examples to learn than its share of the random
    recipes. Raises ValueError for a name that is none.
    """
    company = (None, None, None, Degradation.NOISE, Degradation.JPEG, Degradation.LOW_LIGHT)
    names = {*focus[int(rng.integers(len(focus)))].split("+"), company[int(rng.integers(len(company)))]}
    order = in_order({name for name in names if name is not None})
    return Recipe(tuple(Step(d, float(rng.uniform(0.1, 1.0)), _seed(rng)) for d in order))


def _seed(rng: Generator) -> int:
    return int(rng.integers(2**31))
