"""Every degradation by name: its phase in the making of a picture, and the model that makes it.

A new one takes three things: its name in `types.Degradation`, a seeded pure function beside its like
(`scene`, `weather`, `optics`, `sensor`, `compression`), and its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator

from rar_cli.synthesis.atmosphere import deep_haze, deep_rain, deep_snow
from rar_cli.synthesis.compression import jpeg
from rar_cli.synthesis.optics import blur, defocus, low_resolution, motion_blur, shake
from rar_cli.synthesis.pixels import Image
from rar_cli.synthesis.scene import haze, low_light
from rar_cli.synthesis.sensor import noise
from rar_cli.synthesis.weather import rain, snow
from rar_cli.types import DEGRADATIONS, Degradation

Model = Callable[[Image, float, Generator], Image]
"""(image (h, w, 3) in [0, 1], severity in [0, 1], generator) -> image near [0, 1]; it leaves its argument as it is."""


class Phase(IntEnum):
    """Where on its way into a file a picture is degraded, in the order of the world."""

    SCENE = 0
    OPTICS = 1
    SENSOR = 2
    COMPRESSION = 3


@dataclass(frozen=True)
class Row:
    """One degradation: when it happens, and what makes it.

    lifelike: a model of how light makes it, for the recipes that ask for it; None where there is no other.
    """

    degradation: Degradation
    phase: Phase
    model: Model
    lifelike: Model | None = None


REGISTRY: tuple[Row, ...] = (
    Row(Degradation.LOW_LIGHT, Phase.SCENE, low_light),
    Row(Degradation.HAZE, Phase.SCENE, haze, deep_haze),
    Row(Degradation.RAIN, Phase.SCENE, rain, deep_rain),
    Row(Degradation.SNOW, Phase.SCENE, snow, deep_snow),
    Row(Degradation.BLUR, Phase.OPTICS, blur, defocus),
    Row(Degradation.MOTION_BLUR, Phase.OPTICS, motion_blur, shake),
    Row(Degradation.LOW_RESOLUTION, Phase.OPTICS, low_resolution),
    Row(Degradation.NOISE, Phase.SENSOR, noise),
    Row(Degradation.JPEG, Phase.COMPRESSION, jpeg),
)
"""In the order in which a stack applies them."""


def by_name(registry: Sequence[Row]) -> dict[Degradation, Row]:
    """The rows by their degradation. Raises ValueError unless every degradation has exactly one."""
    rows = {row.degradation: row for row in registry}
    missing = [name for name in DEGRADATIONS if name not in rows]
    if missing or len(registry) != len(rows):
        raise ValueError(
            f"{len(registry)} rows for {len(rows)} degradations; without one: {', '.join(missing) or 'none'}"
        )
    return rows


ROWS = by_name(REGISTRY)

PHASES: tuple[tuple[Degradation, ...], ...] = tuple(
    tuple(row.degradation for row in REGISTRY if row.phase is phase) for phase in Phase
)
"""The degradations of each phase."""


def in_order(names: Collection[str]) -> tuple[Degradation, ...]:
    """Those degradations in the order of the world. Raises ValueError for a name that has no place in it."""
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        raise ValueError(f"no place in the order: {', '.join(unknown)}; choose from {', '.join(DEGRADATIONS)}")
    return tuple(row.degradation for row in sorted(REGISTRY, key=lambda row: row.phase) if row.degradation in names)


def degrade(image: Image, degradation: Degradation, severity: float, seed: int, lifelike: bool = False) -> Image:
    """Degrade (h, w, 3) in [0, 1] with `severity` in [0, 1]; the same seed gives the same picture.

    lifelike: by the row's lifelike model, where it has one. Raises ValueError for a degradation without a row and for a
    severity out of range.
    """
    (name,) = in_order({degradation})
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity must lie in [0, 1], got {severity}")
    row = ROWS[name]
    model = row.lifelike if lifelike and row.lifelike is not None else row.model
    degraded = model(image, severity, np.random.default_rng(seed))
    return np.clip(degraded, 0.0, 1.0).astype(np.float32)
