"""How well does an assessor tell darkened photographs from clean ones, dim scenes among them?

    python benchmarks/quality/dim_scenes.py PHOTOS --limit 40

PHOTOS is a folder of clean pictures of 256 px or more. All are assessed as they are and as fine JPEGs. Crops of
`--limit` of them are darkened, by a gamma (white stays) or by a factor (white goes). Nothing is restored, so two
weights (`--weights`) compare in minutes, before the policy is fitted. Prints one JSON line per kind: the mean
severity of low light, the area under the curve against clean pictures, and two shares that are found: at the weights'
own clear severity, and where 1 % of the clean pictures are.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import Tensor

from rar_cli.engine.engine import Engine, load
from rar_cli.synthesis.recipes import quantise
from rar_cli.train.thresholds import held_out
from rar_cli.types import DEGRADATIONS, Degradation

CLEAN_FOUND = 0.01
GAMMAS = (1.5, 2.2, 3.0)
FACTORS = (0.7, 0.5, 0.3)

LOW_LIGHT = DEGRADATIONS.index(Degradation.LOW_LIGHT)


def darknesses(clean: Tensor) -> dict[str, Tensor]:
    """Kind -> clean (n, 3, h, w) darkened so, in 8 bits."""
    ways = {f"gamma {g}": clean**g for g in GAMMAS} | {f"times {f}": clean * f for f in FACTORS}
    return {kind: torch.from_numpy(quantise(image.numpy())) for kind, image in ways.items()}


def found(engine: Engine, images: Iterable[Tensor]) -> NDArray[np.float64]:
    """Severity of low light of each picture (3, h, w), as the loop finds it."""
    with torch.inference_mode():
        each = [engine.assess(engine.encode(image[None])).severities[0, LOW_LIGHT] for image in images]
    return torch.stack(each).double().cpu().numpy()


def say(kind: str, severities: NDArray[np.float64], figures: dict[str, float]) -> None:
    """One JSON line."""
    rounded = {name: round(float(value), 3) for name, value in figures.items()}
    print(json.dumps({"kind": kind, "pictures": len(severities)} | rounded), flush=True)


def main() -> None:
    """Assess the clean ones, then every kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=40, help="photographs to darken")
    parser.add_argument("--weights", default="rar-s", help="a name or a folder")
    options = parser.parse_args()
    engine = load(options.weights)
    crops, untouched = held_out([options.photos], options.limit)
    clean = found(engine, (picture for picture, _ in untouched))
    own, few = engine.policy.stop.clear_severities(0)[LOW_LIGHT], float(np.quantile(clean, 1.0 - CLEAN_FOUND))
    said = {"severity": clean.mean(), "own": own, "found": (clean > own).mean(), "few": few}
    say("clean", clean, said)
    for kind, images in darknesses(crops).items():
        dark = found(engine, images)
        area = mannwhitneyu(dark, clean).statistic / (len(dark) * len(clean))
        said = {"severity": dark.mean(), "auc": area, "found": (dark > own).mean(), "found_at_few": (dark > few).mean()}
        say(kind, dark, said)


if __name__ == "__main__":
    main()
