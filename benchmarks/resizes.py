"""Lowered resolution: what a whole restoration gains, by factor and by the filters of OpenCV and Pillow.

    python benchmarks/resizes.py PHOTOS --limit 16

PHOTOS is a folder of clean pictures. Prints one JSON line per filter and factor: mean gain in dB, and the share that
ends more than 0.1 dB below its input.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from PIL.Image import Resampling

from rar_cli.bench.metrics import psnr_db
from rar_cli.bench.suites import synthetic
from rar_cli.engine import Engine, load, restore

SIDE_PX = 256
FACTORS = (1.5, 2.0, 3.0, 4.0)

Pixels = NDArray[np.uint8]


def by_opencv(pixels: Pixels, factor: float, down: int, up: int) -> Pixels:
    """Down by `factor` and up again."""
    side = round(SIDE_PX / factor)
    small = cv2.resize(pixels, (side, side), interpolation=down)
    return np.asarray(cv2.resize(small, (SIDE_PX, SIDE_PX), interpolation=up), np.uint8)


def by_pillow(pixels: Pixels, factor: float, way: Resampling) -> Pixels:
    """The same."""
    side = round(SIDE_PX / factor)
    small = PIL.Image.fromarray(pixels).resize((side, side), way)
    return np.asarray(small.resize((SIDE_PX, SIDE_PX), way))


WAYS: dict[str, Callable[[Pixels, float], Pixels]] = {
    "OpenCV, area and cubic": partial(by_opencv, down=cv2.INTER_AREA, up=cv2.INTER_CUBIC),
    "OpenCV, area and linear": partial(by_opencv, down=cv2.INTER_AREA, up=cv2.INTER_LINEAR),
    "OpenCV, area and nearest": partial(by_opencv, down=cv2.INTER_AREA, up=cv2.INTER_NEAREST),
    "Pillow, bicubic": partial(by_pillow, way=Resampling.BICUBIC),
    "Pillow, Lanczos": partial(by_pillow, way=Resampling.LANCZOS),
}


def gain_db(engine: Engine, degraded: Pixels, clean: Pixels) -> tuple[float, float]:
    """PSNR of the input, and what one whole restoration adds to it."""
    before, target = (np.asarray(pixels, np.float32) / np.float32(255.0) for pixels in (degraded, clean))
    (outcome,) = restore(engine, torch.from_numpy(before).permute(2, 0, 1).unsqueeze(0))
    given = psnr_db(before, target)
    if outcome.image is None:
        return given, 0.0
    return given, psnr_db(outcome.image[0].permute(1, 2, 0).numpy(), target) - given


def main() -> None:
    """Measure every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    engine = load(options.weights)
    (suite,) = synthetic("clean", options.photos, options.limit, seed=0)
    photos = []
    for pair in suite.pairs():
        y, x = ((side - SIDE_PX) // 2 for side in pair.reference.shape[:2])
        photos.append(np.rint(pair.reference[y : y + SIDE_PX, x : x + SIDE_PX] * 255).astype(np.uint8))
    for name, way in WAYS.items():
        for factor in FACTORS:
            given, gained = np.asarray([gain_db(engine, way(photo, factor), photo) for photo in photos]).T
            figures = {"input_db": round(float(given.mean()), 2), "gain_db": round(float(gained.mean()), 2)}
            harmed = round(float((gained < -0.1).mean()), 3)
            print(json.dumps({"way": name, "factor": factor, **figures, "harmed": harmed}), flush=True)


if __name__ == "__main__":
    main()
