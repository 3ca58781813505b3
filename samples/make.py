"""Makes `samples/` from pictures that scikit-image and scikit-learn ship (pip install both).

    python samples/make.py              # clean/ and degraded/
    python samples/make.py strip out    # strip.png, from what `rar restore samples/degraded out` wrote

Each picture is reduced to at most 384 px, which also removes the traces of its own compression. Then rar's own
synthesis degrades it under fixed seeds. degraded/ stays when the synthesis changes, so that versions compare.
Licences: SOURCES.md.
"""

import sys
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image

from rar_cli.synthesis.pixels import quantise
from rar_cli.synthesis.recipes import stack
from rar_cli.types import Degradation

D = Degradation
HERE = Path(__file__).parent
SIDE = 384

RECIPES = {
    "astronaut": (D.LOW_LIGHT, D.NOISE),
    "brick": (D.RAIN,),
    "camera": (D.JPEG,),
    "chelsea": (D.NOISE,),
    "china": (D.HAZE, D.RAIN),
    "coffee": (D.LOW_LIGHT,),
    "flower": (D.BLUR, D.NOISE, D.JPEG),
    "rocket": (D.HAZE,),
}
SEVERITY = 0.55


def original(name: str) -> Image.Image:
    """The picture as its package ships it."""
    if name in {"china", "flower"}:
        return Image.fromarray(sklearn.datasets.load_sample_image(f"{name}.jpg"))
    return Image.fromarray(getattr(skimage.data, name)())


def main() -> None:
    """Write clean/ and degraded/."""
    for number, (name, degradations) in enumerate(RECIPES.items()):
        image = original(name)
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        image.save(HERE / "clean" / f"{name}.png", optimize=True)
        clean = np.asarray(image.convert("RGB"), np.float32) / 255.0
        recipe = stack(degradations, SEVERITY, np.random.default_rng(100 + number))
        pixels = (quantise(recipe.apply(clean)[-1]) * 255.0).round().astype(np.uint8)
        degraded = Image.fromarray(pixels)
        if image.mode == "L":
            degraded = degraded.convert("L")
        degraded.save(HERE / "degraded" / f"{name}.png", optimize=True)


def strip(restored: Path) -> None:
    """The README's before/after strip: degraded above, restored below."""
    height = 200
    columns = []
    for name in ("china", "chelsea", "coffee", "rocket"):
        rows = []
        for folder in (HERE / "degraded", restored):
            image = Image.open(folder / f"{name}.png").convert("RGB")
            image = image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS)
            rows.append(np.asarray(image))
        columns.append(np.concatenate(rows, axis=0))
    Image.fromarray(np.concatenate(columns, axis=1)).save(HERE / "strip.png", optimize=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["strip"]:
        strip(Path(sys.argv[2]))
    else:
        main()
