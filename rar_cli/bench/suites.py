"""Suites: named lists of (degraded, reference) pairs, stored or synthesised under fixed seeds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rar_cli.errors import ImageError, UsageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.formats import FORMATS
from rar_cli.synthesis.pixels import Image, greyed, quantise
from rar_cli.synthesis.recipes import STACKED, Recipe, stack
from rar_cli.synthesis.sensor import noise_severity
from rar_cli.types import DEGRADATIONS, Degradation

D = Degradation

SEVERITIES = {"light": 0.25, "mid": 0.5, "heavy": 0.8}

CDD11: tuple[tuple[Degradation, ...], ...] = (
    (D.LOW_LIGHT,), (D.HAZE,), (D.RAIN,), (D.SNOW,),
    (D.LOW_LIGHT, D.HAZE), (D.LOW_LIGHT, D.RAIN), (D.LOW_LIGHT, D.SNOW), (D.HAZE, D.RAIN), (D.HAZE, D.SNOW),
    (D.LOW_LIGHT, D.HAZE, D.RAIN), (D.LOW_LIGHT, D.HAZE, D.SNOW),
)  # fmt: skip
"""The eleven combinations of CDD-11 (OneRestore, ECCV 2024), made by rar's own synthesis."""

NOISE_SIGMAS = (15, 25, 50)

NAMES = ("mid", "singles", "stacked", "cdd11", "noise", "clean", "grey")
"""Synthetic suites by name. "mid": clean, all singles and the stacks at mid severity. "grey": "mid" and "noise" on
pictures without colours."""


@dataclass(frozen=True)
class Pair:
    """One picture of a suite; images (h, w, 3) float32 in [0, 1]. truth: a severity per degradation, where known."""

    name: str
    degraded: Image
    reference: Image
    truth: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Suite:
    """A named list of pairs. expected: how many. pairs: makes them one by one."""

    name: str
    expected: int
    pairs: Callable[[], Iterator[Pair]]


def paired(degraded: Path, reference: Path, limit: int | None) -> list[Suite]:
    """One suite of the pictures of two folders that share a stem."""
    references = {p.stem: p for p in _pictures(reference)}
    inputs = _spread([p for p in _pictures(degraded) if p.stem in references], limit)
    if not inputs:
        raise UsageError(f"{degraded}, {reference}: no two pictures share a name")

    def pairs() -> Iterator[Pair]:
        for path in inputs:
            yield Pair(path.stem, _load(path), _load(references[path.stem]))

    return [Suite(degraded.resolve().parent.name, len(inputs), pairs)]


def synthetic(name: str, clean: Path, limit: int | None, seed: int) -> list[Suite]:
    """The suites of that name over a folder of clean pictures; the same seed makes the same pixels."""
    paths = _spread(_pictures(clean), limit)
    if not paths:
        raise UsageError(f"{clean}: no pictures found")
    grey = name == "grey"
    noisy = [_noise_suite(sigma, paths, seed, grey) for sigma in NOISE_SIGMAS] if grey or name == "noise" else []
    recipes = [] if name == "noise" else _recipes("mid" if grey else name)
    return [_stack_suite(title, names, severity, paths, seed, grey) for title, names, severity in recipes] + noisy


def _recipes(name: str) -> list[tuple[str, tuple[Degradation, ...], float]]:
    singles: list[tuple[Degradation, ...]] = [(d,) for d in DEGRADATIONS]
    if name == "singles":
        return [(f"{d} {word}", (d,), s) for d in DEGRADATIONS for word, s in SEVERITIES.items()]
    names: dict[str, list[tuple[Degradation, ...]]] = {
        "mid": [(), *singles, *STACKED], "stacked": list(STACKED), "cdd11": list(CDD11), "clean": [()],
    }  # fmt: skip
    if name not in names:
        raise UsageError(f"{name}: no such suite; choose from {', '.join(NAMES)}, or give a folder")
    return [(" + ".join(names_) or "clean", names_, SEVERITIES["mid"]) for names_ in names[name]]


def _stack_suite(
    title: str, names: tuple[Degradation, ...], severity: float, paths: Sequence[Path], seed: int, grey: bool
) -> Suite:
    def pairs() -> Iterator[Pair]:
        for path in paths:
            reference = _reference(path, grey)
            recipe = stack(names, severity, _rng(seed, title, path)) if names else Recipe()
            degraded = quantise(recipe.apply(reference, grey)[-1])
            yield Pair(path.stem, degraded, reference, tuple(recipe.severities().tolist()))

    return Suite(f"grey {title}" if grey else title, len(paths), pairs)


def _noise_suite(sigma: int, paths: Sequence[Path], seed: int, grey: bool) -> Suite:
    """Additive white Gaussian noise, neither clipped nor rounded, as in the denoising literature.

    rar and its peers clip their inputs, as a file would.
    """

    def pairs() -> Iterator[Pair]:
        for path in paths:
            reference = _reference(path, grey)
            shape = (*reference.shape[:2], 1 if grey else 3)
            white = _rng(seed, str(sigma), path).standard_normal(shape, np.float32)
            truth = tuple(float(d is D.NOISE) * noise_severity(sigma / 255) for d in DEGRADATIONS)
            yield Pair(path.stem, reference + np.float32(sigma / 255) * white, reference, truth)

    return Suite(f"{'grey ' if grey else ''}noise sigma {sigma}", len(paths), pairs)


def _rng(seed: int, title: str, path: Path) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(title.encode()), zlib.crc32(path.name.encode())])


def _spread(paths: list[Path], limit: int | None) -> list[Path]:
    """At most `limit` paths, evenly from first to last."""
    if limit is None or limit >= len(paths):
        return paths
    return [paths[i * len(paths) // limit] for i in range(limit)]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in FORMATS)


def _reference(path: Path, grey: bool) -> Image:
    picture = _load(path)
    return quantise(greyed(picture)) if grey else picture


def _load(path: Path) -> Image:
    try:
        pixels = read_picture(path.read_bytes(), str(path)).pixels
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return (pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)).astype(np.float32)
