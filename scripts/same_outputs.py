"""Whether two checkouts restore alike: samples and thirty odd inputs, bytes and verdicts.

    git worktree add ../before COMMIT
    python scripts/same_outputs.py ../before .

Each checkout runs in a process of its own, with the same Python. Prints what differs; exits with 1 if anything does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"


def odd_inputs(folder: Path) -> None:
    """Formats, depths, borders, sizes and channels, made of the samples."""
    folder.mkdir(parents=True)
    noisy, hazy, rainy, dark = (
        np.asarray(Image.open(SAMPLES / "degraded" / f"{name}.png").convert("RGB"))
        for name in ("chelsea", "rocket", "brick", "coffee")
    )
    for name, pixels in (("noisy", noisy), ("hazy", hazy), ("rainy", rainy), ("dark", dark)):
        picture = Image.fromarray(pixels)
        picture.save(folder / f"{name}.jpg", quality=95)
        picture.save(folder / f"{name}.webp", quality=95)
        picture.convert("L").save(folder / f"{name}_grey.png")
        cv2.imwrite(str(folder / f"{name}_16.png"), pixels[:160, :200, ::-1].astype(np.uint16) * 257)
        picture.crop((3, 5, 203, 165)).save(folder / f"{name}_crop.bmp")
        Image.fromarray(np.pad(pixels[:120, :160], ((40, 40), (0, 0), (0, 0)))).save(folder / f"{name}_bars.png")
    large = np.tile(noisy, (3, 3, 1))[:900, :1100]
    Image.fromarray(large).save(folder / "large.png")
    Image.fromarray(cv2.resize(hazy, None, fx=2.2, fy=2.2)).save(folder / "large_hazy.png")
    Image.fromarray(noisy[:40, :50]).save(folder / "small.png")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "black.png")
    Image.fromarray(np.dstack([rainy, np.full(rainy.shape[:2], 200, np.uint8)])).save(folder / "alpha.png")
    Image.fromarray(dark).save(folder / "dark.tiff")


RUNS: dict[str, tuple[str, ...]] = {
    "samples": (),
    "odd": (),
    "tiles": ("--tile", "256"),
    "only": ("--only", "rain,haze"),
    "keep": ("--keep", "noise"),
    "one round": ("--max-rounds", "1"),
    "steps": ("--steps", "2", "--self-ensemble"),
}
"""Name -> options; all but "samples" run on the odd inputs, the last four on a few of them."""

FEW = ("noisy.jpg", "hazy.webp", "rainy_grey.png", "dark_16.png", "large_hazy.png")


def inputs_of(run: str, odd: Path) -> list[str]:
    if run == "samples":
        return [str(SAMPLES / "degraded")]
    if run == "odd":
        return [str(odd)]
    return (
        [str(odd / name) for name in ("large.png", "large_hazy.png")]
        if run == "tiles"
        else [str(odd / name) for name in FEW]
    )


def restore(checkout: Path, inputs: list[str], output: Path, options: tuple[str, ...]) -> None:
    """Run one command of one checkout. Raises CalledProcessError where it could not run."""
    # One at a time: products of matrices of other batches round otherwise.
    command = [
        sys.executable,
        "-m",
        "rar_cli",
        "restore",
        *inputs,
        str(output),
        "--quiet",
        "--batch-size",
        "1",
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([*command, "--no-provenance"], cwd=checkout, env=environment, check=True)


def verdicts(output: Path) -> dict[str, object]:
    """Output name -> rounds kept, scores, severities, verdicts, reasons; without times."""
    found = {}
    for line in (output / "rounds.jsonl").read_text().splitlines():
        record = json.loads(line)
        keys = ("round", "score", "degradations", "verdict", "reason")
        rounds = [{key: each[key] for key in keys} for each in record["rounds"]]
        found[Path(record["output"]).name] = (record["status"], record["stop"], record["best_round"], rounds)
    return found


def main() -> int:
    """Compare every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        odd_inputs(work / "odd")
        for run, extra in RUNS.items():
            outputs = []
            for side in (options.before, options.after):
                outputs.append(work / run / str(len(outputs)))
                restore(side.resolve(), inputs_of(run, work / "odd"), outputs[-1], extra)
            names = sorted(p.name for p in outputs[0].iterdir() if p.suffix not in {".jsonl", ".lock"})
            before, after = (verdicts(output) for output in outputs)
            for each in names:
                same = (outputs[0] / each).read_bytes() == (outputs[1] / each).read_bytes()
                if not same or before[each] != after[each]:
                    different += 1
                    print(f"{run}: {each} differs{'' if same else ' in its bytes'}")
            print(f"{run}: {len(names)} compared", flush=True)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
