"""Peak memory of restoring one very large PNG.

python benchmarks/speed/large_picture.py --megapixels 100
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def make(path: Path, side: int) -> None:
    """A large noisy scene, written strip by strip from a small one."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.array(image)
    for top in range(0, side, 500):
        strip = pixels[top : top + 500].astype(np.int16)
        strip += rng.integers(-30, 31, strip.shape, dtype=np.int16)
        pixels[top : top + 500] = strip.clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, compress_level=1)


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=100.0)
    parser.add_argument("--max-rounds", type=int, default=1)
    options = parser.parse_args()
    side = int((options.megapixels * 1e6) ** 0.5)
    with tempfile.TemporaryDirectory() as work:
        source, target = Path(work) / "in.png", Path(work) / "out.png"
        make_in_child = [sys.executable, __file__, "--make", str(source), str(side)]
        subprocess.run(make_in_child, check=True)
        rounds = str(options.max_rounds)
        command = [sys.executable, "-m", "rar_cli", "restore", str(source), str(target), "--accept", "100"]
        began = time.perf_counter()
        subprocess.run([*command, "--max-rounds", rounds], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        about = {"megapixels": side * side / 1e6, "peak_mib": round(peak), "seconds": round(seconds, 1)}
        print(json.dumps({**about, "rounds": options.max_rounds}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
