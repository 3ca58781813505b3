"""Odd pictures: with bars or paper around them, cropped after compression, small, grey, or saved as a fine JPEG.

    python benchmarks/quality/odd_pictures.py PHOTOS --limit 16

PHOTOS is a folder of clean pictures. Prints one JSON line per kind and degradation: the gain in dB within the border,
with the canvas (`engine/canvas.py`) and without it. For clean pictures: the share that is untouched, and the share that
is harmed.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from rar_cli.bench.metrics import psnr_db
from rar_cli.bench.suites import synthetic
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.restore import restore
from rar_cli.synthesis.compression import recompress
from rar_cli.synthesis.pixels import Image, greyed, quantise
from rar_cli.synthesis.recipes import stack
from rar_cli.types import SCENE, Degradation

D = Degradation
SIDE_PX = 256
SEVERITY = 0.5
TRIED = (D.NOISE, D.JPEG, D.BLUR, D.LOW_LIGHT, D.HAZE, D.RAIN)
KINDS = ("plain", "black bars", "white paper", "cropped", "48 px", "64 px", "grey", "quality 97", "quality 85")
CLEAN_KINDS = ("plain", "quality 97", "quality 92", "quality 85")

Sample = tuple[Image, Image, tuple[slice, slice]]
"""Degraded, clean, and the part that is measured."""


def bordered(image: Image, kind: str) -> tuple[Image, tuple[slice, slice]]:
    """Bars of 42 px above and below, or paper of 27 px on all sides."""
    rows, columns, value = (42, 0, 0.0) if kind == "black bars" else (27, 27, 1.0)
    around = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), constant_values=np.float32(value))
    return around, (slice(rows, rows + image.shape[0]), slice(columns, columns + image.shape[1]))


def sample(photo: Image, kind: str, degradations: tuple[D, ...], seed: int) -> Sample:
    """One pair of a kind."""
    recipe = stack(degradations, SEVERITY, np.random.default_rng(seed))
    everything = (slice(None), slice(None))
    if kind.endswith(" px"):
        scale = int(kind.split()[0]) / min(photo.shape[:2])
        clean = quantise(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        return quantise(recipe.apply(clean)[-1]), clean, everything
    y, x = ((side - SIDE_PX) // 2 for side in photo.shape[:2])
    clean = photo[y : y + SIDE_PX, x : x + SIDE_PX]
    if kind == "grey":
        clean = quantise(greyed(clean))
        return quantise(recipe.apply(clean, grey=True)[-1]), clean, everything
    if kind == "cropped":
        return quantise(recipe.apply(clean)[-1])[3:, 5:], clean[3:, 5:], everything
    if kind.startswith("quality "):  # of the file that it was kept in
        written = recompress(recipe.apply(clean)[-1], int(kind.split()[1]), ".jpg", np.random.default_rng(seed))
        return written, clean, everything
    if kind == "plain":
        return quantise(recipe.apply(clean)[-1]), clean, everything
    framed, inner = bordered(clean, kind)
    if SCENE.issuperset(degradations):  # a border comes after these, and before all others
        return quantise(bordered(recipe.apply(clean)[-1], kind)[0]), framed, inner
    return quantise(recipe.apply(framed)[-1]), framed, inner


def gain_db(engine: Engine, given: Sample, whole: bool = False) -> float:
    """Of one whole restoration; 0 where the picture is left as it is."""
    degraded, clean, part = given
    batch = torch.from_numpy(np.ascontiguousarray(degraded)).permute(2, 0, 1).unsqueeze(0)
    (outcome,) = restore(engine, batch, whole=whole)
    if outcome.image is None:
        return 0.0
    restored = outcome.image[0].permute(1, 2, 0).numpy()
    return psnr_db(restored[part], clean[part]) - psnr_db(degraded[part], clean[part])


def main() -> None:
    """Measure every kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    engine = load(options.weights)
    (suite,) = synthetic("clean", options.photos, options.limit, seed=0)
    photos = [pair.reference for pair in suite.pairs()]
    for kind in KINDS:
        for degradation in TRIED:
            given = [sample(photo, kind, (degradation,), seed) for seed, photo in enumerate(photos)]
            now, before = (np.mean([gain_db(engine, each, whole) for each in given]) for whole in (False, True))
            figures = {"gain_db": round(float(now), 2), "as_it_is_db": round(float(before), 2)}
            print(json.dumps({"kind": kind, "degradation": degradation, **figures}), flush=True)
    for kind in CLEAN_KINDS:
        gains = np.asarray([gain_db(engine, sample(photo, kind, (), seed)) for seed, photo in enumerate(photos)])
        shares = {"untouched": round(float((gains == 0).mean()), 3), "harmed": round(float((gains < -0.1).mean()), 3)}
        print(json.dumps({"kind": kind, "degradation": None, **shares}), flush=True)


if __name__ == "__main__":
    main()
