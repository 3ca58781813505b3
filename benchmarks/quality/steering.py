"""Does `--only X` remove X and leave Y, and does `--keep noise` keep the grain?

    python benchmarks/quality/steering.py PHOTOS --limit 12

PHOTOS is a folder of clean pictures. Prints one JSON line per stack: PSNR of input and output against the picture that
has only Y. For grain it prints the noise that is left in flat regions.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from rar_cli.engine.engine import Engine, load
from rar_cli.engine.restore import bounds_of, restore
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.images import as_8_bit
from rar_cli.synthesis.pixels import Image, quantise
from rar_cli.synthesis.recipes import stack
from rar_cli.types import Degradation

D = Degradation

STACKS = (
    (D.RAIN, D.NOISE), (D.LOW_LIGHT, D.NOISE), (D.HAZE, D.RAIN), (D.HAZE, D.NOISE), (D.LOW_LIGHT, D.HAZE),
    (D.RAIN, D.HAZE), (D.NOISE, D.RAIN), (D.NOISE, D.HAZE), (D.SNOW, D.HAZE), (D.HAZE, D.SNOW),
)  # fmt: skip
"""(removed, left in place)."""

SEVERITY = 0.5


def psnr(a: Image, b: Image) -> float:
    """In dB."""
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-12))


def run(engine: Engine, image: Image, only: tuple[D, ...] = (), keep: tuple[D, ...] = ()) -> Image:
    """One whole restoration of an image (h, w, 3)."""
    batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0)
    (outcome,) = restore(engine, batch, engine.policy.within(bounds_of(only=only, keep=keep)))
    return image if outcome.image is None else outcome.image[0].permute(1, 2, 0).numpy()


def flat_noise(image: Image, clean: Image) -> float:
    """Standard deviation of what differs from the clean picture at high frequencies, where that is flat."""
    grey = clean.mean(axis=2)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    flat = slope <= np.quantile(slope, 0.3)
    residual = image - clean
    residual = residual - cv2.GaussianBlur(residual, (0, 0), 3.0)
    return float(residual[flat].std())


def main() -> None:
    """Measure every stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    engine = load(options.weights)
    paths = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in {".png", ".jpg"})
    paths = paths[:: max(len(paths) // options.limit, 1)][: options.limit]
    photos = [as_8_bit(read_picture(p.read_bytes(), str(p))).pixels.astype(np.float32) / 255.0 for p in paths]
    for removed, left in STACKS:
        before, after = [], []
        for i, clean in enumerate(photos):
            recipe = stack((removed, left), SEVERITY, np.random.default_rng(i))
            degraded, target = (quantise(r.apply(clean)[-1]) for r in (recipe, recipe.keeping({left})))
            before.append(psnr(degraded, target))
            after.append(psnr(run(engine, degraded, only=(removed,)), target))
        say(only=removed, leaves=left, input_db=np.mean(before), output_db=np.mean(after))
    for others in ((), (D.RAIN,), (D.HAZE,)):
        ratios = []
        for i, clean in enumerate(photos):
            recipe = stack((*others, D.NOISE), SEVERITY, np.random.default_rng(i))
            grain = quantise(recipe.keeping({D.NOISE}).apply(clean)[-1])
            kept = run(engine, quantise(recipe.apply(clean)[-1]), keep=(D.NOISE,))
            ratios.append(flat_noise(kept, clean) / flat_noise(grain, clean))
        say(keep=D.NOISE, beside=others, noise_left=np.mean(ratios))


def say(**figures: object) -> None:
    """One line of JSON."""
    print(json.dumps({k: round(float(v), 2) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
