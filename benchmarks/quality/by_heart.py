"""How much more photographs gain that training has seen: a photograph learned by heart teaches no more.

    python benchmarks/quality/by_heart.py TRAIN VALID --limit 100

TRAIN and VALID are folders of clean photographs. The middle of each is degraded in every single way, and restored in
one round that removes everything. Prints the mean gain in dB on either folder for each degradation, then the gap
between them with its standard error, over photographs.
"""

import argparse
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from rar_cli.bench.metrics import psnr_db
from rar_cli.engine.engine import load
from rar_cli.engine.options import EngineOptions
from rar_cli.networks.model import Rar
from rar_cli.pictures.formats import FORMATS
from rar_cli.synthesis.pixels import Image, quantise
from rar_cli.synthesis.recipes import stack
from rar_cli.train.data.photographs import read_photo
from rar_cli.types import DEGRADATIONS, Degradation

SIDE_PX = 256
SEVERITY = 0.5


def crops(folder: Path, limit: int) -> Iterator[Image]:
    """The middles of photographs that are evenly spread over a folder, (side, side, 3) in [0, 1]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS)
    count = min(limit, len(paths))
    for path in (paths[i * len(paths) // count] for i in range(count)):
        photo = read_photo(path)
        y, x = ((side - SIDE_PX) // 2 for side in photo.shape[:2])
        if min(y, x) >= 0:
            yield photo[y : y + SIDE_PX, x : x + SIDE_PX].astype(np.float32) / np.float32(255)


def gain_db(model: Rar, clean: Image, degradation: Degradation) -> float:
    """Of one round that removes everything; its seed is the photograph's own."""
    rng = np.random.default_rng([zlib.crc32(clean.tobytes()), DEGRADATIONS.index(degradation)])
    degraded = quantise(stack((degradation,), SEVERITY, rng).apply(clean)[-1])
    with torch.inference_mode():
        latent = model.codec.encode(torch.from_numpy(degraded).permute(2, 0, 1).unsqueeze(0))
        restored = model.codec.decode(model.move(latent, model.assessor(latent).condition))
    image = restored[0].clamp(0.0, 1.0).permute(1, 2, 0).numpy()
    return psnr_db(quantise(image), clean) - psnr_db(degraded, clean)


def main() -> None:
    """Measure both folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--weights", default="rar-s")
    options = parser.parse_args()
    model = load(options.weights, EngineOptions(device="cpu")).model
    seen, unseen = (
        np.asarray([[gain_db(model, clean, d) for d in DEGRADATIONS] for clean in crops(folder, options.limit)])
        for folder in (options.train, options.valid)
    )
    for place, degradation in enumerate(DEGRADATIONS):
        gains = {"train_db": float(seen[:, place].mean()), "valid_db": float(unseen[:, place].mean())}
        print(json.dumps({"degradation": degradation.value, **{k: round(v, 3) for k, v in gains.items()}}))
    means = (seen.mean(axis=1), unseen.mean(axis=1))
    error = float(np.sqrt(sum(gains.var(ddof=1) / len(gains) for gains in means)))
    gap = float(means[0].mean() - means[1].mean())
    print(json.dumps({"n": [len(seen), len(unseen)], "gap_db": round(gap, 3), "standard_error_db": round(error, 3)}))


if __name__ == "__main__":
    main()
