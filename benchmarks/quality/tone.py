"""What tone (`engine/tone.py`) gains, by the size of the pictures.

    python benchmarks/quality/tone.py PHOTOS --limit 12 --scale 2

PHOTOS is a folder of clean pictures. They are enlarged by --scale, then degraded at mid severity. Prints one JSON
line per suite: decibels of the input and after round 1 without and with tone, the shares of pictures that it makes
better and worse by 0.1 dB, and the ratio of the times.
"""

import argparse
import json
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from rar_cli.bench.run import HARM_DB
from rar_cli.bench.suites import synthetic
from rar_cli.engine.engine import Engine, load
from rar_cli.engine.tone import Tone
from rar_cli.loop.rounds import Restoring
from rar_cli.synthesis.pixels import Image, quantise
from rar_cli.synthesis.recipes import stack
from rar_cli.train.validation import SUITES, psnr_db
from rar_cli.types import Plan

SEVERITY = 0.5


def photographs(folder: Path, limit: int, scale: float) -> list[Image]:
    """Clean pictures (h, w, 3) in [0, 1], enlarged, on the 8-bit grid."""
    (suite,) = synthetic("clean", folder, limit, seed=0)
    clean = [pair.reference for pair in suite.pairs()]
    if scale == 1.0:
        return clean
    large = [cv2.resize(each, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for each in clean]
    return [quantise(each.clip(0.0, 1.0)) for each in large]  # cubic curves overshoot


def once(engine: Engine, image: Tensor, model: Restoring) -> tuple[Tensor, float]:
    """Image (1, 3, h, w) after one round, whatever the verdict, and its seconds."""
    started = time.perf_counter()
    latent = engine.encode(image)
    moved = model.transport(latent, model.assess(latent), [Plan()], None)
    return engine.decode(moved, (image.shape[-2], image.shape[-1])), time.perf_counter() - started


@torch.inference_mode()
def main() -> None:
    """Measure every suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    engine = load()
    clean = photographs(options.photos, options.limit, options.scale)
    gains = []
    for names in filter(None, SUITES.values()):  # all but clean
        title = " + ".join(names)
        table, seconds = [], np.zeros(2)
        for place, picture in enumerate(clean):
            recipe = stack(names, SEVERITY, np.random.default_rng([place, zlib.crc32(title.encode())]))
            degraded, truth = (
                torch.from_numpy(x).permute(2, 0, 1)[None] for x in (quantise(recipe.apply(picture)[-1]), picture)
            )
            plainly = once(engine, degraded, engine)
            made = (plainly, once(engine, degraded, Tone(engine)))
            seconds += [s for _, s in made]
            table.append([float(psnr_db(x, truth)) for x in (degraded, *(image for image, _ in made))])
        given, plain, toned = np.mean(table, axis=0)
        change = np.asarray([row[2] - row[1] for row in table])
        gains.append(change.mean())
        said = {"input_db": given, "plain_db": plain, "toned_db": toned, "times": seconds[1] / seconds[0]}
        said |= {"better": (change > HARM_DB).mean(), "worse": (change < -HARM_DB).mean()}
        print(json.dumps({"suite": title} | {name: round(float(value), 2) for name, value in said.items()}), flush=True)
    print(json.dumps({"suite": "mean", "gain_db": round(float(np.mean(gains)), 3)}))


if __name__ == "__main__":
    main()
