"""Noise of a camera that training has not seen: how rar and non-local means restore it.

    python benchmarks/quality/camera_noise.py PHOTOS --limit 40
    python benchmarks/quality/camera_noise.py PHOTOS --limit 40 --lens-px 0.7

PHOTOS is a folder of clean photographs. Each is shot by a camera of this script's own, which shares no code and no
numbers with rar's synthesis: photons are counted (Poisson), electrons read with an error, digitised to 12 bits,
demosaicked after Malvar, He and Cutler (ICASSP 2004), balanced, matrixed and written as JPEG. The reference is the
same camera with endless light. OpenCV's non-local means is tuned once for all pictures, on these pictures.
Without the blur of a lens (`--lens-px`) the mosaic aliases sharp photographs, and the reference shows it. A method that
removes the aliasing moves away from the reference.
Prints one JSON line per picture and, last, the summary.
"""

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from rar_cli.bench.metrics import psnr_db
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.restore import restore
from rar_cli.errors import ImageError
from rar_cli.pictures.decoding import read_picture
from rar_cli.pictures.images import as_8_bit

Pixels = NDArray[np.uint8]
Raw = NDArray[Any]

SIDE_PX = 512
FULL_WELLS = (900, 60_000)
"""Electrons that white stands for, from a phone at night to a large sensor by day."""
READ_ERRORS = (1.2, 6.0)
"""Standard deviation of reading a pixel, in electrons."""
WHITE_LEVEL = 4095 - 64
BLACK_LEVEL = 64
KINDS = {"bright": 1.0, "half a stop down": 0.71, "a stop down": 0.5}
"""Of the scene's light; the picture is not made lighter again, so that dim scenes stay dim."""
STRENGTHS = (2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0)
"""Of non-local means, for lightness; colour is denoised with each of `COLOUR_TIMES` as much."""
COLOUR_TIMES = (1.0, 2.0)
HARM_DB = 1.0


@dataclass(frozen=True)
class Camera:
    """full_well, read_error: in electrons. light: share of white that the scene sends. quality: of its JPEG.

    lens_px: standard deviation of the blur before the mosaic; 0 for none.
    """

    full_well: float
    read_error: float
    balance: tuple[float, float, float]
    mixing: Raw
    gamma: float
    light: float
    quality: int
    lens_px: float = 0.0

    @classmethod
    def drawn(cls, number: int, rng: Generator, lens_px: float = 0.0) -> "Camera":
        """A camera for a picture; numbers go through the kinds of light in turn."""
        low, high = np.log(FULL_WELLS)
        spill = rng.uniform(0.02, 0.2, (3, 3)) * (1.0 - np.eye(3))
        mixing = np.diag(1.0 - spill.sum(axis=1)) + spill  # sRGB to camera: every filter lets in some of the others
        return cls(
            full_well=float(np.exp(rng.uniform(low, high))),
            read_error=float(rng.uniform(*READ_ERRORS)),
            balance=(float(rng.uniform(0.45, 0.75)), 1.0, float(rng.uniform(0.4, 0.7))),
            mixing=mixing,
            gamma=float(rng.uniform(1.9, 2.4)),
            light=list(KINDS.values())[number % len(KINDS)],
            quality=int(rng.integers(90, 99)),
            lens_px=lens_px,
        )

    def shoot(self, photo: Pixels, rng: Generator | None) -> Raw:
        """photo (h, w, 3) -> picture (h, w, 3) in [0, 1]; rng: None for endless light."""
        scene = self.light * (photo / 255.0) ** self.gamma
        if self.lens_px:
            scene = cv2.GaussianBlur(scene, (0, 0), self.lens_px)
        filtered = np.clip(scene @ self.mixing.T, 0.0, 1.0) * np.asarray(self.balance)
        mosaic = _mosaic(filtered) * self.full_well
        if rng is not None:
            mosaic = rng.poisson(mosaic) + rng.normal(0.0, self.read_error, mosaic.shape)
            counts = np.clip(np.rint(mosaic / self.full_well * WHITE_LEVEL) + BLACK_LEVEL, 0, 4095)
            mosaic = (counts - BLACK_LEVEL) / WHITE_LEVEL * self.full_well
        colours = _demosaicked(mosaic / self.full_well) / np.asarray(self.balance)
        shown = np.clip(np.clip(colours, 0.0, 1.0) @ np.linalg.inv(self.mixing).T, 0.0, 1.0)
        return np.asarray(shown ** (1.0 / self.gamma))


def _mosaic(colours: Raw) -> Raw:
    """(h, w, 3) of even sides -> (h, w) under a pattern G R / B G."""
    mosaic = colours[..., 1].copy()
    mosaic[0::2, 1::2] = colours[0::2, 1::2, 0]
    mosaic[1::2, 0::2] = colours[1::2, 0::2, 2]
    return mosaic


GREEN_AT_COLOUR = np.asarray(
    ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
) / 8  # fmt: skip
ACROSS_GREEN = np.asarray(
    ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0))
) / 8  # fmt: skip
DIAGONAL = np.asarray(
    ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0))
) / 8  # fmt: skip


def _demosaicked(mosaic: Raw) -> Raw:
    """Malvar, He and Cutler's linear filters for the pattern G R / B G."""

    def by(kernel: Raw) -> Raw:
        return np.asarray(cv2.filter2D(mosaic, cv2.CV_64F, kernel, borderType=cv2.BORDER_REFLECT_101))

    green, rows, columns, corners = by(GREEN_AT_COLOUR), by(ACROSS_GREEN), by(ACROSS_GREEN.T), by(DIAGONAL)
    found = np.repeat(mosaic[..., None], 3, axis=2)
    red_row, blue_row, even, odd = np.s_[0::2], np.s_[1::2], np.s_[0::2], np.s_[1::2]
    found[red_row, odd, 1], found[blue_row, even, 1] = green[red_row, odd], green[blue_row, even]
    found[red_row, odd, 2], found[blue_row, even, 0] = corners[red_row, odd], corners[blue_row, even]
    found[red_row, even, 0], found[red_row, even, 2] = rows[red_row, even], columns[red_row, even]
    found[blue_row, odd, 0], found[blue_row, odd, 2] = columns[blue_row, odd], rows[blue_row, odd]
    return found


@dataclass(frozen=True)
class Sample:
    """One picture in 8 bits as the camera wrote it, and the same with endless light."""

    name: str
    camera: Camera
    noisy: Pixels
    reference: Pixels


def samples(folder: Path, limit: int, lens_px: float = 0.0) -> Iterator[Sample]:
    """Evenly spread over the folder, the middle of each photograph; seeded by its place."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    chosen = [paths[i * len(paths) // limit] for i in range(min(limit, len(paths)))]
    for number, path in enumerate(chosen):
        try:
            photo = as_8_bit(read_picture(path.read_bytes(), path.name)).pixels
        except ImageError as error:
            print(json.dumps({"left_out": str(error)}))
            continue
        height, width = (min(side, SIDE_PX) // 2 * 2 for side in photo.shape[:2])
        y, x = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
        rng = np.random.default_rng([number, 77])
        camera = Camera.drawn(number, rng, lens_px)
        scene = photo[y : y + height, x : x + width]
        noisy = _written(_levels(camera.shoot(scene, rng)), camera.quality)
        yield Sample(path.name, camera, noisy, _levels(camera.shoot(scene, None)))


def _levels(image: Raw) -> Pixels:
    return np.rint(255.0 * image).astype(np.uint8)


def _written(pixels: Pixels, quality: int) -> Pixels:
    """As its JPEG gives it back."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file))


def _db(pixels: Pixels, reference: Pixels) -> float:
    return psnr_db(pixels.astype(np.float32) / 255, reference.astype(np.float32) / 255)


def non_local_means(pixels: Pixels, strength: float, colour: float) -> Pixels:
    """OpenCV's, in its usual windows."""
    return np.asarray(cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength * colour, 7, 21))


def tuned(given: Sequence[Sample]) -> tuple[float, float]:
    """The strengths that are best for all pictures together."""

    def mean_db(setting: tuple[float, float]) -> float:
        return float(np.mean([_db(non_local_means(sample.noisy, *setting), sample.reference) for sample in given]))

    return max(product(STRENGTHS, COLOUR_TIMES), key=mean_db)


def restored(engine: Engine, pixels: Pixels) -> Pixels:
    """As `rar restore` leaves it."""
    batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0)
    (outcome,) = restore(engine, batch)
    return pixels if outcome.image is None else outcome.image[0].permute(1, 2, 0).numpy()


def row_of(sample: Sample, engine: Engine, setting: tuple[float, float]) -> dict[str, Any]:
    """One picture's figures."""
    return {
        "picture": sample.name,
        "full_well": round(sample.camera.full_well),
        "light": sample.camera.light,
        "input_db": round(_db(sample.noisy, sample.reference), 3),
        "rar_db": round(_db(restored(engine, sample.noisy), sample.reference), 3),
        "non_local_means_db": round(_db(non_local_means(sample.noisy, *setting), sample.reference), 3),
    }


def summary(rows: Sequence[dict[str, Any]], setting: tuple[float, float]) -> dict[str, Any]:
    """Means, the share that ends above its input, and those that end more than 1 dB below it."""
    gains = np.asarray([row["rar_db"] - row["input_db"] for row in rows])
    others = np.asarray([row["non_local_means_db"] - row["input_db"] for row in rows])
    means = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0] if name.endswith("_db")}
    return {
        "n": len(rows), **means, "rar_gain_db": round(float(gains.mean()), 3),
        "above_input": round(float((gains > 0).mean()), 3), "below_by_1_db": int((gains < -HARM_DB).sum()),
        "worst_db": round(float(gains.min()), 3), "non_local_means_gain_db": round(float(others.mean()), 3),
        "strength": setting[0], "colour_strength": setting[0] * setting[1],
    }  # fmt: skip


def main() -> None:
    """Shoot, tune, restore, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--weights", default="rar-s")
    parser.add_argument("--lens-px", type=float, default=0.0)
    options = parser.parse_args()
    given = list(samples(options.photos, options.limit, options.lens_px))
    setting, engine = tuned(given), load(options.weights)
    rows = []
    for sample in given:
        rows.append(row_of(sample, engine, setting))
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(summary(rows, setting)))


if __name__ == "__main__":
    main()
