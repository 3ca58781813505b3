"""Are good photographs left alone, and do a photograph, its half and its quarter get the same verdict?

    python benchmarks/quality/left_alone.py PHOTOS

PHOTOS is a folder of photographs with nothing to restore, at full size as cameras write them. Prints one JSON line for
each photograph: what is removed at every scale, and the PSNR between input and output in dB where they differ. The last
line sums up.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from rar_cli.bench.metrics import psnr_db
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.restore import restore
from rar_cli.pictures.formats import FORMATS
from rar_cli.synthesis.pixels import Image, quantise
from rar_cli.train.data.photographs import read_photo
from rar_cli.types import ALL

SCALES = (1, 2, 4)
"""How many times smaller."""
SMALLEST_PX = 120
"""Short side of the smallest scale; photographs too small for that are left out."""
VISIBLE_DB = 45.0
"""Below it people see a change."""


def photographs(folder: Path) -> Iterator[tuple[str, Image]]:
    """Names and pictures (h, w, 3) in [0, 1] whose quarter is no thumbnail."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS):
        photo = read_photo(path)
        if min(photo.shape[:2]) >= SMALLEST_PX * SCALES[-1]:
            yield path.name, photo.astype(np.float32) / np.float32(255)


def reduced(photo: Image, scale: int) -> Image:
    """The mean of every `scale` x `scale` pixels, in 8 bits."""
    height, width = (side // scale for side in photo.shape[:2])
    part = photo[: height * scale, : width * scale]
    return quantise(np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.float32))


def change(engine: Engine, image: Image) -> tuple[list[str], float | None]:
    """What every round removes, and the PSNR of the change in dB; None where the picture is left alone."""
    (outcome,) = restore(engine, torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0))
    if outcome.image is None:
        return [], None
    kept = outcome.restoration.trace[: outcome.restoration.best_round]
    plans = [entry.plan.remove for entry in kept if entry.plan]
    names = ["everything" if plan == ALL else "+".join(sorted(plan)) for plan in plans]
    return names, round(psnr_db(quantise(outcome.image[0].permute(1, 2, 0).numpy()), image), 1)


def main() -> None:
    """Restore each photograph at every scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    engine = load(options.weights)
    rows: list[list[float | None]] = []
    for name, photo in photographs(options.photos):
        found = [change(engine, reduced(photo, scale)) for scale in SCALES]
        rows.append([psnr for _, psnr in found])
        print(json.dumps({"photo": name, **{f"1/{s}": row for s, row in zip(SCALES, found, strict=True)}}))
    if not rows:
        raise SystemExit(f"{options.photos}: no photograph of at least {SMALLEST_PX * SCALES[-1]} px")
    untouched = np.asarray([[psnr is None for psnr in row] for row in rows])
    visible = np.asarray([[psnr is not None and psnr < VISIBLE_DB for psnr in row] for row in rows])
    print(
        json.dumps({
            "photographs": len(rows),
            "untouched": dict(zip(SCALES, untouched.sum(axis=0).tolist(), strict=True)),
            "visibly changed": dict(zip(SCALES, visible.sum(axis=0).tolist(), strict=True)),
            "same verdict at all scales": int((untouched.all(axis=1) | ~untouched.any(axis=1)).sum()),
        })
    )  # fmt: skip


if __name__ == "__main__":
    main()
