"""Plain degradations, alone and stacked, each a line of NumPy, OpenCV or Pillow.

    python benchmarks/quality/plain.py PHOTOS --limit 8

PHOTOS is a folder of clean pictures. Nothing of rar's synthesis is used. Prints one JSON line per kind: mean PSNR of
input and output, the least gain, and how many pictures are harmed.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL.Image import Resampling

from rar_cli.bench.metrics import psnr_db
from rar_cli.bench.run import HARM_DB
from rar_cli.bench.suites import synthetic
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.restore import restore

LONGEST_PX = 360

Image = NDArray[np.float64]
"""(h, w, 3) in [0, 1]."""
Step = Callable[[Image, Generator], Image]


def noise(sigma: float) -> Step:
    """White, of `sigma` of 255."""
    return lambda image, rng: image + rng.normal(0, sigma / 255, image.shape)


def photons(peak: float) -> Step:
    """Poisson noise of `peak` counts in white."""
    return lambda image, rng: rng.poisson(image * peak) / peak


def salt_and_pepper(share: float) -> Step:
    """Dead and hot pixels."""

    def step(image: Image, rng: Generator) -> Image:
        drawn = rng.random((*image.shape[:2], 1))
        return np.where(drawn < share / 2, 0.0, np.where(drawn > 1 - share / 2, 1.0, image))

    return step


def jpeg(quality: int) -> Step:
    """By Pillow."""

    def step(image: Image, _: Generator) -> Image:
        file = io.BytesIO()
        PIL.Image.fromarray(in_8_bits(image)).save(file, "JPEG", quality=quality)
        return np.asarray(PIL.Image.open(file), np.float64) / 255

    return step


def filtered(kernel: Image) -> Step:
    """By a kernel (k, k)."""
    return lambda image, _: cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def gaussian(sigma: float) -> Step:
    """Gaussian blur."""
    return lambda image, _: cv2.GaussianBlur(image, (0, 0), sigma)


def disc(radius: int) -> Step:
    """A lens out of focus."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return filtered((x * x + y * y <= radius * radius).astype(np.float64))


def motion(length: int) -> Step:
    """A line, turned."""

    def step(image: Image, rng: Generator) -> Image:
        line = np.zeros((length, length))
        line[length // 2] = 1
        turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
        return filtered(cv2.warpAffine(line, turn, (length, length)))(image, rng)

    return step


def dimmed(share: float, gamma: float = 1.0) -> Step:
    """Less light, and a gamma."""
    return lambda image, _: share * image**gamma


def hazy(transmission: float, airlight: float | tuple[float, ...] = 0.9) -> Step:
    """The same haze everywhere."""
    return lambda image, _: image * transmission + np.asarray(airlight) * (1 - transmission)


def hazy_above(thickness: float) -> Step:
    """Haze that is thickest at the top."""

    def step(image: Image, _: Generator) -> Image:
        transmission = np.exp(-thickness * np.linspace(1, 0.2, len(image)))[:, None, None]
        return image * transmission + 0.85 * (1 - transmission)

    return step


def rain(density: float, length: int, width: int = 1, opacity: float = 0.8) -> Step:
    """Lines, all at one angle."""

    def step(image: Image, rng: Generator) -> Image:
        height, across = image.shape[:2]
        drops, angle = np.zeros((height, across)), np.radians(rng.uniform(-25, 25))
        fall = np.asarray((length * np.sin(angle), length * np.cos(angle)))
        for _ in range(int(density * height * across)):
            start = np.asarray((rng.integers(0, across), rng.integers(-length, height)))
            ends = [tuple(int(v) for v in end) for end in (start, start + fall)]
            cv2.line(drops, ends[0], ends[1], 1.0, width, cv2.LINE_AA)
        cover = cv2.GaussianBlur(drops, (0, 0), 0.6)[..., None] * opacity
        return image * (1 - cover) + cover * 0.85

    return step


def snow(density: float, radius: int) -> Step:
    """Discs, a little soft."""

    def step(image: Image, rng: Generator) -> Image:
        height, across = image.shape[:2]
        flakes = np.zeros((height, across))
        for _ in range(int(density * height * across)):
            centre = (int(rng.integers(0, across)), int(rng.integers(0, height)))
            cv2.circle(flakes, centre, int(rng.integers(1, radius + 1)), rng.uniform(0.6, 1), -1, cv2.LINE_AA)
        cover = cv2.GaussianBlur(flakes, (0, 0), 0.8)[..., None]
        return image * (1 - cover) + cover

    return step


def by_opencv(factor: float, up: int = cv2.INTER_CUBIC) -> Step:
    """Down by areas, and up again."""

    def step(image: Image, _: Generator) -> Image:
        height, across = image.shape[:2]
        small = cv2.resize(image, (round(across / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (across, height), interpolation=up)

    return step


def by_pillow(factor: float, way: Resampling) -> Step:
    """Down and up the same way."""

    def step(image: Image, _: Generator) -> Image:
        height, across = image.shape[:2]
        small = PIL.Image.fromarray(in_8_bits(image)).resize((round(across / factor), round(height / factor)), way)
        return np.asarray(small.resize((across, height), way), np.float64) / 255

    return step


KINDS: dict[str, tuple[Step, ...]] = {
    "clean": (),
    **{f"noise {sigma}": (noise(sigma),) for sigma in (10, 25, 50)},
    "photons": (photons(30),),
    "salt and pepper": (salt_and_pepper(0.05),),
    **{f"jpeg {quality}": (jpeg(quality),) for quality in (10, 20, 40, 70)},
    **{f"gaussian {sigma}": (gaussian(sigma),) for sigma in (1, 2, 3)},
    "box 5": (filtered(np.ones((5, 5))),),
    "disc 4": (disc(4),),
    **{f"motion {length}": (motion(length),) for length in (9, 15, 21)},
    **{f"light {share}": (dimmed(share),) for share in (0.5, 0.3, 0.12)},
    **{f"gamma {gamma}": (dimmed(1, gamma),) for gamma in (2.2, 3)},
    "light 0.5, gamma 1.8": (dimmed(0.5, 1.8),),
    **{f"haze {transmission}": (hazy(transmission),) for transmission in (0.7, 0.5, 0.3)},
    "haze 0.5, white": (hazy(0.5, 1.0),),
    "haze 0.5, blue": (hazy(0.5, (0.8, 0.85, 0.95)),),
    "haze above": (hazy_above(1.5),),
    "rain, light": (rain(0.0008, 15),),
    "rain": (rain(0.002, 20),),
    "rain, heavy": (rain(0.004, 30, opacity=0.7),),
    "rain, thick": (rain(0.0008, 40, width=2, opacity=0.6),),
    "snow, light": (snow(0.001, 2),),
    "snow": (snow(0.002, 3),),
    "snow, heavy": (snow(0.003, 4),),
    **{f"x{factor} area, cubic": (by_opencv(factor),) for factor in (1.5, 2, 3, 4)},
    **{f"x{factor} area, linear": (by_opencv(factor, cv2.INTER_LINEAR),) for factor in (2, 4)},
    **{f"x{factor} area, nearest": (by_opencv(factor, cv2.INTER_NEAREST),) for factor in (2, 4)},
    **{f"x{factor} pillow bicubic": (by_pillow(factor, Resampling.BICUBIC),) for factor in (1.5, 2, 3, 4)},
    **{f"x{factor} pillow lanczos": (by_pillow(factor, Resampling.LANCZOS),) for factor in (1.5, 2, 3, 4)},
    "light + noise": (dimmed(0.25), noise(10)),
    "gamma + noise": (dimmed(1, 2.5), noise(15)),
    "light + jpeg": (dimmed(0.4, 1.5), jpeg(40)),
    "light + blur": (dimmed(0.4, 1.5), gaussian(1.5)),
    "light + rain": (dimmed(0.5, 1.5), rain(0.002, 20)),
    "light + snow": (dimmed(0.5, 1.5), snow(0.002, 3)),
    "light + haze": (dimmed(0.5, 1.5), hazy(0.6, 0.6)),
    "haze + light": (hazy(0.6), dimmed(0.5, 1.5)),
    "haze + light + rain": (hazy(0.6), dimmed(0.5, 1.5), rain(0.002, 20)),
    "haze + noise": (hazy(0.5), noise(15)),
    "haze + jpeg": (hazy(0.5), jpeg(30)),
    "haze + rain": (hazy(0.5), rain(0.002, 20)),
    "rain + haze": (rain(0.002, 20), hazy(0.5)),
    "haze + snow": (hazy(0.5), snow(0.002, 3)),
    "snow + haze": (snow(0.002, 3), hazy(0.5)),
    "rain + noise": (rain(0.002, 20), noise(20)),
    "rain + jpeg": (rain(0.002, 20), jpeg(40)),
    "snow + noise": (snow(0.002, 3), noise(15)),
    "blur + noise + jpeg": (gaussian(1.5), noise(15), jpeg(40)),
    "blur + jpeg": (gaussian(1.5), jpeg(30)),
    "motion + noise": (motion(11), noise(10)),
    "noise + jpeg": (noise(20), jpeg(40)),
    "x2 + jpeg": (by_opencv(2), jpeg(40)),
}


def in_8_bits(image: Image) -> NDArray[np.uint8]:
    """[0, 1] -> uint8."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def degraded(clean: Image, steps: Iterable[Step], seed: int) -> Image:
    """Step after step, as a file would hold it."""
    rng = np.random.default_rng(seed)
    for step in steps:
        clean = np.clip(step(clean, rng), 0, 1)
    return in_8_bits(clean) / 255


def restored(engine: Engine, image: Image) -> Image:
    """By a whole restoration."""
    (outcome,) = restore(engine, torch.from_numpy(image).float().permute(2, 0, 1).unsqueeze(0))
    return image if outcome.image is None else outcome.image[0].permute(1, 2, 0).double().numpy()


def photographs(folder: Path, limit: int) -> list[Image]:
    """The longer side at most `LONGEST_PX`, in 8 bits."""
    (suite,) = synthetic("clean", folder, limit, seed=0)
    images = []
    for pair in suite.pairs():
        scale = min(LONGEST_PX / max(pair.reference.shape[:2]), 1)
        small = cv2.resize(pair.reference, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        images.append(in_8_bits(small) / 255)
    return images


def main() -> None:
    """Measure every kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=8, help="photographs, evenly chosen")
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    engine = load(options.weights)
    photos = photographs(options.photos, options.limit)
    everything = []
    for name, steps in KINDS.items():
        rows = []
        for seed, clean in enumerate(photos):
            given = degraded(clean, steps, seed)
            rows.append((psnr_db(given, clean), psnr_db(restored(engine, given), clean)))
        print(json.dumps({"kind": name, **figures(rows)}), flush=True)
        everything += rows if steps else []
    print(json.dumps({"kind": "all degraded", **figures(everything)}), flush=True)


def figures(rows: list[tuple[float, float]]) -> dict[str, float]:
    """Of (input, output) in dB."""
    before, after = np.asarray(rows).T
    gains = after - before
    means = {"input_db": before.mean(), "output_db": after.mean(), "least_gain_db": gains.min()}
    return {name: round(float(value), 2) for name, value in means.items()} | {
        "pictures": len(rows),
        "harmed": int((gains < -HARM_DB).sum()),
    }


if __name__ == "__main__":
    main()
