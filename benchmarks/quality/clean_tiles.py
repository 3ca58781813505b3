"""Is it worth leaving clean windows of a large picture alone?

    python benchmarks/quality/clean_tiles.py PHOTOS

PHOTOS is a folder of clean pictures. They are laid side by side into one large picture; none, half or all of them are
degraded first. Two rounds are compared: in one every window is restored, in the other a window that would be accepted
by itself is left alone. Prints one JSON line per kind: seconds, the share of windows left alone, decibels.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rar_cli.bench.cost import median_seconds
from rar_cli.bench.metrics import psnr_db
from rar_cli.engine.engine import Engine, restore
from rar_cli.loop.verdict import judge
from rar_cli.networks.model import Rar
from rar_cli.pictures.images import as_8_bit, read_picture
from rar_cli.synthesis.degradations import Image
from rar_cli.synthesis.recipes import quantise, stack
from rar_cli.types import Assessment, Degradation, StopPolicy, Verdict
from rar_cli.weights.find import find

D = Degradation

KINDS = ((D.NOISE,), (D.RAIN,), (D.HAZE,), (D.LOW_LIGHT, D.NOISE))
SEVERITY = 0.5
ONE_ROUND = StopPolicy(accept_score=100.0, first_gain=-100.0, min_gain=-100.0, clear_severity=0.0, max_rounds=1)
ROWS, COLUMNS, HEIGHT, WIDTH = 4, 4, 320, 448


class Skipping(Engine):
    """Assesses every window by itself and moves those that would not be accepted."""

    seen = left = 0

    def _moved(self, latent: Tensor, condition: Tensor, *begun: Tensor) -> Tensor:
        self.seen += 1
        if self._accepted(self.assess(latent)):
            self.left += 1
            return latent
        return super()._moved(latent, condition, *begun)

    def _accepted(self, found: Assessment) -> bool:
        verdict, _ = judge(0, float(found.score[0]), None, found.severities[0].tolist(), self.policy)
        return verdict is Verdict.ACCEPT


def photographs(folder: Path) -> list[Image]:
    """As many as the large picture takes, (HEIGHT, WIDTH, 3) float32 each, lying."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".png"}):
        image = as_8_bit(read_picture(path.read_bytes(), str(path))).pixels.astype(np.float32) / 255.0
        image = image if image.shape[1] >= image.shape[0] else image.transpose(1, 0, 2)
        if image.shape[0] >= HEIGHT and image.shape[1] >= WIDTH:
            found.append(np.ascontiguousarray(image[:HEIGHT, :WIDTH]))
        if len(found) == ROWS * COLUMNS:
            return found
    raise SystemExit(f"{folder}: {ROWS * COLUMNS} pictures of {WIDTH}x{HEIGHT} or more are needed, not {len(found)}")


def mosaic(images: list[Image]) -> Image:
    """(ROWS * HEIGHT, COLUMNS * WIDTH, 3)."""
    rows = [np.concatenate(images[i * COLUMNS : (i + 1) * COLUMNS], axis=1) for i in range(ROWS)]
    return np.concatenate(rows)


def main() -> None:
    """Measure every kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--tile", type=int, default=384, help="pixels")
    options = parser.parse_args()
    folder = find("rar-s").folder
    engines = {kind: kind(Rar.load(folder), tile_px=options.tile) for kind in (Engine, Skipping)}
    clean = photographs(options.photos)
    reference = mosaic(clean)
    for names in KINDS:
        recipes = [stack(names, SEVERITY, np.random.default_rng(i)) for i in range(len(clean))]
        bad = [quantise(recipe.apply(image)[-1]) for recipe, image in zip(recipes, clean, strict=True)]
        for share in (0.5, 1.0):
            # whole columns, so that windows lie wholly on one side
            chosen = [i % COLUMNS < share * COLUMNS for i in range(len(clean))]
            image = mosaic([b if one else c for b, c, one in zip(bad, clean, chosen, strict=True)])
            said: dict[str, object] = {"degraded": "+".join(names), "share": share, "tile_px": options.tile}
            said["input_db"] = round(psnr_db(image, reference), 2)
            batch = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
            for kind, engine in engines.items():
                (outcome,) = restore(engine, batch, ONE_ROUND)
                assert outcome.image is not None
                name = kind.__name__.lower()
                said[f"{name}_db"] = round(psnr_db(outcome.image[0].permute(1, 2, 0).numpy(), reference), 2)
                said[f"{name}_s"] = round(median_seconds(partial(restore, engine, batch, ONE_ROUND), 1), 2)
                if isinstance(engine, Skipping):
                    said["left_alone"] = round(engine.left / engine.seen, 2)
                    engine.left = engine.seen = 0
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
